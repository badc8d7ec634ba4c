package foundation

import (
	"errors"
	"testing"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/sync/envelope"
	"github.com/studio-whip/collab/sync/journal"
	"github.com/studio-whip/collab/sync/membership"
)

// set writes a key of a document's map, as one envelope.
func (r *room) set(name, key, value string) {
	r.t.Helper()
	doc, err := r.j.Doc(name)
	must(r.t, err)
	must(r.t, doc.Update(func(tx *crdt.Txn) error { return doc.CRDT().Map("notes").Set(tx, key, value) }))
	_, err = r.j.Append(r.t.Context(), doc.ID, nil)
	must(r.t, err)
	must(r.t, r.j.WaitSaved(r.t.Context()))
}

// get reads a key of a document's map.
func (r *room) get(name, key string) (value string) {
	r.t.Helper()
	doc, err := r.j.Doc(name)
	must(r.t, err)
	must(r.t, r.j.Settled(r.t.Context()))
	d := doc.CRDT()
	must(r.t, d.View(func(tx *crdt.ReadTxn) error {
		if v, ok := d.Map("notes").Get(tx, key); ok {
			value = v.String()
		}
		return nil
	}))
	return value
}

// digest returns a document's digest once everything that was accepted is applied.
func (r *room) digest(name string) [32]byte {
	r.t.Helper()
	doc, err := r.j.Doc(name)
	must(r.t, err)
	must(r.t, r.j.Settled(r.t.Context()))
	return doc.CRDT().Digest()
}

// dismiss removes another room's member, naming what was applied here.
func (r *room) dismiss(other *room) {
	r.t.Helper()
	member := other.self.Identity.Member()
	cuts, err := r.j.Cuts(member)
	must(r.t, err)
	_, err = r.p.Remove(r.t.Context(), membership.Removal{Member: member, Cuts: cuts, Reason: "test"})
	must(r.t, err)
}

// recorded returns the room's own envelopes from the call on, as they are published.
func (r *room) recorded() *[]*envelope.Envelope {
	var out []*envelope.Envelope
	r.j.OnOwn(func(e *envelope.Envelope) { out = append(out, e) })
	return &out
}

// Carl writes three times; anna, who removes him, has applied two of them, berta all, dora none.
func TestScenario32Cuts(t *testing.T) {
	scenario.Run(t, 32, "a revoked member's envelope at or before the cut arrives late: accepted; one after it: void everywhere, applied or not; equal digests", func(t *testing.T) {
		anna, berta, carl := trio(t)
		dora := anna.join(newNode(t, "dora"))
		berta.meet(anna)
		berta.meet(carl)
		sent := carl.recorded()
		carl.write("notes", "one ")
		carl.set("notes", "scene", "before")
		must(t, anna.p.Pull(t.Context(), carl.device()))
		must(t, anna.f.Sync(t.Context(), carl.device()))
		must(t, berta.f.Sync(t.Context(), carl.device()))
		anna.host.Disconnect(carl.device())
		carl.write("notes", "three ")
		carl.set("notes", "scene", "after")
		must(t, berta.f.Sync(t.Context(), carl.device()))
		if berta.text("notes") != "one three " || berta.get("notes", "scene") != "after" {
			t.Fatal("berta has not applied what comes after the cut")
		}

		anna.dismiss(carl)
		for _, r := range []*room{berta, dora} {
			must(t, r.p.Pull(t.Context(), anna.device()))
			if r.f.live(carl.device()) {
				t.Fatalf("%s does not know of the removal", r.name)
			}
		}
		eventually(t, "berta's document follows", func() bool { return berta.text("notes") == "one " && berta.get("notes", "scene") == "before" })
		must(t, carl.j.Settled(t.Context()))
		chain := chainOf(t, anna, carl)
		cut := anna.j.HeldTo(chain.Device, chain.ChainNo)
		last := (*sent)[len(*sent)-1].Seq
		if cut < 3 || last < cut+2 {
			t.Fatalf("the chain is cut at %d and goes to %d", cut, last)
		}
		for _, e := range *sent {
			if e.ChainNo != chain.ChainNo {
				continue
			}
			verdict, err := dora.j.Accept(t.Context(), e, anna.device()) // late, and by another's hand
			switch {
			case e.Seq <= cut && verdict != journal.Accepted:
				t.Errorf("envelope %d, before the cut at %d: %v, %v", e.Seq, cut, verdict, err)
			case e.Seq == cut+1 && (verdict != journal.Refused || !errors.Is(err, journal.ErrCut)),
				e.Seq > cut && verdict == journal.Accepted:
				t.Errorf("envelope %d, beyond the cut at %d: %v, %v", e.Seq, cut, verdict, err)
			}
		}
		must(t, berta.f.Sync(t.Context(), anna.device()))
		must(t, dora.f.Sync(t.Context(), anna.device()))
		equal(t, []string{"notes"}, anna, berta, dora)
		for _, r := range []*room{berta, dora} {
			if r.digest("notes") != anna.digest("notes") {
				t.Errorf("%s has another document than anna", r.name)
			}
			if r.p.State().Digest() != anna.p.State().Digest() {
				t.Errorf("%s is in another state than anna", r.name)
			}
		}
		// The others go on over what was cut away, and a newcomer comes to the same.
		berta.write("notes", "berta ")
		must(t, anna.f.Sync(t.Context(), berta.device()))
		emil := anna.join(newNode(t, "emil"))
		must(t, emil.f.Sync(t.Context(), anna.device()))
		equal(t, []string{"notes"}, anna, berta, emil)
		if emil.digest("notes") != berta.digest("notes") || emil.text("notes") != "one berta " {
			t.Errorf("the newcomer reads %q", emil.text("notes"))
		}
	})
}
