package collab

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
	"github.com/studio-whip/collab/sync/journal"
)

// A modified program of Dan's signs what it likes with his device's key and publishes it over his own connections. What
// honest devices make of it is asked of their journals as well, so that the reason is known.

// heads are the governance events that Dan knows, as an envelope names them.
func (j *jury) govHeads() (heads []governance.EventID) {
	j.dan.s.membership.View(func(l *governance.Log) { heads = l.Heads() })
	return heads[:min(len(heads), envelope.MaxHeads)]
}

// seal makes Dan's next envelope after a place, whatever he may.
func (j *jury) seal(head envelope.ChainHead, heads []governance.EventID, under governance.EpochID) *envelope.Envelope {
	j.t.Helper()
	return j.sealAs(j.dan, head, heads, under)
}

// sealAs is the same for another player.
func (j *jury) sealAs(p *player, head envelope.ChainHead, heads []governance.EventID, under governance.EpochID) *envelope.Envelope {
	j.t.Helper()
	key, ok := p.s.membership.EpochKey(under)
	if !ok {
		j.t.Fatal("this key is not here")
	}
	device, doc := p.self.Device.ID, identity.DocumentID(p.s.ID(), "script")
	own := crdt.New(crdt.WithClientID(uint64(identity.ClientID(p.s.ID(), device, head.ChainNo))))
	state, err := p.doc.Export()
	if err == nil {
		_, err = own.ApplyUpdate(state)
	}
	var update []byte
	own.OnUpdate(func(u []byte, o crdt.Origin) { update = u })
	if err == nil {
		err = own.Update(func(tx *crdt.Txn) error { return own.Text("body").Insert(tx, 0, "FORGED ") })
	}
	if err != nil {
		j.t.Fatal(err)
	}
	e, err := envelope.NewChain(head).Next(rand.Reader, p.self.Keys.DK, envelope.Draft{
		Kind: envelope.KindUpdate, Doc: doc, GovHeads: heads, Epoch: &under,
		Key: epoch.ContentKey(key, under, device, head.ChainNo, doc), Payload: (&envelope.Update{Updates: [][]byte{update}}).Encode(),
	})
	if err != nil {
		j.t.Fatal(err)
	}
	return e
}

// moved signs a ciphertext under another header.
func (j *jury) moved(ct []byte, h envelope.Header) *envelope.Envelope {
	j.t.Helper()
	h.Head = wire.NewHead()
	header := wire.Marshal(h)
	sum := sha256.Sum256(ct)
	sig := j.dan.self.Keys.DK.Sign(sign.Envelope, wire.Marshal([]any{header, sum[:]}))
	e, err := envelope.Parse(wire.Marshal([]any{header, ct, sig}))
	if err != nil {
		j.t.Fatal(err)
	}
	return e
}

// refused publishes an envelope and wants every honest device to refuse it, for this reason, and to show what it showed.
func (j *jury) refused(what string, e *envelope.Envelope, want error) {
	j.t.Helper()
	j.dan.s.live.Publish(e)
	for _, p := range j.others() {
		shown, held := p.read(j.t), p.s.journal.HeldTo(e.Device, e.ChainNo)
		v, err := p.s.journal.Accept(j.t.Context(), e, j.dan.self.Device.ID)
		if v != journal.Refused || !errors.Is(err, want) {
			j.t.Errorf("%s at %s: %v, %v; want %v", what, p.self.Identity.Display, v, err, want)
		}
		if got := p.read(j.t); got != shown || p.s.journal.HeldTo(e.Device, e.ChainNo) != held {
			j.t.Errorf("%s at %s: shows %q, holds %d", what, p.self.Identity.Display, got, p.s.journal.HeldTo(e.Device, e.ChainNo))
		}
	}
}

// goesOn checks that the attacks have changed nothing: everybody, Dan too, is in one state and what he writes honestly is taken.
func (j *jury) goesOn() {
	j.t.Helper()
	j.write(j.dan, "Honest. ")
	agree(j.t, j.all()...)
	if got := j.ada.read(j.t); !bytes.HasPrefix([]byte(got), []byte("Honest. ")) {
		j.t.Errorf("%q", got)
	}
}

