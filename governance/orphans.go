package governance

import (
	"fmt"
	"slices"
)

// orphan is an event that waits for its parents. Several peers may have sent it, and a copy may bear a bad
// signature, so each peer's copy is kept.
type orphan struct {
	from    string
	event   *Event
	missing []EventID
	arrived uint64
}

type orphanKey struct {
	from string
	id   EventID
}

// usage is how much of the buffer one peer takes.
type usage struct{ events, bytes int }

// orphans is the buffer. Its bounds hold for all peers together and for each.
type orphans struct {
	byKey  map[orphanKey]*orphan
	byID   map[EventID][]*orphan
	onto   map[EventID][]*orphan // by missing parent
	byPeer map[string]*usage
	total  usage
	clock  uint64
}

func newOrphans() orphans {
	return orphans{
		byKey:  map[orphanKey]*orphan{},
		byID:   map[EventID][]*orphan{},
		onto:   map[EventID][]*orphan{},
		byPeer: map[string]*usage{},
	}
}

// put keeps an event. It fails with [ErrOrphansFull] if its sender has used up his share. If the buffer as a whole
// is full, the peer who fills most of it loses what he sent first.
func (o *orphans) put(from string, ev *Event, missing []EventID) error {
	key := orphanKey{from, ev.ID}
	if o.byKey[key] != nil {
		return nil
	}
	u := o.byPeer[from]
	if u == nil {
		u = &usage{}
	}
	if u.events >= MaxPeerOrphans || u.bytes+len(ev.Raw) > MaxPeerOrphanBytes {
		return fmt.Errorf("%w: %d events of this peer", ErrOrphansFull, u.events)
	}
	for o.total.events >= MaxOrphans || o.total.bytes+len(ev.Raw) > MaxOrphanBytes {
		o.remove(o.victim())
	}
	x := &orphan{from: from, event: ev, missing: missing, arrived: o.clock}
	o.clock++
	o.byPeer[from] = u
	u.events, u.bytes = u.events+1, u.bytes+len(ev.Raw)
	o.total.events, o.total.bytes = o.total.events+1, o.total.bytes+len(ev.Raw)
	o.byKey[key] = x
	o.byID[ev.ID] = append(o.byID[ev.ID], x)
	for _, p := range missing {
		o.onto[p] = append(o.onto[p], x)
	}
	return nil
}

// victim returns the oldest event of the peer who takes most of the buffer.
func (o *orphans) victim() *orphan {
	var greedy string
	most := -1
	for from, u := range o.byPeer {
		if u.bytes > most || u.bytes == most && from < greedy {
			greedy, most = from, u.bytes
		}
	}
	var oldest *orphan
	for _, x := range o.byKey {
		if x.from == greedy && (oldest == nil || x.arrived < oldest.arrived) {
			oldest = x
		}
	}
	return oldest
}

func (o *orphans) remove(x *orphan) {
	delete(o.byKey, orphanKey{x.from, x.event.ID})
	without := func(m map[EventID][]*orphan, id EventID) {
		left := slices.DeleteFunc(slices.Clone(m[id]), func(y *orphan) bool { return y == x })
		if m[id] = left; len(left) == 0 {
			delete(m, id)
		}
	}
	without(o.byID, x.event.ID)
	for _, p := range x.missing {
		without(o.onto, p)
	}
	u := o.byPeer[x.from]
	u.events, u.bytes = u.events-1, u.bytes-len(x.event.Raw)
	o.total.events, o.total.bytes = o.total.events-1, o.total.bytes-len(x.event.Raw)
	if u.events == 0 {
		delete(o.byPeer, x.from)
	}
}

// waitingFor returns the events that name a parent which was missing.
func (o *orphans) waitingFor(parent EventID) []*orphan { return slices.Clone(o.onto[parent]) }

// get returns an event that waits, nil if none does.
func (o *orphans) get(id EventID) *Event {
	if l := o.byID[id]; len(l) > 0 {
		return l[0].event
	}
	return nil
}

// wanted returns the parents that are waited for.
func (o *orphans) wanted() []EventID {
	out := make([]EventID, 0, len(o.onto))
	for id := range o.onto {
		out = append(out, id)
	}
	return out
}
