package journal

import (
	"errors"
	"testing"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/sync/envelope"
)

// cutOf names a place of the chain that envelopes are of.
func cutOf(e *envelope.Envelope) governance.Cut {
	return governance.Cut{Device: e.Device, ChainNo: e.ChainNo, Seq: e.Seq, Envelope: e.ID}
}

// TestCarryCuts: a self-revocation ends the chains of its identity where its carriers say: of two carriers who had read
// different parts of a chain, where the one who had read more says, whoever is heard first; a chain that neither lists
// counts for nothing.
func TestCarryCuts(t *testing.T) {
	w := newTeam(t)
	w.begin()
	ben, benKit := newPersonWithKit(t, "Ben")
	cyd := newPerson(t, "Cyd")
	w.admit(governance.Editor, ben, cyd)
	writer := newForger(w.gov(ben), 0)
	envs := []*envelope.Envelope{writer.introduce(), writer.update("1"), writer.update("2"), writer.update("3"), writer.update("4")}
	opening := writer.g.propose(governance.KindChainOpen, &governance.ChainOpen{ChainNo: 1})
	other := newForger(writer.g, 1)
	unlisted := []*envelope.Envelope{other.introduce(), other.update("unlisted")}

	carry := func(by *person, cuts ...governance.Cut) []byte { // each without knowing of the other
		g := w.gov(by)
		g.learn(opening)
		return g.propose(governance.KindCarry, &governance.Carry{SelfRevoke: benKit.record, Cuts: cuts})
	}
	less, more := carry(w.ada, cutOf(envs[2])), carry(cyd, cutOf(envs[3]))
	for name, c := range map[string]struct {
		carries [][]byte
		want    string
	}{
		"one carrier":             {[][]byte{less}, "21"},
		"the other":               {[][]byte{more}, "321"},
		"both":                    {[][]byte{less, more}, "321"},
		"both, the further first": {[][]byte{more, less}, "321"},
	} {
		t.Run(name, func(t *testing.T) {
			early, late := w.open(w.ada), w.open(cyd)
			for _, n := range []*node{early, late} {
				n.gov.learn(opening)
			}
			early.take(early, envs...) // applied, and taken away by the cut
			early.take(early, unlisted...)
			for _, n := range []*node{early, late} {
				for _, raw := range c.carries {
					n.gov.learn(raw)
				}
			}
			for _, e := range append(envs[:len(envs):len(envs)], unlisted...) { // brought after the cut
				_, _ = late.Accept(t.Context(), e, e.Device)
			}
			for _, n := range []*node{early, late} {
				n.settle()
				if got := n.text("script"); got != c.want {
					t.Errorf("%s sees %q, want %q", n.person.name, got, c.want)
				}
			}
			agree(t, []*node{early, late}, "script")
			again := restart(w, early)
			again.settle()
			agree(t, []*node{again, late}, "script")
		})
	}
}

// TestVoidedAdmission: what somebody wrote whose admission turns out not to count is not shown, also where its author
// had not heard of what voided it. He is no member, so that no act could ever end his chain: all that he signs on the
// heads that he knew would count for ever. What was settled together with the admission stays, as the admission does.
func TestVoidedAdmission(t *testing.T) {
	w := newTeam(t)
	w.begin()
	eve, mal := newPerson(t, "Eve"), newPerson(t, "Mal")
	w.admit(governance.Manager, eve)
	admit := w.gov(eve).propose(governance.KindAdmit, &governance.Admit{Role: governance.Editor, Identity: mal.id.Raw, Device: mal.dev.Raw})
	voids := w.gov(eve).propose(governance.KindChainOpen, &governance.ChainOpen{ChainNo: 1}) // of the same number
	writer := newForger(w.gov(mal), 0)
	writer.g.learn(admit)
	envs := []*envelope.Envelope{writer.introduce(), writer.update("2"), writer.update("1")}

	loose, settled := w.open(w.ada), w.open(w.ada)
	for _, n := range []*node{loose, settled} {
		n.gov.learn(admit)
		n.take(n, envs...)
		n.settle()
		if got := n.text("script"); got != "12" {
			t.Fatalf("admitted, he is shown as %q", got)
		}
	}
	settled.gov.learn(checkpoint(t, settled.gov, eve, cutOf(envs[1])))
	for n, want := range map[*node]string{loose: "", settled: "12"} {
		n.gov.learn(voids)
		n.settle()
		if got := n.text("script"); got != want {
			t.Errorf("%q is shown, want %q", got, want)
		}
		if got := restart(w, n).text("script"); got != want {
			t.Errorf("after a restart %q is shown, want %q", got, want)
		}
	}
	for _, e := range []*envelope.Envelope{writer.update("0"), envs[0]} { // he goes on, and what he wrote is brought again
		late := w.open(w.ada)
		late.gov.learn(admit)
		late.gov.learn(voids)
		if v, err := late.Accept(t.Context(), e, e.Device); v == Accepted {
			t.Errorf("place %d of no chain: %v %v", e.Seq, v, err)
		}
	}
	// Nothing but the rule that nothing counts could stop him: there is nobody to be removed.
	g := w.gov(w.ada)
	g.learn(admit)
	g.learn(voids)
	var denied *governance.DeniedError
	_, _, err := g.log.Propose(w.ada.author(), governance.KindRevoke, &governance.Revoke{Member: mal.id.Member(), Cuts: []governance.Cut{cutOf(envs[1])}})
	if !errors.As(err, &denied) {
		t.Errorf("somebody who is no member was removed: %v", err)
	}
}

// checkpoint makes one of all that Ada holds, signed by her and another manager.
func checkpoint(t *testing.T, g *gov, with *person, content ...governance.Cut) []byte {
	t.Helper()
	b := &governance.Checkpoint{Number: 1, State: g.log.State().Digest(), Content: content, Time: uint64(testTime.Unix())}
	raw, _, err := g.log.Propose(g.person.author(), governance.KindCheckpoint, b, governance.WithCosigners(with.author()))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