// stored returns an envelope of a document as a player keeps it.
func stored(t *testing.T, p *player, by *player) (last *envelope.Envelope) {
	t.Helper()
	for e, err := range p.doc.History() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Device == by.self.Device.ID {
			if last, err = envelope.ParseStored(e.Sealed); err != nil {
				t.Fatal(err)
			}
		}
	}
	return last
}

func sending(t *testing.T, p *player) governance.EpochID {
	t.Helper()
	id, _, ok := p.s.membership.SendingEpoch()
	if !ok {
		t.Fatal("no epoch")
	}
	return id
}

func TestScenario41CiphertextElsewhere(t *testing.T) {
	scenario.Run(t, 41, "genuine ciphertext is presented under another epoch, document, author, chain and place: it does not open, at any device", func(t *testing.T) {
		j := newJury(t)
		eve := newPlayer(t, "Eve")
		eve.join(t, j.ada)
		first := stored(t, j.ada, j.dan)
		if err := j.ada.s.Revoke(t.Context(), eve.s.Me().ID, "so that there is a second key"); err != nil {
			t.Fatal(err)
		}
		until(t, "Dan has the second key", func() bool {
			id, _, ok := j.dan.s.membership.SendingEpoch()
			return ok && id != *first.Epoch
		})
		j.write(j.bob, "Bob. ")
		j.write(j.dan, "Dan again. ")
		agree(t, j.all()...)
		second, bobs := stored(t, j.ada, j.dan), stored(t, j.ada, j.bob)
		head, _ := j.dan.s.journal.Chain()
		next := func(of *envelope.Envelope) envelope.Header {
			h := of.Header
			h.Device, h.ChainNo, h.Seq, h.Prev, h.GovHeads = j.dan.self.Device.ID, head.ChainNo, head.Seq+1, head.ID, j.govHeads()
			return h
		}
		place := next(second)
		other := next(second)
		other.Doc = identity.DocumentID(j.dan.s.ID(), "notes")
		under := next(first)
		under.Epoch = second.Epoch
		author := next(bobs)
		j.refused("another place", j.moved(second.Ciphertext, place), journal.ErrEpoch)
		j.refused("another document", j.moved(second.Ciphertext, other), journal.ErrEpoch)
		j.refused("another epoch", j.moved(first.Ciphertext, under), journal.ErrEpoch)
		j.refused("another author", j.moved(bobs.Ciphertext, author), journal.ErrEpoch)

		// Another chain of his, properly opened and introduced.
		no := head.ChainNo + 1
		opening, err := j.dan.s.membership.Propose(t.Context(), governance.KindChainOpen, &governance.ChainOpen{ChainNo: no})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range j.others() {
			until(t, "the chain is open", func() (known bool) {
				p.s.membership.View(func(l *governance.Log) { known = l.Has(opening) })
				return known
			})
		}
		begin := envelope.NewChain(envelope.Beginning(j.dan.s.ID(), j.dan.self.Device.ID, no))
		intro, err := begin.Introduce(j.dan.self.Keys.DK, j.dan.self.Identity.ID, j.govHeads())
		if err != nil {
			t.Fatal(err)
		}
		j.dan.s.live.Publish(intro)
		for _, p := range j.others() {
			until(t, "the chain is introduced", func() bool { return p.s.journal.HeldTo(intro.Device, no) == 1 })
		}
		chain := next(second)
		chain.ChainNo, chain.Seq, chain.Prev = no, 2, intro.ID
		j.refused("another chain", j.moved(second.Ciphertext, chain), journal.ErrEpoch)
		j.goesOn()
	})
}

