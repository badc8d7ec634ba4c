package journal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/sync/envelope"
)

// forger writes envelopes for a person, truthful or not.
type forger struct {
	t     testing.TB
	g     *gov
	chain *envelope.Chain
	no    uint32
	heads []governance.EventID // nil: the present ones
	epoch *governance.EpochID  // nil: the one to send under
	doc   DocID
	crdt  *crdt.Doc // what it edits, under the client ID of its choice
}

func newForger(g *gov, no uint32) *forger {
	client := identity.ClientID([32]byte(g.ID()), g.person.dev.ID, no)
	return &forger{
		t: g.team.t, g: g, no: no, chain: envelope.NewChain(envelope.Beginning(g.ID(), g.person.dev.ID, no)),
		doc: identity.DocumentID([32]byte(g.ID()), "script"), crdt: crdt.New(crdt.WithClientID(uint64(client))),
	}
}

func (f *forger) present() (heads []governance.EventID, id governance.EpochID) {
	f.g.View(func(l *governance.Log) {
		heads = l.Heads()
		if e, ok := l.State().SendingEpoch(); ok {
			id = e.ID
		}
	})
	if f.heads != nil {
		heads = f.heads
	}
	if f.epoch != nil {
		id = *f.epoch
	}
	return heads, id
}

func (f *forger) introduce() *envelope.Envelope {
	f.t.Helper()
	heads, _ := f.present()
	e, err := f.chain.Introduce(f.g.person.keys.DK, f.g.person.id.ID, heads)
	if err != nil {
		f.t.Fatal(err)
	}
	return e
}

// update makes an envelope that inserts text at the start.
func (f *forger) update(s string) *envelope.Envelope {
	f.t.Helper()
	var update []byte
	stop := f.crdt.OnUpdate(func(u []byte, _ crdt.Origin) { update = u })
	defer stop()
	if err := f.crdt.Update(func(tx *crdt.Txn) error { return f.crdt.Text("body").Insert(tx, 0, s) }); err != nil {
		f.t.Fatal(err)
	}
	return f.seal((&envelope.Update{Updates: [][]byte{update}}).Encode())
}

