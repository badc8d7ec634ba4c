package governance

import (
	"fmt"

	"github.com/studio-whip/collab/identity"
)

// Coverage says who knows of an event: members whose events rest on it, and those of whom seen tells heads that do,
// say from what they write. Everybody else may still be talking to somebody whom the event removed.
func (l *Log) Coverage(id EventID, seen map[identity.MemberID][]EventID) (knows, unknown []identity.MemberID, err error) {
	i, ok := l.h.byID[id]
	if !ok {
		return nil, nil, fmt.Errorf("governance: coverage: %w: %s", ErrUnknownEvent, id.Short())
	}
	told := map[identity.MemberID]bool{l.h.entries[i].author: true}
	for _, s := range l.h.entries[i].signers {
		told[s.member] = true
	}
	for _, e := range l.h.entries[i+1:] {
		if e.past.has(i) {
			told[e.author] = true
		}
	}
	for _, m := range l.State().Members() {
		if !m.Present {
			continue
		}
		known := told[m.ID]
		for _, head := range seen[m.ID] {
			if k, ok := l.h.byID[head]; ok && (k == i || l.h.entries[k].past.has(i)) {
				known = true
			}
		}
		if known {
			knows = append(knows, m.ID)
		} else {
			unknown = append(unknown, m.ID)
		}
	}
	return knows, unknown, nil
}
