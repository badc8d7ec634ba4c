package governance

import (
	"cmp"
	"slices"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// An event has room for [MaxParents] parents. Devices that keep the rules make one head each at most, so that all fit in a
// project of so many; whoever signs many events of one number makes as many heads as he likes. What is then named first is what is
// *sound*: it counts, and its author's device has not lost its say. Of that, each device's last event stands for all of it.

// parentsFor returns the parents of a device's next event: all heads, or if there are more than fit, what is sound first.
func (l *Log) parentsFor(d identity.DeviceID) []int {
	heads := l.h.maximal(l.heads)
	if len(heads) <= MaxParents {
		return heads
	}
	out := l.soundTips(d)
	covered := l.h.closure(out)
	now := l.h.verdictNow(heads)
	rest := slices.DeleteFunc(slices.Clone(heads), covered.has)
	slices.SortFunc(rest, func(a, b int) int { // what counts, but is of a device without a say, before what does not
		if x, y := now.void.has(a), now.void.has(b); x != y {
			return map[bool]int{true: 1, false: -1}[x]
		}
		return l.h.older(a, b)
	})
	out = append(out, rest...)
	fit := l.h.maximal(out[:MaxParents])
	for n := MaxParents + 1; n <= len(out) && len(fit) < MaxParents; n++ { // what is named may rest on what is
		fit = l.h.maximal(out[:n])
	}
	return fit
}

// soundTips returns what is sound and that nothing sound rests on, older ones first; before all what holds the last event of
// a device.
func (l *Log) soundTips(d identity.DeviceID) []int {
	h, heads := l.h, l.h.maximal(l.heads)
	in, now := h.closure(heads), h.verdictNow(heads)
	v := view{h, in, now.void, now.base}
	var sound []int
	covered := bitset{}
	for i := len(h.entries) - 1; i >= 0; i-- { // an event stands after all of its past
		if covered.has(i) || i != 0 && !v.sound(i) {
			continue
		}
		sound = append(sound, i)
		covered.addAll(h.entries[i].past)
	}
	slices.SortFunc(sound, h.older)
	last := l.lastEvent(d, in)
	if last == none {
		return sound
	}
	k := slices.IndexFunc(sound, func(i int) bool { return i == last || h.entries[i].past.has(last) })
	if k < 0 {
		return slices.Insert(sound, 0, last)
	}
	own := sound[k]
	return slices.Insert(slices.Delete(sound, k, k+1), 0, own)
}

// sound reports whether an event counts and its author's device has its say.
func (v view) sound(i int) bool {
	return v.counts(i) && (v.h.entries[i].rootAct || !v.suspended(v.h.entries[i].device))
}

// older orders events alike at every replica, each after its past.
func (h *history) older(a, b int) int {
	x, y := h.entries[a], h.entries[b]
	return cmp.Or(cmp.Compare(x.depth, y.depth), wire.ID(x.id).Compare(wire.ID(y.id)))
}

// Crowded reports whether a device's next event cannot have all in its past that is sound: what is left out of a checkpoint may
// come to nothing, so that a harmless event, a FrontierExtend without cuts, is to bring some of it together first.
func (l *Log) Crowded(d identity.DeviceID) bool {
	return len(l.heads) > MaxParents && len(l.soundTips(d)) > MaxParents
}

// Omits returns an event that a draft's past should hold and does not, of those that this log held before others that have
// only just come; checkpoints are left out, which may be rivals. A draft with room for a parent may leave out nothing; one without,
// what is not sound. The zero id says that there is none.
func (l *Log) Omits(d *Draft, fresh func(EventID) bool) EventID {
	at, err := l.indices(d.Parents)
	if err != nil {
		return EventID{}
	}
	past := l.h.closure(at)
	heads := l.h.maximal(l.heads)
	now := l.h.verdictNow(heads)
	v := view{l.h, l.h.closure(heads), now.void, now.base}
	for i := 1; i < len(l.h.entries); i++ {
		e := l.h.entries[i]
		if past.has(i) || e.kind == KindCheckpoint || len(d.Parents) == MaxParents && !v.sound(i) || fresh(e.id) {
			continue
		}
		return e.id
	}
	return EventID{}
}