func TestScenario87OlderHeads(t *testing.T) {
	scenario.Run(t, 87, "a demoted editor cites governance heads older than those of his previous envelope, from when he was an editor: void at all devices", func(t *testing.T) {
		j := newJury(t)
		old := j.govHeads()
		under := sending(t, j.dan)
		if _, err := j.bob.s.membership.Propose(t.Context(), governance.KindChainOpen, &governance.ChainOpen{ChainNo: 1}); err != nil {
			t.Fatal(err)
		}
		until(t, "Dan knows more than before", func() bool { return !sameHeads(j.govHeads(), old) })
		j.write(j.dan, "Newer. ")
		agree(t, j.all()...)
		newer := j.govHeads()
		head, _ := j.dan.s.journal.Chain()
		if err := j.ada.s.SetRole(t.Context(), j.dan.s.Me().ID, RoleViewer); err != nil {
			t.Fatal(err)
		}
		for _, p := range j.all() {
			until(t, "the demotion is known", func() bool { return p.s.membership.State().Role(j.dan.s.Me().ID) == RoleViewer })
		}
		j.refused("heads from before", j.seal(head, old, under), journal.ErrHeads)
		j.refused("heads of his last envelope", j.seal(head, newer, under), journal.ErrCut)
		j.refused("heads of now", j.seal(head, j.govHeads(), under), journal.ErrAuthor)
		j.write(j.bob, "Bob goes on. ")
		agree(t, j.all()...)
		if got := j.dan.read(t); got != "Bob goes on. Newer. Dan. " {
			t.Errorf("the viewer reads %q", got)
		}
	})
}

func sameHeads(a, b []governance.EventID) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestScenario92OldEpoch(t *testing.T) {
	scenario.Run(t, 92, "a sender cites a removal and still seals under an epoch from before it: void at all devices", func(t *testing.T) {
		j := newJury(t)
		eve := newPlayer(t, "Eve")
		eve.join(t, j.ada)
		agree(t, append(j.all(), eve)...)
		old := sending(t, j.dan)
		if err := j.ada.s.Revoke(t.Context(), eve.s.Me().ID, "left"); err != nil {
			t.Fatal(err)
		}
		for _, p := range j.all() {
			until(t, "the removal and its key are here", func() bool {
				id, _, ok := p.s.membership.SendingEpoch()
				return ok && id != old && p.s.membership.State().Role(eve.self.Device.Member) == governance.None
			})
		}
		head, _ := j.dan.s.journal.Chain()
		j.refused("the old key", j.seal(head, j.govHeads(), old), journal.ErrEpoch)
		j.goesOn()
	})
}

// placeOf names a place in Dan's chain.
func (j *jury) placeOf(at uint64) governance.Cut {
	j.t.Helper()
	for e, err := range j.ada.doc.History() {
		if err != nil {
			j.t.Fatal(err)
		}
		if e.Device == j.dan.self.Device.ID && e.Seq == at {
			env, err := envelope.ParseStored(e.Sealed)
			if err != nil {
				j.t.Fatal(err)
			}
			return governance.Cut{Device: e.Device, ChainNo: e.Chain, Seq: e.Seq, Envelope: env.ID}
		}
	}
	j.t.Fatalf("no envelope %d", at)
	return governance.Cut{}
}

// last is the place of Dan's newest envelope.
func (j *jury) last() uint64 { head, _ := j.dan.s.journal.Chain(); return head.Seq }

// title sets and reads a key that later values take the place of.
func (j *jury) title(p *player, v string) {
	j.t.Helper()
	err := p.doc.Update(func(tx *crdt.Txn) error { return p.doc.Map("meta").Set(tx, "title", v) })
	if err == nil {
		err = p.s.live.Flush(j.t.Context())
	}
	if err != nil {
		j.t.Fatal(err)
	}
}

func (p *player) titled() (v string) {
	_ = p.doc.View(func(tx *crdt.ReadTxn) error {
		if x, ok := p.doc.Map("meta").Get(tx, "title"); ok {
			v = x.String()
		}
		return nil
	})
	return v
}

