package journal

import (
	"errors"
	"slices"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
)

// ErrMute means that somebody cannot be muted: this device's own owner, or who never was a member.
var ErrMute = errors.New("journal: only other members can be muted")

// Mute shows no more of what a member writes from now on, or everything again. It is this device's own choice, which
// survives a restart: it changes nothing for others, who are told nothing, and nothing about what counts. What others
// write beside such edits releases them, as with a quarantine. It fails with [ErrMute] and [ErrClosed].
func (j *Journal) Mute(member identity.MemberID, on bool) error {
	j.mu.Lock()
	defer j.unlock()
	if j.closed {
		return ErrClosed
	}
	if _, muted := j.holds.mutes[member]; muted == on {
		return nil
	}
	if !on {
		delete(j.holds.mutes, member)
		j.write(func(tx *store.Tx) error { return tx.Map(mutesMap).Delete(member[:]) })
		j.reviewHolds()
		return nil
	}
	rec := &muteRecord{}
	allowed := false
	j.view(func(r reading) {
		_, known := r.now.Member(member)
		allowed = known && member != r.memberOf(j.self.Device)
		rec.Points = j.pointsNow(r, member)
	})
	if !allowed {
		return ErrMute
	}
	stored := *rec
	j.holds.mutes[member] = rec
	j.write(func(tx *store.Tx) error { return put(tx, mutesMap, member[:], stored) })
	j.reviewHolds()
	return nil
}

// Muted lists whom the owner of this device has muted, ascending.
func (j *Journal) Muted() []identity.MemberID {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]identity.MemberID, 0, len(j.holds.mutes))
	for m := range j.holds.mutes {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b identity.MemberID) int { return slices.Compare(a[:], b[:]) })
	return out
}
