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

// forkedChain is what others may prove meanwhile to be forked.
type forkedChain struct {
	device identity.DeviceID
	chain  uint32
}

// ProveFork publishes the proof that a chain is forked, unless somebody else does: the further back this device stands in an
// order of all, the longer it waits. It goes on until the proof is there, the project is closed, or this device may not. The first
// proof ends the chain for everybody; that it parts further down is said later and later, and of several such places only
// the lowest is: else its writer could make others publish as many proofs as he has envelopes.
func (p *Project) ProveFork(f Fork) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.Proof == nil || p.proven(f) {
		return
	}
	at := forkedChain{f.Device, f.ChainNo}
	if x, waits := p.proving[at]; waits && x.Seq <= f.Seq {
		return
	} else if p.proving[at] = f; waits {
		return
	}
	wait := p.proofWait(f)
	started := p.tasks.Go("prove a fork", func(ctx context.Context) error {
		for done := false; !done && pause(ctx, wait, nil); {
			wait, done = p.proveNext(ctx, at)
		}
		return nil
	})
	if !started {
		delete(p.proving, at)
	}
}

// proveNext publishes the proof of the lowest known place. It reports whether there is nothing left to do, else when to go on.
func (p *Project) proveNext(ctx context.Context, at forkedChain) (wait time.Duration, done bool) {
	p.mu.Lock()
	f := p.proving[at]
	p.mu.Unlock()
	if !p.proofDone(f) {
		_, err := p.Propose(ctx, governance.KindEquivocationProof, *f.Proof)
		if denied := (*governance.DeniedError)(nil); err != nil && !errors.As(err, &denied) && !errors.Is(err, ErrClosed) {
			p.log.Debug("membership: the proof of a fork waits", "err", err)
			return proofRetry, false
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proofs[at]++
	if next := p.proving[at]; next.Seq < f.Seq { // it has come meanwhile
		return p.proofWait(next), false
	}
	delete(p.proving, at)
	return 0, true
}

// proofWait is for how long this device waits before it publishes a proof.
func (p *Project) proofWait(f Fork) time.Duration {
	before := p.proofs[forkedChain{f.Device, f.ChainNo}]
	if c, ok := p.State().Chain(f.Device, f.ChainNo); ok && c.Forked > 0 {
		before = max(before, 1)
	}
	wait := time.Duration(p.proverPlace(f)) * mintStep
	if before > 0 {
		wait += proofPause << min(before-1, maxProofPauses)
	}
	return wait
}

// proven reports whether it is known that a chain is forked there, or before.
func (p *Project) proven(at Fork) bool {
	c, ok := p.State().Chain(at.Device, at.ChainNo)
	return !ok || c.Forked > 0 && c.Forked <= at.Seq
}

// proofDone reports whether there is nothing left to publish, or nobody here who may.
func (p *Project) proofDone(at Fork) bool { return p.proven(at) || p.Removed() }

// proverPlace is this device's place among those that may publish the proof.
func (p *Project) proverPlace(at Fork) (place int) {
	rank := func(d identity.DeviceID) [32]byte {
		return derive.ListID("fork-prover", at.Device, at.ChainNo, at.Seq, d)
	}
	own := rank(p.self.Device.ID)
	for _, d := range p.State().Devices() {
		if r := rank(d.ID); string(r[:]) < string(own[:]) {
			place++
		}
	}
	return place
}