// Whatever ends somebody's writing ends it at one place for all, whether they have shown more, have less or come later.
func TestScenario32EveryLossOfWrite(t *testing.T) {
	losses := map[string]func(j *jury, cuts []governance.Cut) (*player, governance.Kind, any){
		"Revoke": func(j *jury, cuts []governance.Cut) (*player, governance.Kind, any) {
			return j.ada, governance.KindRevoke, &governance.Revoke{Member: j.dan.s.Me().ID, Cuts: cuts}
		},
		"RoleDrop": func(j *jury, cuts []governance.Cut) (*player, governance.Kind, any) {
			return j.ada, governance.KindRoleDrop, &governance.RoleDrop{Member: j.dan.s.Me().ID, Role: governance.Viewer, Cuts: cuts}
		},
		"DeviceRemove": func(j *jury, cuts []governance.Cut) (*player, governance.Kind, any) {
			return j.ada, governance.KindDeviceRemove, &governance.DeviceRemove{Device: j.dan.self.Device.ID, Cuts: cuts}
		},
		"Leave": func(j *jury, cuts []governance.Cut) (*player, governance.Kind, any) {
			return j.dan, governance.KindLeave, &governance.Leave{Cuts: cuts}
		},
	}
	for name, act := range losses {
		t.Run(name, func(t *testing.T) {
			scenario.Run(t, 32, "what was written up to the cut of a "+name+" arrives late at a newcomer: accepted; what follows counts nowhere, shown before or not", func(t *testing.T) {
				j := newJury(t)
				j.title(j.dan, "before")
				at := j.last()
				j.title(j.dan, "after")
				j.write(j.dan, "Late. ")
				agree(t, j.all()...)
				by, kind, body := act(j, []governance.Cut{j.placeOf(at)})
				if _, err := by.s.membership.Propose(t.Context(), kind, body); err != nil {
					t.Fatal(err)
				}
				for _, p := range j.others() {
					until(t, "what lies beyond the cut is gone", func() bool { return p.titled() == "before" && p.read(t) == "Dan. " })
				}
				eve := newPlayer(t, "Eve")
				eve.join(t, j.ada)
				until(t, "the newcomer has verified it", func() bool { return eve.titled() == "before" && !eve.doc.Unverified() })
				j.writeAt(j.bob, 0, "Bob. ")
				agree(t, append(j.others(), eve)...)
				if got := eve.read(t); got != "Bob. Dan. " {
					t.Errorf("the newcomer reads %q", got)
				}
			})
		})
	}
}

func TestScenario88LateEdits(t *testing.T) {
	scenario.Run(t, 88, "a removed member overwrote a key after the cut, some have applied it, a newcomer has not: all show the value from before; after a FrontierExtend past it all show his", func(t *testing.T) {
		j := newJury(t)
		j.title(j.ada, "Ada's")
		agree(t, j.all()...)
		at := j.last()
		j.title(j.dan, "Dan's")
		agree(t, j.all()...)
		late := j.placeOf(j.last())
		if _, err := j.ada.s.membership.Propose(t.Context(), governance.KindRevoke, &governance.Revoke{
			Member: j.dan.s.Me().ID, Cuts: []governance.Cut{j.placeOf(at)},
		}); err != nil {
			t.Fatal(err)
		}
		eve := newPlayer(t, "Eve")
		eve.join(t, j.ada)
		all := append(j.others(), eve)
		for _, p := range all {
			until(t, "all show the value from before", func() bool { return p.titled() == "Ada's" })
		}
		agree(t, all...)
		if _, err := j.ada.s.membership.Propose(t.Context(), governance.KindFrontierExtend, &governance.FrontierExtend{Cuts: []governance.Cut{late}}); err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			until(t, "all show his", func() bool { return p.titled() == "Dan's" })
		}
		agree(t, all...)
	})
}

