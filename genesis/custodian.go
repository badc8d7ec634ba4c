package genesis

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/secmem"
)

// Custodian keeps shares, each under its reference. It is safe for concurrent use and never logs a share. Package
// custodian has the built-in ones; a host may write its own.
type Custodian interface {
	// Label says for people where the shares lie. It must not change.
	Label() string
	// Keep stores a copy of share and returns nil only when it is durable. share is wiped when Keep has returned.
	Keep(ctx context.Context, ref ShareRef, share []byte) error
	// Recall returns a copy of a share; the caller wipes it. It may ask a person, but not before it knows that there
	// is a share under ref: it fails with an error that wraps ErrNoShare if there is none.
	Recall(ctx context.Context, ref ShareRef) ([]byte, error)
	// Forget erases a share. Forgetting what is not there is no error.
	Forget(ctx context.Context, ref ShareRef) error
}

// Peeker is a [Custodian] that can tell without asking anybody whether it keeps a share. All built-in ones are.
type Peeker interface {
	Holds(ctx context.Context, ref ShareRef) (bool, error)
}

// holds reports whether something lies under ref. A custodian that is no Peeker may ask its person.
func holds(ctx context.Context, c Custodian, ref ShareRef) bool {
	if p, ok := c.(Peeker); ok {
		there, err := p.Holds(ctx, ref)
		return there && err == nil
	}
	raw, err := c.Recall(ctx, ref)
	secmem.Wipe(raw)
	return err == nil
}

// RecordKeeper is a [Custodian] whose medium also carries the project's root records, so that a machine which has
// lost everything else can verify the shares again. [FindRoots] reads them.
type RecordKeeper interface {
	Custodian
	// KeepWithRecords is Keep that also stores the signed root records up to the current one.
	KeepWithRecords(ctx context.Context, ref ShareRef, share []byte, records [][]byte) error
	// KeepRecords puts records in place of those beside a share. It may ask a person, but not soon after KeepWithRecords in
	// the same program. It fails with an error that wraps ErrNoShare if there is no such share.
	KeepRecords(ctx context.Context, ref ShareRef, records [][]byte) error
	// EndCeremony tells that a ceremony is over: what was remembered to spare the person is wiped.
	EndCeremony()
	// Records returns every root record on the medium, as they were handed in. It may ask a person.
	Records(ctx context.Context) ([][]byte, error)
}

// SpreadRecords puts root's record, and those before it (oldest first), beside root's shares at every custodian that
// carries records, so that a machine that has lost everything can walk the chain again. [Refresh] and [Rekey] do it; call
// it after any other change of the root. A custodian without a share of root is passed over.
func SpreadRecords(ctx context.Context, root *Root, before [][]byte, to []Custodian) error {
	records := append(slices.Clone(before), root.Raw)
	names := labels(to)
	for i, c := range to {
		rk, ok := c.(RecordKeeper)
		if !ok {
			continue
		}
		if err := spread(ctx, root, records, rk); err != nil {
			return &ShareError{Custodian: names[i], Err: fmt.Errorf("keep the new root record: %w", err)}
		}
	}
	return nil
}

func spread(ctx context.Context, root *Root, records [][]byte, to RecordKeeper) error {
	for _, set := range root.ShareSets {
		for x := byte(1); x <= set.M; x++ {
			err := to.KeepRecords(ctx, ShareRef{Project: root.Project, Ceremony: set.Ceremony, X: x}, records)
			if err != nil && !errors.Is(err, ErrNoShare) {
				return err
			}
		}
	}
	return nil
}

// endCeremony tells custodians that carry records that the ceremony is over.
func endCeremony(custodians []Custodian) {
	for _, c := range custodians {
		if rk, ok := c.(RecordKeeper); ok {
			rk.EndCeremony()
		}
	}
}

// Ceremony says who keeps the shares of a holder's root key and how many of them must agree.
type Ceremony struct {
	Threshold  int         // shares needed, at least 2
	Custodians []Custodian // one share each; at least Threshold, at most MaxShares

	// Holders, if there are any, make it the ceremony of a team: each of them keeps a key of their own, by a ceremony of
	// their own, Threshold of them must sign, and there are no Custodians. A root is moved to a team; nothing is founded so.
	Holders []identity.MemberID
}

func (c Ceremony) check() error {
	if len(c.Holders) > 0 {
		return fmt.Errorf("%w: it is a team's; each holder keeps a key by a ceremony of their own", ErrCeremony)
	}
	m := len(c.Custodians)
	if m > MaxShares {
		return fmt.Errorf("%w: %d custodians, at most %d are allowed", ErrCeremony, m, MaxShares)
	}
	if c.Threshold < MinThreshold || c.Threshold > m {
		return fmt.Errorf("%w: %d of %d shares; at least %d must agree, and no more than there are",
			ErrCeremony, c.Threshold, m, MinThreshold)
	}
	for i, cu := range c.Custodians {
		if cu == nil {
			return fmt.Errorf("%w: custodian %d is missing", ErrCeremony, i+1)
		}
	}
	return nil
}

// labels returns the custodians' labels; a label that repeats gets a number behind it.
func labels(custodians []Custodian) []string {
	out := make([]string, len(custodians))
	used := map[string]bool{}
	for i, c := range custodians {
		label := "missing"
		if c != nil {
			label = c.Label()
		}
		out[i] = label
		for n := 2; used[out[i]]; n++ {
			out[i] = fmt.Sprintf("%s (%d)", label, n)
		}
		used[out[i]] = true
	}
	return out
}
