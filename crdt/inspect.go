package crdt

import (
	"cmp"
	"slices"
)

// Range is the clocks [From, To) of one client.
type Range struct{ Client, From, To uint64 }

// Inspect lists which clocks an update, in format V1 unless another one is given, would create and delete, ordered by
// client and clock, without a document. It returns a *DecodeError for malformed input, under the default limits.
func Inspect(b []byte, f ...Format) (created, deleted []Range, err error) {
	u := decoders.Get().(*update)
	defer u.release()
	if err := u.decode(b, oneFormat(f), Limits{}.withDefaults()); err != nil {
		return nil, nil, err
	}
	for _, w := range u.structs {
		created = append(created, Range{u.ids[w.client], uint64(w.clock), uint64(w.end())})
	}
	for _, d := range u.deletes {
		deleted = append(deleted, Range{u.ids[d.client], d.from, d.to})
	}
	return mergeRanges(created), mergeRanges(deleted), nil
}

// mergeRanges sorts ranges by client and clock and joins those that touch or overlap, in place.
func mergeRanges(rs []Range) []Range {
	slices.SortFunc(rs, func(a, b Range) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.From, b.From))
	})
	out := rs[:0]
	for _, r := range rs {
		if n := len(out); n > 0 && out[n-1].Client == r.Client && out[n-1].To >= r.From {
			out[n-1].To = max(out[n-1].To, r.To)
			continue
		}
		out = append(out, r)
	}
	return out
}
