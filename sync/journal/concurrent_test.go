package journal

import (
	"fmt"
	"sync"
	"testing"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/sync/envelope"
)

// TestConcurrentUse edits, delivers, exchanges, rebuilds, saves and takes snapshots at once, with observers that edit,
// while a third member is removed, and wants equal documents in the end.
func TestConcurrentUse(t *testing.T) {
	_, ada, ben, cyd := trio(t)
	cyd.write("script", "Cyd")
	syncNodes(t, ada, cyd)
	syncNodes(t, ben, cyd)
	ada.gov.peers, ben.gov.peers = []*gov{ben.gov}, []*gov{ada.gov}
	for _, n := range []*node{ada, ben} {
		other := map[*node]*node{ada: ben, ben: ada}[n]
		n.OnOwn(func(e *envelope.Envelope) { _, _ = other.Accept(t.Context(), e, n.person.dev.ID) })
		observe(t, n)
	}
	var wg sync.WaitGroup
	for i := range 2 {
		for _, n := range []*node{ada, ben} {
			wg.Go(func() {
				r := n.doc("script")
				for k := range 30 {
					err := r.Update(func(tx *crdt.Txn) error {
						return r.CRDT().Text("body").Insert(tx, 0, fmt.Sprintf("<%s %d %d>", n.person.name, i, k))
					})
					if err != nil {
						t.Error(err)
					}
					if _, err := n.Append(t.Context(), r.ID, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	for _, n := range []*node{ada, ben} {
		wg.Go(func() {
			r := n.doc("script")
			for range 5 {
				if _, err := n.Rebuild(t.Context(), r.ID); err != nil {
					t.Error(err)
				}
				if _, err := n.Snapshot(r.ID); err != nil {
					t.Error(err)
				}
				if err := n.WaitSaved(t.Context()); err != nil {
					t.Error(err)
				}
				_, _ = n.Names(), n.Frontier()
			}
		})
	}
	wg.Go(func() {
		ada.gov.remove(cyd.person)
	})
	wg.Wait()
	for range 3 {
		for _, n := range []*node{ada, ben} {
			n.quiet()
			if err := n.WaitSaved(t.Context()); err != nil {
				t.Fatal(err)
			}
			n.quiet()
		}
		syncNodes(t, ada, ben)
	}
	agree(t, []*node{ada, ben}, "script", "log")
}

// observe makes an observer of the script that writes to another document and asks the journal.
func observe(t *testing.T, n *node) {
	script, log := n.doc("script"), n.doc("log")
	watch := func(d *crdt.Doc) {
		count := 0
		d.OnUpdate(func(_ []byte, o crdt.Origin) {
			if count++; o.Local || count%5 > 0 {
				return
			}
			n.Names()
			if err := log.Update(func(tx *crdt.Txn) error {
				return log.CRDT().Map("seen").Set(tx, n.person.name, count)
			}); err != nil {
				t.Error(err)
			}
			if _, err := n.Append(t.Context(), log.ID, nil); err != nil {
				t.Error(err)
			}
		})
	}
	watch(script.CRDT())
	script.OnReplaced(func(_, after *crdt.Doc) { watch(after) })
}
