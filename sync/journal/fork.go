package journal

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/sync/envelope"
)

// Fork is a chain that its device has gone on writing in two ways, as far as this device has seen both. It ends before Seq,
// but for what was settled, until governance knows of it and a manager has picked a branch.
type Fork struct {
	Device   identity.DeviceID
	ChainNo  uint32
	Seq      uint64 // the first place with two envelopes
	Branches []Branch
	// Proof shows the fork to everybody; nil if the branches are too long before a signature for one event.
	Proof *governance.EquivocationProof
}

// Branch is one of the ways in which a forked chain goes on.
type Branch struct {
	Last   governance.Cut // the furthest envelope of it that is here and lawful: what a FrontierExtend names to pick it
	Counts bool           // all up to Last counts now
}

// Forks lists the forked chains of which this device has seen two branches, in a fixed order.
func (j *Journal) Forks() ([]Fork, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []Fork
	for _, c := range j.sortedChains() {
		at := j.forks[c.key]
		if at == 0 {
			continue
		}
		x, err := j.forkOf(c, at)
		if err != nil {
			return nil, fmt.Errorf("journal: forks: %w", err)
		}
		out = append(out, x)
	}
	return out, nil
}

func (j *Journal) forkOf(c *chain, at uint64) (Fork, error) {
	x := Fork{Device: c.key.device, ChainNo: c.key.no, Seq: at}
	f, err := j.fork(c.key)
	if err != nil {
		return x, err
	}
	var halves [][]*envelope.Envelope
	for _, raw := range [][]byte{f.A, f.B} {
		run, err := envelope.DecodeRun(raw)
		if err != nil {
			return x, err
		}
		halves = append(halves, run.Envelopes)
		if last, ok := j.furthest(c, run.Envelopes); ok {
			counts := last.Seq <= c.counted() && j.has(c, c.branch, last.Seq, last.Envelope)
			x.Branches = append(x.Branches, Branch{Last: last, Counts: counts})
		}
	}
	x.Proof = proofOf(halves[0], halves[1])
	return x, nil
}

// furthest returns the last lawful envelope that is here of the branch that begins with some; ok is false if none is.
func (j *Journal) furthest(c *chain, envs []*envelope.Envelope) (last governance.Cut, ok bool) {
	cut := governance.Cut{Device: c.key.device, ChainNo: c.key.no}
	first := envs[0]
	for _, b := range append([]*branch{c.branch}, c.branches...) {
		if b.head > cut.Seq && j.has(c, b, first.Seq, first.ID) {
			cut.Seq, cut.Envelope = b.head, b.headID
		}
	}
	if cut.Seq > 0 {
		return cut, true
	}
	var before []governance.EventID
	if first.Seq > 1 {
		e, err := j.envelopeOn(c, c.branch, first.Seq-1)
		if err != nil {
			return cut, false
		}
		before = e.GovHeads
	}
	j.view(func(r reading) {
		for _, e := range envs {
			if r.judge(c, e, before) != nil {
				return
			}
			cut.Seq, cut.Envelope, before, ok = e.Seq, e.ID, e.GovHeads, true
		}
	})
	return cut, ok
}

// maxProof bounds both halves of a proof together, so that it fits an event.
const maxProof = governance.MaxEventCore - 4<<10

// proofOf makes the proof that a device has written two envelopes of one place, of the runs that begin there.
func proofOf(a, b []*envelope.Envelope) *governance.EquivocationProof {
	if bytes.Compare(a[0].Statement(), b[0].Statement()) > 0 {
		a, b = b, a
	}
	p := &governance.EquivocationProof{A: half(a), B: half(b)}
	if len(p.A)+len(p.B) > maxProof {
		return nil
	}
	return p
}

func half(run []*envelope.Envelope) []byte {
	last := run[len(run)-1]
	var before [][]byte
	for _, e := range slices.Backward(run[:len(run)-1]) {
		before = append(before, e.Statement())
	}
	return governance.NewProofHalf(last.Statement(), last.Sig, before...)
}
