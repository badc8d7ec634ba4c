package collab

import (
	"context"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/sync/membership"
)

// Fork is a chain of somebody's edits that one device has gone on writing in two ways: a stolen key, a store that was copied,
// or a machine that was set back. Nobody can tell from outside which of the two its owner wrote. What came before counts, and
// what was settled; the rest counts for nobody until a manager picks a branch. The device goes on with a new chain.
type Fork struct {
	Who      MemberID
	Device   DeviceID
	Chain    uint32
	Seq      uint64 // number of the first envelope that there is twice
	Proven   bool   // every member is told: only then can a branch be picked
	Branches []Branch
}

// Branch is one of the ways in which a forked chain goes on, as far as this device knows it.
type Branch struct {
	Edits  uint64 // how many envelopes it has beyond the common part
	Counts bool   // it was picked, or settled, and its edits are shown

	cut governance.Cut
}

// Forks lists the forked chains of which this device has seen both branches; [AlertEquivocation] tells of each. The proof of
// a fork is published by whichever member's device comes first.
func (s *Session) Forks() []Fork {
	if !s.started.Load() {
		return nil
	}
	found, err := s.journal.Forks()
	if err != nil {
		s.log.Warn("collab: forks cannot be read", "err", err)
		return nil
	}
	var out []Fork
	state := s.membership.State()
	for _, x := range found {
		f := Fork{Device: x.Device, Chain: x.ChainNo, Seq: x.Seq}
		if d, ok := state.Device(x.Device); ok {
			f.Who = d.Member
		}
		if c, ok := state.Chain(x.Device, x.ChainNo); ok {
			f.Proven = c.Forked > 0 && c.Forked <= x.Seq
		}
		for _, b := range x.Branches {
			f.Branches = append(f.Branches, Branch{Edits: b.Last.Seq - x.Seq + 1, Counts: b.Counts, cut: b.Last})
		}
		out = append(out, f)
	}
	return out
}

// PickBranch lets a branch of [Session.Forks] count, as far as this device knows it, for everybody; of several picks the last
// holds, so that another branch can be picked later. Edits that were settled stay whatever is picked. It is for managers, and
// fails with [ErrDenied] for others and while the fork is not proven yet; see [Fork].
func (s *Session) PickBranch(ctx context.Context, b Branch) error {
	if err := s.alive(); err != nil {
		return err
	}
	proven := slices.ContainsFunc(s.Forks(), func(f Fork) bool {
		return f.Proven && f.Device == b.cut.Device && f.Chain == b.cut.ChainNo
	})
	if !proven {
		return fmt.Errorf("%w: pick a branch: no proof that this chain is forked is known to all yet; it is published by itself", ErrDenied)
	}
	_, err := s.membership.Propose(ctx, governance.KindFrontierExtend, governance.FrontierExtend{Cuts: []governance.Cut{b.cut}})
	return s.denied("pick a branch", err)
}

// proveForks publishes what proves the forks that this device has seen.
func (s *Session) proveForks() {
	found, err := s.journal.Forks()
	if err != nil {
		s.log.Warn("collab: forks cannot be read", "err", err)
	}
	for _, f := range found {
		if f.Proof == nil {
			s.log.Warn("collab: a fork cannot be shown to all in one event", "device", f.Device.Short(), "chain", f.ChainNo)
		}
		s.membership.ProveFork(membership.Fork{Device: f.Device, ChainNo: f.ChainNo, Seq: f.Seq, Proof: f.Proof})
	}
}
