package governance

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Unsettled is what no settled checkpoint has settled yet, checkpoints themselves left out.
type Unsettled struct {
	Events int
	Oldest uint64 // least clock that an author noted, in Unix seconds; 0 if nobody did
	Urgent bool   // a manager's standing was taken, which a rival checkpoint of his could undo as long as it is not settled
}

// Unsettled returns what has happened since the last settled checkpoint, and beside it.
func (l *Log) Unsettled() Unsettled {
	now := l.h.verdictNow(l.h.maximal(l.heads))
	var settled bitset
	if now.base != none {
		settled = l.h.entries[now.base].past
	}
	var u Unsettled
	for i := 1; i < len(l.h.entries); i++ {
		e := l.h.entries[i]
		if settled.has(i) || e.kind == KindCheckpoint {
			continue
		}
		u.Events++
		if hint := e.event.THint; hint != nil && (u.Oldest == 0 || *hint < u.Oldest) {
			u.Oldest = *hint
		}
		u.Urgent = u.Urgent || !now.void.has(i) && l.h.endsManager(e)
	}
	return u
}

// endsManager reports whether an event takes the standing of somebody who was a manager before it.
func (h *history) endsManager(e *entry) bool {
	switch e.kind {
	case KindRevoke, KindRoleDrop, KindDeviceRemove, KindLeave, KindCarry:
		return h.pastOf(e).role(e.subject) == Manager
	}
	return false
}

// NextCheckpoint returns the checkpoint that a device could make now, on the current heads: it settles all that they hold.
// Of content, the chains that are held and count, it takes over those whose settled part grows, at most [MaxCuts], those
// that grow most first. unix is the author's clock; the checkpoint's time never lies before that of an earlier one. It fails as
// [Log.Propose] does if the device is unknown.
func (l *Log) NextCheckpoint(by identity.DeviceID, content []Cut, unix uint64) (*Checkpoint, error) {
	e, err := l.drafted(by, KindCheckpoint, &Checkpoint{Number: 1}, &proposal{})
	if err != nil {
		return nil, fmt.Errorf("governance: checkpoint: %w", err)
	}
	l.h.judgeInPast(e)
	v := l.h.pastOf(e)
	b := &Checkpoint{Number: l.h.numberAt(v.base), Time: max(unix, l.h.timeAt(v.base))}
	for _, i := range l.h.tips(v) {
		b.Prev = append(b.Prev, l.h.entries[i].id)
		b.Number, b.Time = max(b.Number, l.h.numberAt(i)), max(b.Time, l.h.timeAt(i))
	}
	wire.SortIDs(b.Prev)
	b.Number++
	s := l.h.settledBy(e)
	b.State, b.Content = s.Digest(), l.h.growing(e, v, s, content)
	return b, nil
}

// tips returns the checkpoints that count in v and that no other which does rests on: at most [MaxPrev], those of the
// greatest numbers first.
func (h *history) tips(v view) []int {
	var counting []int
	for _, i := range h.checkpoints {
		if v.in.has(i) && v.counts(i) {
			counting = append(counting, i)
		}
	}
	out := h.maximal(counting)
	slices.SortStableFunc(out, func(a, b int) int { return int(h.numberAt(b)) - int(h.numberAt(a)) })
	return out[:min(len(out), MaxPrev)]
}

// settledBy returns the state that a checkpoint in e's place settles.
func (h *history) settledBy(e *entry) *State {
	root := h.rootID(e.parents)
	if e.rootN > 0 && h.inForce(e) {
		root = e.root
	}
	return h.stateBy(h.maximal(e.parents), e.before, root)
}

// growing returns those of some chains of which a checkpoint in e's place would settle more than is settled, as far as they count.
func (h *history) growing(e *entry, v view, s *State, content []Cut) []Cut {
	bases := v.bases()
	grows := map[chainKey]uint64{}
	var out []Cut
	for _, c := range content {
		key := chainKey{c.Device, c.ChainNo}
		chain, ok := s.Chain(c.Device, c.ChainNo)
		cut, ends := s.Cut(c.Device, c.ChainNo)
		floor := v.floor(key, e.idx, bases)
		if !ok || !chain.Owned || ends && cut.Seq < c.Seq || c.Seq <= floor.Seq {
			continue
		}
		grows[key] = c.Seq - floor.Seq
		out = append(out, c)
	}
	if len(out) > MaxCuts {
		slices.SortStableFunc(out, func(a, b Cut) int {
			return cmp.Compare(grows[chainKey{b.Device, b.ChainNo}], grows[chainKey{a.Device, a.ChainNo}])
		})
		out = out[:MaxCuts]
	}
	slices.SortFunc(out, compareCuts)
	return slices.CompactFunc(out, func(a, b Cut) bool { return compareCuts(a, b) == 0 })
}

// Endorsable returns the admissions, grants and invites that count for nothing because they came late, waited for a manager,
// or stood beside an equivocation, that were lawful where their authors made them, and that a device could bring back now, alone
// or with other managers: see [Endorse]. In the order in which they were taken.
func (l *Log) Endorsable(by identity.DeviceID) []EventID {
	now := l.h.verdictNow(l.h.maximal(l.heads))
	var out []EventID
	for i := 1; i < len(l.h.entries); i++ {
		e := l.h.entries[i]
		brought := func(x int) bool { return !now.void.has(x) }
		if !now.void.has(i) || !e.own.ok() || slices.ContainsFunc(l.h.endorsed[i], brought) {
			continue
		}
		if _, f := now.why(l.h, i); !f.reason.endorsable() {
			continue
		}
		x, err := l.drafted(by, KindEndorse, &Endorse{Events: []EventID{e.id}}, &proposal{})
		if err != nil {
			return nil
		}
		l.h.judgeInPast(x)
		if x.own.ok() || x.own.reason == ReasonQuorum && l.h.judgeEndorse(x, l.h.pastOf(x), true).ok() {
			out = append(out, e.id)
		}
	}
	return out
}
