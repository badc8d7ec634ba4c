package membership

import (
	"context"
	"errors"
	"time"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
)

// Fork is a place in a chain of which a device has written two envelopes, and what proves it.
type Fork struct {
	Device  identity.DeviceID
	ChainNo uint32
	Seq     uint64
	Proof   *governance.EquivocationProof
}

// forkPlace is what others may prove meanwhile.
type forkPlace struct {
	device identity.DeviceID
	chain  uint32
	seq    uint64
}

// ProveFork publishes the proof that a chain is forked, unless somebody else does: the further back this device stands in an
// order of all, the longer it waits. It goes on until the proof is there, the project is closed, or this device may not.
func (p *Project) ProveFork(f Fork) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := forkPlace{f.Device, f.ChainNo, f.Seq}
	if f.Proof == nil || p.proving[at] || p.proven(at) {
		return
	}
	p.proving[at] = p.tasks.Go("prove a fork", func(ctx context.Context) error {
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.proving, at)
		}()
		for wait := time.Duration(p.proverPlace(at)) * mintStep; pause(ctx, wait, nil); wait = proofRetry {
			if p.proofDone(at) {
				return nil
			}
			_, err := p.Propose(ctx, governance.KindEquivocationProof, *f.Proof)
			if denied := (*governance.DeniedError)(nil); err == nil || errors.As(err, &denied) || errors.Is(err, ErrClosed) {
				return nil
			}
			p.log.Debug("membership: the proof of a fork waits", "err", err)
		}
		return nil
	})
}

// proven reports whether it is known that a chain is forked there, or before.
func (p *Project) proven(at forkPlace) bool {
	c, ok := p.State().Chain(at.device, at.chain)
	return !ok || c.Forked > 0 && c.Forked <= at.seq
}

// proofDone reports whether there is nothing left to publish, or nobody here who may.
func (p *Project) proofDone(at forkPlace) bool { return p.proven(at) || p.Removed() }

// proverPlace is this device's place among those that may publish the proof.
func (p *Project) proverPlace(at forkPlace) (place int) {
	rank := func(d identity.DeviceID) [32]byte {
		return derive.ListID("fork-prover", at.device, at.chain, at.seq, d)
	}
	own := rank(p.self.Device.ID)
	for _, d := range p.State().Devices() {
		if r := rank(d.ID); string(r[:]) < string(own[:]) {
			place++
		}
	}
	return place
}
