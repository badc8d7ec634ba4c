package genesis

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
)

// FindRoots reads the root records that custodians carry beside their shares, for a machine that has nothing else, and
// walks their chains. It returns the versions in force of every project, oldest first: use the newest whose shares come
// together, as a ceremony may have been interrupted. A custodian that carries none is passed over; errors of the others
// are joined and returned with the roots that were found.
//
// A record proves which project it founds, not that this is the project you mean: compare its id or the founder's
// fingerprint with what you know from elsewhere.
func FindRoots(ctx context.Context, from []Custodian) ([]*Root, error) {
	found, errs := collect(ctx, from)
	slices.SortStableFunc(found, func(a, b carried) int { return cmp.Compare(a.n, b.n) })
	var chains []*Chain
	for _, c := range found {
		var err error
		if c.n == 1 {
			chains, err = startChain(chains, c.raw)
		} else {
			err = continueChain(chains, c)
		}
		if err != nil {
			errs = append(errs, &ShareError{Custodian: c.custodian, Err: err})
		}
	}
	var roots []*Root
	for _, c := range chains {
		view := c.View()
		roots = append(roots, view.Versions...)
	}
	return roots, errors.Join(errs...)
}

// carried is a record that lies beside a share.
type carried struct {
	custodian string
	raw       []byte
	n         uint32
	prev      RootID
}

// collect reads what custodians carry; each record comes once.
func collect(ctx context.Context, from []Custodian) (found []carried, errs []error) {
	names := labels(from)
	for i, c := range from {
		rk, ok := c.(RecordKeeper)
		if !ok {
			continue
		}
		records, err := rk.Records(ctx)
		if err != nil && !errors.Is(err, ErrNoShare) {
			errs = append(errs, &ShareError{Custodian: names[i], Err: err})
		}
		for _, raw := range records {
			_, prev, n, err := peekRoot(raw)
			if err != nil {
				errs = append(errs, &ShareError{Custodian: names[i], Err: err})
				continue
			}
			if !slices.ContainsFunc(found, func(c carried) bool { return bytes.Equal(c.raw, raw) }) {
				found = append(found, carried{names[i], raw, n, prev})
			}
		}
	}
	return found, errs
}

func startChain(chains []*Chain, raw []byte) ([]*Chain, error) {
	root, err := ParseRoot(raw)
	if err != nil {
		return chains, err
	}
	if slices.ContainsFunc(chains, func(c *Chain) bool { return c.Get(root.ID) != nil }) {
		return chains, nil // signed once more
	}
	return append(chains, NewChain(root)), nil
}

func continueChain(chains []*Chain, c carried) error {
	for _, chain := range chains {
		if chain.Get(c.prev) != nil {
			_, err := chain.Add(c.raw)
			return err
		}
	}
	return ErrUnsupportedVersion
}
