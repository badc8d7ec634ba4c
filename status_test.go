package collab_test

import (
	"context"
	"testing"
	"time"

	"github.com/studio-whip/collab"
)

// Status says how peers are reached, and StatusChanged follows it without being asked.
func TestStatus(t *testing.T) {
	ada := openNode(t, "Ada")
	a := create(t, ada)
	if st := a.Status(); st.Peers+st.Direct+st.Relayed+st.Held != 0 || st.Synced || st.Err != nil || st.Root == (collab.RootID{}) {
		t.Errorf("alone: %+v", st)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	changes := collab.Subscribe[collab.StatusChanged](ctx, a)
	paths := collab.Subscribe[collab.PeerChanged](ctx, a)
	follow := func(what string, ok func(collab.Status) bool) {
		t.Helper()
		for e := range changes {
			if st := e.Status; ok(st) {
				if now := a.Status(); !ok(now) {
					t.Errorf("%s: the event says %+v, Status %+v", what, st, now)
				}
				return
			}
		}
		t.Fatalf("no event: %s; status %+v", what, a.Status())
	}
	ben := openNode(t, "Ben")
	b := join(t, ben, invite(t, a, collab.InviteOptions{}))
	follow("Ben is here", func(st collab.Status) bool {
		return st.Peers == 1 && st.Direct == 1 && st.Relayed == 0 && st.Synced && st.Err == nil
	})
	if e := <-paths; e.Who != b.Me().ID || !e.Online || e.Path != collab.PathDirect {
		t.Errorf("event %+v", e)
	}
	if err := ben.Close(); err != nil {
		t.Fatal(err)
	}
	follow("Ben has gone", func(st collab.Status) bool { return st.Peers == 0 && st.Direct == 0 && !st.Synced })
	for e := range paths {
		if !e.Online {
			if e.Path != collab.PathNone {
				t.Errorf("event %+v", e)
			}
			break
		}
	}
}
