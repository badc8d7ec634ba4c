package collab_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/governance"
)

// deviceOf returns a member's device as a session shows it.
func deviceOf(s *collab.Session, who collab.MemberID) (id collab.DeviceID) {
	for d := range s.Devices() {
		if d.Owner == who {
			id = d.ID
		}
	}
	return id
}

func TestRemoveDevice(t *testing.T) {
	c := gather(t, "Bob", "Cleo")
	ada, bob, cleo := c.sessions[0], c.sessions[1], c.sessions[2]
	ctx := t.Context()
	docs := []*collab.Doc{open(t, ada, "script"), open(t, bob, "script"), open(t, cleo, "script")}
	insert(t, docs[1], 0, "Bob was here. ")
	equal(t, docs...)
	laptop := deviceOf(ada, bob.Me().ID)
	var denied *collab.DeniedError
	for name, err := range map[string]error{
		"an editor's word":  cleo.RemoveDevice(ctx, laptop, false),
		"one's own, itself": bob.RemoveDevice(ctx, laptop, false),
	} {
		if !errors.Is(err, collab.ErrDenied) || !errors.As(err, &denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := ada.RemoveDevice(ctx, collab.DeviceID{1}, false); !errors.Is(err, collab.ErrNoChange) {
		t.Errorf("one that is not there: %v", err)
	}
	changes := collab.Subscribe[collab.MemberChanged](ctx, cleo)
	if err := ada.RemoveDevice(ctx, laptop, true); err != nil {
		t.Fatal(err)
	}
	<-bob.Done()
	if !errors.Is(bob.Err(), collab.ErrRevoked) {
		t.Errorf("its session says %v", bob.Err())
	}
	for m := range changes {
		if m.Member.ID == bob.Me().ID {
			break
		}
	}
	none := collab.DeviceID{}
	for _, s := range []*collab.Session{ada, cleo} {
		eventually(t, "it is gone", func() bool { return deviceOf(s, bob.Me().ID) == none && s.Status().Peers == 1 })
		if m := member(s, bob.Me().ID); m.Role != collab.RoleEditor || m.Online {
			t.Errorf("its owner is %+v", m)
		}
	}
	insert(t, docs[2], 0, "Cleo goes on. ")
	equal(t, docs[0], docs[2])
	if got := body(t, docs[1]); got != "Bob was here. " {
		t.Errorf("the device reads %q", got)
	}
	found := false
	for e, err := range cleo.Audit(collab.EventID{}) {
		if err != nil {
			t.Fatal(err)
		}
		found = found || e.Kind == governance.KindDeviceRemove.String() && strings.HasPrefix(e.Summary, "Ada removed a stolen device of Bob")
	}
	if !found {
		t.Error("the audit does not say so")
	}
}