func TestScenario90CutsOfZero(t *testing.T) {
	scenario.Run(t, 90, "a rogue manager revokes an author with cuts of 0: what was settled stays, another manager's FrontierExtend brings back the rest, equal documents", func(t *testing.T) {
		j := newJury(t)
		settled := j.placeOf(j.last())
		st := j.ada.s.membership.State()
		if _, err := j.ada.s.membership.Propose(t.Context(), governance.KindCheckpoint, &governance.Checkpoint{
			Number: 1, State: st.Digest(), Content: []governance.Cut{settled}, Time: uint64(time.Now().Unix()),
		}); err != nil {
			t.Fatal(err)
		}
		if err := j.ada.s.SetRole(t.Context(), j.bob.s.Me().ID, RoleManager); err != nil {
			t.Fatal(err)
		}
		j.write(j.dan, "Years of work. ")
		agree(t, j.all()...)
		until(t, "Bob is a manager", func() bool { return j.bob.s.Me().Role == RoleManager })
		rest := j.placeOf(j.last())
		if _, err := j.bob.s.membership.Propose(t.Context(), governance.KindRevoke, &governance.Revoke{Member: j.dan.s.Me().ID}); err != nil {
			t.Fatal(err)
		}
		j.shows("Dan. ", j.others()...)
		agree(t, j.others()...)
		if _, err := j.ada.s.membership.Propose(t.Context(), governance.KindFrontierExtend, &governance.FrontierExtend{Cuts: []governance.Cut{rest}}); err != nil {
			t.Fatal(err)
		}
		j.shows("Years of work. Dan. ", j.others()...)
		agree(t, j.others()...)
	})
}

func TestScenario30DemotedBesideHisGrant(t *testing.T) {
	scenario.Run(t, 30, "a manager is demoted beside a grant of his own, made as if he did not know: the grant is void everywhere, his plain edits up to the cut stay, later ones are void", func(t *testing.T) {
		j := newJury(t)
		cleo, dan := j.cleo.s.Me().ID, j.dan.s.Me().ID
		if err := j.ada.s.SetRole(t.Context(), j.bob.s.Me().ID, RoleManager); err != nil {
			t.Fatal(err)
		}
		role(t, j.bob.s.Me().ID, RoleManager, j.all()...)
		promote(t, cleo, j.ada, j.bob)
		role(t, cleo, RoleManager, j.all()...)
		if err := j.ada.s.SetRole(t.Context(), dan, RoleViewer); err != nil {
			t.Fatal(err)
		}
		role(t, dan, RoleViewer, j.all()...)
		j.write(j.cleo, "Cleo. ")
		agree(t, j.all()...)
		before := j.cleo.s.membership.Heads()
		under := sending(t, j.cleo)
		head, _ := j.cleo.s.journal.Chain()
		cuts, err := j.ada.s.journal.Cuts(cleo)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.ada.s.membership.Propose(t.Context(), governance.KindRoleDrop, &governance.RoleDrop{
			Member: cleo, Role: RoleViewer, Cuts: cuts,
		}, governance.WithCosigners(j.bob.author())); err != nil {
			t.Fatal(err)
		}
		role(t, cleo, RoleViewer, j.all()...)
		raw, grant := j.cleo.forges(governance.KindRoleGrant, &governance.RoleGrant{Member: dan, Role: RoleEditor}, since(before))
		for _, p := range []*player{j.ada, j.bob, j.dan} {
			j.cleo.brings(t, p, raw)
		}
		for _, p := range j.all() {
			if x := p.explains(t, grant); x.Counts {
				t.Errorf("the grant counts at %s", p.self.Identity.Display)
			}
		}
		role(t, dan, RoleViewer, j.all()...)
		// An edit of hers as if she did not know either: it is plain, and beyond the cut.
		late := j.sealAs(j.cleo, head, before[:min(len(before), envelope.MaxHeads)], under)
		j.cleo.s.live.Publish(late)
		for _, p := range []*player{j.ada, j.bob, j.dan} {
			if v, err := p.s.journal.Accept(t.Context(), late, j.cleo.self.Device.ID); v != journal.Refused || !errors.Is(err, journal.ErrCut) {
				t.Errorf("%s takes it: %v, %v", p.self.Identity.Display, v, err)
			}
		}
		j.write(j.bob, "Bob. ")
		j.shows("Bob. Cleo. Dan. ", j.all()...)
		agree(t, j.all()...)
	})
}