func (f *forger) seal(payload []byte) *envelope.Envelope {
	f.t.Helper()
	heads, id := f.present()
	key := f.g.team.keys[id]
	e, err := f.chain.Next(rand.Reader, f.g.person.keys.DK, envelope.Draft{
		Kind: envelope.KindUpdate, Doc: f.doc, GovHeads: heads, Epoch: &id, Payload: payload,
		Key: epoch.ContentKey(key, id, f.g.person.dev.ID, f.no, f.doc),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return e
}

// refused fails the test unless n refuses the envelope for this reason, shows what it showed and holds what it held;
// alone, and in a run.
func refused(t *testing.T, n *node, want error, envs ...*envelope.Envelope) {
	t.Helper()
	last := envs[len(envs)-1]
	before, frontier := n.text("script"), fmt.Sprint(n.Frontier())
	run, err := envelope.EncodeRun(envs)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range envs[:len(envs)-1] {
		if v, err := n.Accept(t.Context(), e, last.Device); v != Accepted {
			t.Fatalf("envelope %d before the bad one: %v %v", e.Seq, v, err)
		}
		before, frontier = n.text("script"), fmt.Sprint(n.Frontier())
	}
	var refusal *RefusedError
	if v, err := n.Accept(t.Context(), last, last.Device); v != Refused || !errors.Is(err, want) || !errors.As(err, &refusal) {
		t.Errorf("alone: %v %v, want %v", v, err, want)
	}
	if err := n.AcceptRun(t.Context(), run, last.Device); !errors.Is(err, want) {
		t.Errorf("in a run: %v, want %v", err, want)
	}
	if n.text("script") != before || fmt.Sprint(n.Frontier()) != frontier {
		t.Errorf("the document or the frontier has changed")
	}
}

func TestRefused(t *testing.T) {
	setup := func(t *testing.T) (*team, *node, *forger) {
		w := newTeam(t)
		w.begin()
		b := newPerson(t, "Ben")
		w.admit(governance.Editor, b)
		return w, w.open(w.ada), newForger(w.gov(b), 0)
	}
	t.Run("94 foreign client ID", func(t *testing.T) {
		_, ada, ben := setup(t)
		ben.crdt = crdt.New(crdt.WithClientID(7))
		refused(t, ada, ErrContent, ben.introduce(), ben.update("x"))
	})
	t.Run("foreign client ID beside the own", func(t *testing.T) {
		_, ada, ben := setup(t)
		other := crdt.New(crdt.WithClientID(7))
		_ = other.Update(func(tx *crdt.Txn) error { return other.Text("body").Insert(tx, 0, "y") })
		state, _ := other.EncodeUpdate(nil)
		_, _ = ben.crdt.ApplyUpdate(state)
		_ = ben.crdt.Update(func(tx *crdt.Txn) error { return ben.crdt.Text("body").Insert(tx, 0, "x") })
		all, _ := ben.crdt.EncodeUpdate(nil)
		refused(t, ada, ErrContent, ben.introduce(), ben.seal((&envelope.Update{Updates: [][]byte{all}}).Encode()))
	})
	t.Run("malformed update", func(t *testing.T) {
		_, ada, ben := setup(t)
		refused(t, ada, ErrContent, ben.introduce(), ben.seal((&envelope.Update{Updates: [][]byte{{9, 9, 9}}}).Encode()))
	})
	t.Run("malformed payload", func(t *testing.T) {
		_, ada, ben := setup(t)
		refused(t, ada, ErrContent, ben.introduce(), ben.seal([]byte("no record")))
	})
	t.Run("53 no introduction", func(t *testing.T) {
		_, ada, ben := setup(t)
		refused(t, ada, ErrIntroduction, ben.update("x"))
	})
	t.Run("53 introduction under another's certificate", func(t *testing.T) {
		w, ada, ben := setup(t)
		heads, _ := ben.present()
		e, err := ben.chain.Introduce(ben.g.person.keys.DK, w.ada.id.ID, heads)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, ada, ErrIntroduction, e)
	})
	t.Run("stranger", func(t *testing.T) {
		w, ada, _ := setup(t)
		mallory := newForger(w.gov(newPerson(t, "Mallory")), 0)
		refused(t, ada, ErrAuthor, mallory.introduce())
	})
	t.Run("viewer", func(t *testing.T) {
		w, ada, _ := setup(t)
		eve := newPerson(t, "Eve")
		g := w.gov(w.ada)
		raw := g.propose(governance.KindAdmit, &governance.Admit{Role: governance.Viewer, Identity: eve.id.Raw, Device: eve.dev.Raw})
		w.events = append(w.events, raw)
		ada.gov.learn(raw)
		f := newForger(w.gov(eve), 0)
		refused(t, ada, ErrAuthor, f.introduce(), f.update("x"))
	})
	t.Run("chain that was not opened", func(t *testing.T) {
		w, ada, ben := setup(t)
		f := newForger(w.gov(ben.g.person), 1)
		refused(t, ada, ErrChain, f.introduce())
	})
	t.Run("heads before the chain's opening", func(t *testing.T) {
		w, ada, ben := setup(t)
		ben.heads = []governance.EventID{governance.EventID(w.root.Project)}
		refused(t, ada, ErrChain, ben.introduce())
	})
	t.Run("41 wrong key", func(t *testing.T) {
		w, ada, ben := setup(t)
		intro := ben.introduce()
		_, id := ben.present()
		right := w.keys[id]
		w.keys[id] = [32]byte{1}
		e := ben.update("x")
		w.keys[id] = right
		refused(t, ada, ErrEpoch, intro, e)
	})
	t.Run("epoch that does not exist", func(t *testing.T) {
		w, ada, ben := setup(t)
		id := governance.EpochID{1}
		w.keys[id] = [32]byte{1}
		ben.epoch = &id
		refused(t, ada, ErrEpoch, ben.introduce(), ben.update("x"))
	})
	t.Run("signature of another", func(t *testing.T) {
		_, ada, ben := setup(t)
		e := ben.introduce()
		e.Sig = bytes.Clone(e.Sig)
		e.Sig[0] ^= 1
		refused(t, ada, envelope.ErrSignature, e)
	})
	t.Run("another project", func(t *testing.T) {
		_, ada, _ := setup(t)
		_, _, other := setup(t)
		refused(t, ada, ErrProject, other.introduce())
	})
}

// TestOlderHeads is scenario 87: a demoted or removed author goes on under heads from before.
func TestOlderHeads(t *testing.T) {
	w, ada, _ := pair(t)
	ben := newForger(w.gov(newPerson(t, "Ben")), 0)
	old, _ := ben.present()
	raw := ada.gov.propose(governance.KindAdmit, &governance.Admit{Role: governance.Viewer, Identity: newPerson(t, "Cyd").id.Raw, Device: newPerson(t, "Cyd").dev.Raw})
	ben.g.learn(raw)
	a, b := ben.introduce(), ben.update("new")
	ben.heads = old
	refused(t, ada, ErrHeads, a, b, ben.update("old"))
}

// TestEpochFromBeforeARemoval is scenario 92: the author knows of a removal and still seals under the old epoch.
func TestEpochFromBeforeARemoval(t *testing.T) {
	w, ada, _ := pair(t)
	cyd := newPerson(t, "Cyd")
	admit := ada.gov.propose(governance.KindAdmit, &governance.Admit{Role: governance.Editor, Identity: cyd.id.Raw, Device: cyd.dev.Raw})
	ben := newForger(w.gov(newPerson(t, "Ben")), 0)
	ben.g.learn(admit)
	_, old := ben.present()
	intro, before := ben.introduce(), ben.update("before")
	revoke := ada.gov.remove(cyd)
	ben.g.learn(revoke)
	ben.epoch = &old
	refused(t, ada, ErrEpoch, intro, before, ben.update("after"))
}

func TestUnknownHeadsWait(t *testing.T) {
	w, ada, ben := pair(t)
	cyd := newPerson(t, "Cyd")
	admit := ada.gov.propose(governance.KindAdmit, &governance.Admit{Role: governance.Editor, Identity: cyd.id.Raw, Device: cyd.dev.Raw})
	f := newForger(w.gov(cyd), 0)
	f.g.learn(admit)
	intro, first := f.introduce(), f.update("hello")
	fromAda := ada.write("script", " Ada") // names the new event too, but Ada is known
	for _, e := range append([]*envelope.Envelope{first, intro}, fromAda...) {
		if v, err := ben.Accept(t.Context(), e, ada.person.dev.ID); v != Waiting || !errors.Is(err, ErrUnverifiable) {
			t.Fatalf("before the event: %v %v", v, err)
		}
	}
	if len(ben.gaps) == 0 || len(ben.Frontier()) != 0 {
		t.Fatalf("gaps %v, frontier %v", ben.gaps, ben.Frontier())
	}
	ben.gov.learn(admit)
	if got := ben.text("script"); got != "hello Ada" && got != " Adahello" {
		t.Fatalf("after the event: %q", got)
	}
}

func TestWaitingIsBounded(t *testing.T) {
	w, ada, ben := pair(t)
	f := newForger(w.gov(ben.person), 0)
	envs := []*envelope.Envelope{f.introduce()}
	for i := range MaxWaiting + 10 {
		envs = append(envs, f.update(fmt.Sprint(i)))
	}
	for _, e := range envs[1:] {
		if v, _ := ada.Accept(t.Context(), e, ben.person.dev.ID); v != Waiting {
			t.Fatalf("%d: %v", e.Seq, v)
		}
	}
	if got := ada.waiting.count; got != MaxWaiting {
		t.Fatalf("%d wait", got)
	}
	if v, err := ada.Accept(t.Context(), envs[0], ben.person.dev.ID); v != Accepted {
		t.Fatal(v, err)
	}
	if got := ada.Frontier()[0].Seq; got != MaxWaiting+1 || ada.waiting.count != 0 {
		t.Fatalf("head %d, %d wait", got, ada.waiting.count)
	}
	last := envs[len(envs)-1]
	_, _ = ada.Accept(t.Context(), last, ben.person.dev.ID)
	ada.pass(MaxWait - time.Second)
	_, _ = ada.Accept(t.Context(), envs[0], ben.person.dev.ID)
	if ada.waiting.count != 1 {
		t.Fatal("forgotten too early")
	}
	ada.pass(time.Second)
	_, _ = ada.Accept(t.Context(), envs[0], ben.person.dev.ID)
	if ada.waiting.count != 0 {
		t.Fatal("kept too long")
	}
}

// TestForgedWaiting makes sure that nobody uses up the room of another with envelopes in his name.
func TestForgedWaiting(t *testing.T) {
	w, ada, ben := pair(t)
	f := newForger(w.gov(ben.person), 0)
	f.introduce()
	e := f.update("x")
	e.Sig = bytes.Clone(e.Sig)
	e.Sig[40] ^= 1
	if v, err := ada.Accept(t.Context(), e, ben.person.dev.ID); v != Refused || ada.waiting.count != 0 {
		t.Fatal(v, err)
	}
}
