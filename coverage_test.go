package collab_test

import (
	"slices"
	"testing"

	"github.com/studio-whip/collab"
)

// Who only writes shows what they have heard of, too.
func TestCoverage(t *testing.T) {
	c := gather(t, "Bob", "Cleo", "Dan")
	ada, bob, cleo, dan := c.sessions[0], c.sessions[1], c.sessions[2], c.sessions[3]
	docs := []*collab.Doc{open(t, ada, "script"), open(t, bob, "script"), open(t, cleo, "script")}
	if err := ada.Revoke(t.Context(), dan.Me().ID, "left"); err != nil {
		t.Fatal(err)
	}
	var removal collab.EventID
	for e, err := range ada.Audit(collab.EventID{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == "Revoke" {
			removal = e.ID
		}
	}
	seen, unseen, err := ada.Coverage(removal)
	if err != nil || !slices.Equal(seen, []collab.MemberID{ada.Me().ID}) || len(unseen) != 2 {
		t.Errorf("before anybody wrote: %d seen, %d unseen, %v", len(seen), len(unseen), err)
	}
	for k, s := range []*collab.Session{bob, cleo} {
		eventually(t, "the removal is known", func() bool { return member(s, dan.Me().ID).State == collab.MemberRemoved })
		insert(t, docs[k+1], 0, "went on. ")
		eventually(t, "it shows", func() bool {
			seen, unseen, err := ada.Coverage(removal)
			return err == nil && len(seen) == k+2 && slices.Contains(seen, s.Me().ID) && len(unseen) == 1-k
		})
	}
	n := 0
	for e := range ada.Audit(removal) {
		_ = e
		n++
	}
	if n != 0 {
		t.Errorf("%d events say so; what was written was to", n)
	}
}
