package journal

import (
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
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
