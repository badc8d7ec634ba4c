package genesis

import (
	"fmt"

	"github.com/studio-whip/collab/internal/wire"
)

// Values of [Policy.History]: what a newcomer may read.
const (
	HistoryFull uint8 = 1 // everything from the project's start; the only value of version 1
)

// Policy is what the root record says about how the project is governed. It changes by root record only.
type Policy struct {
	Threshold     uint8    `cbor:"1,keyasint"`  // holders who must sign a root act: 1 of 1, else at least 2
	MinSuite      uint16   `cbor:"2,keyasint"`  // lowest cipher suite that is accepted
	ManagerQuorum uint8    `cbor:"3,keyasint"`  // managers who must sign what one alone may not do
	QuarantineNum uint8    `cbor:"4,keyasint"`  // share of the eligible members, numerator,
	QuarantineDen uint8    `cbor:"5,keyasint"`  // and denominator, that more than must vote for a quarantine
	QuarantineTTL uint32   `cbor:"6,keyasint"`  // longest quarantine in seconds, at most a day
	MinAge        uint32   `cbor:"7,keyasint"`  // settled checkpoints after which a newcomer may vote
	History       uint8    `cbor:"8,keyasint"`  // what newcomers may read
	MaxMembers    uint32   `cbor:"9,keyasint"`  // members that hosts admit, at most MaxMembers
	Features      []uint32 `cbor:"10,keyasint"` // features that version 1 does not know, ascending
}

// DefaultPolicy is the policy of a project with one root holder.
func DefaultPolicy() Policy {
	return Policy{
		Threshold: 1, MinSuite: wire.Suite1, ManagerQuorum: 2, QuarantineNum: 1, QuarantineDen: 2,
		QuarantineTTL: maxQuarantine, MinAge: 1, History: HistoryFull, MaxMembers: MaxMembers,
	}
}

// check verifies p for a root with this many holders.
func (p *Policy) check(holders int) error {
	t := int(p.Threshold)
	switch {
	case holders == 1 && t != 1:
		return fmt.Errorf("%w: threshold %d with one holder", ErrRoot, t)
	case holders > 1 && (t < 2 || t > holders):
		return fmt.Errorf("%w: threshold %d with %d holders", ErrRoot, t, holders)
	case p.ManagerQuorum == 0:
		return fmt.Errorf("%w: manager quorum is zero", ErrRoot)
	case p.QuarantineDen == 0 || p.QuarantineNum > p.QuarantineDen:
		return fmt.Errorf("%w: quarantine needs %d/%d of the votes", ErrRoot, p.QuarantineNum, p.QuarantineDen)
	case p.QuarantineTTL == 0 || p.QuarantineTTL > maxQuarantine:
		return fmt.Errorf("%w: quarantine of %d s, at most %d", ErrRoot, p.QuarantineTTL, maxQuarantine)
	case p.MaxMembers == 0 || p.MaxMembers > MaxMembers:
		return fmt.Errorf("%w: %d members, at most %d", ErrRoot, p.MaxMembers, MaxMembers)
	case len(p.Features) > MaxFeatures:
		return fmt.Errorf("%w: %d features, at most %d", wire.ErrTooLarge, len(p.Features), MaxFeatures)
	}
	for i, f := range p.Features {
		if i > 0 && f <= p.Features[i-1] {
			return fmt.Errorf("%w: features are not in ascending order", wire.ErrMalformed)
		}
	}
	if err := p.checkFloor(suiteFloor); err != nil {
		return err
	}
	return p.supported()
}

// suiteFloor is the weakest suite that this build takes part in, whatever a root says.
const suiteFloor = wire.Suite1

// checkFloor refuses a policy that lets suites in below floor. A policy may lower min_suite, but never below that.
func (p *Policy) checkFloor(floor uint16) error {
	if p.MinSuite < floor {
		return fmt.Errorf("%w: %w: suite %#04x, at least %#04x", ErrRoot, ErrDowngrade, p.MinSuite, floor)
	}
	return nil
}

// supported fails with [ErrUpgradeRequired] if p asks for what this build lacks.
func (p *Policy) supported() error {
	switch {
	case p.MinSuite > wire.Suite1:
		return fmt.Errorf("%w: suite %#04x", ErrUpgradeRequired, p.MinSuite)
	case p.History != HistoryFull:
		return fmt.Errorf("%w: history policy %d", ErrUpgradeRequired, p.History)
	case len(p.Features) > 0:
		return fmt.Errorf("%w: feature %d", ErrUpgradeRequired, p.Features[0])
	}
	return nil
}
