package genesis

import (
	"context"
	"fmt"
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

// RecordKeeper is a [Custodian] whose medium also carries the project's root records, so that a machine which has
// lost everything else can verify the shares again. [FindRoots] reads them.
type RecordKeeper interface {
	Custodian
	// KeepWithRecords is Keep that also stores the signed root records up to the current one.
	KeepWithRecords(ctx context.Context, ref ShareRef, share []byte, records [][]byte) error
	// Records returns every root record on the medium, as they were handed in. It may ask a person.
	Records(ctx context.Context) ([][]byte, error)
}

// Ceremony says who keeps the shares of a holder's root key and how many of them must agree.
type Ceremony struct {
	Threshold  int         // shares needed, at least 2
	Custodians []Custodian // one share each; at least Threshold, at most MaxShares
}

func (c Ceremony) check() error {
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
