package journal

import (
	"errors"
	"slices"
	"sort"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Seen returns, of each member who has written, the governance heads that the newest envelopes of their chains name: its author
// had everything up to those when he signed.
func (j *Journal) Seen() map[identity.MemberID][]governance.EventID {
	j.mu.Lock()
	defer j.mu.Unlock()
	seen := map[identity.MemberID][]governance.EventID{}
	j.view(func(r reading) {
		for _, c := range j.sortedChains() {
			if d, ok := r.now.Device(c.key.device); ok && c.head > 0 {
				seen[d.Member] = append(seen[d.Member], c.heads...)
			}
		}
	})
	return seen
}

// CutsWithout is Cuts for a member some of whose events are not vouched for: each chain ends before its first envelope whose
// author knew of one of those, and so wrote later.
func (j *Journal) CutsWithout(member identity.MemberID, events []governance.EventID) ([]governance.Cut, error) {
	cuts, err := j.Cuts(member)
	if err != nil || len(events) == 0 {
		return cuts, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, c := range cuts {
		var failed error
		key := chainKey{c.Device, c.ChainNo}
		n := sort.Search(int(c.Seq), func(k int) bool { // what an envelope knows, the later ones of its chain know
			e, err := j.envelopeAt(key, uint64(k+1))
			failed = errors.Join(failed, err)
			return err == nil && j.knowsAny(e.GovHeads, events)
		})
		if failed != nil {
			return nil, failed
		}
		if cuts[i].Seq = uint64(n); n == 0 {
			cuts[i].Envelope = wire.ID{}
			continue
		}
		if cuts[i].Envelope, err = j.idAt(j.chain(key), uint64(n)); err != nil {
			return nil, err
		}
	}
	return cuts, nil
}

// knowsAny reports whether one of some events lies in the closure of heads.
func (j *Journal) knowsAny(heads, events []governance.EventID) (knows bool) {
	j.view(func(r reading) {
		knows = slices.ContainsFunc(events, func(e governance.EventID) bool { return r.includes(heads, []governance.EventID{e}) })
	})
	return knows
}
