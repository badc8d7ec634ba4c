// Package awareness holds what a user shows of itself while it is there (a name, a colour, a cursor) in the way of
// y-protocols: each client has one JSON state and a clock; nothing is stored, and who falls silent is taken off.
//
//	a := awareness.New(doc.ClientID())
//	send(a.Set(now, `{"name":"Ann"}`))       // tell the others; nil leaves
//	changed, err := a.Apply(now, received)   // hear from the others
//	for id, state := range a.States() { … }
//	send(a.Tick(now))                        // every few seconds: renews the own state, drops silent clients
//
// The package has no clock and no network: the time is passed in, and updates are byte slices. An Awareness may be used
// from several goroutines. What it accepts is bounded by Limits; a state is checked to be JSON, not what it means.
package awareness

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/studio-whip/collab/crdt/lib0"
)

// Timeout is how long a client may be silent before it is dropped. A client says something every half Timeout.
const Timeout = 30 * time.Second

// Limits bounds what is accepted from others. A zero field means the default.
type Limits struct {
	Clients    int // clients remembered, those that have left included; 4,096
	StateBytes int // bytes of one state; 64 KiB
}

// Change lists the clients that an update concerned, ascending. Renewed are those that only said that they are still
// there.
type Change struct {
	Added, Updated, Removed, Renewed []uint64
}

// Empty says whether nothing was learnt.
func (c Change) Empty() bool {
	return len(c.Added)+len(c.Updated)+len(c.Removed)+len(c.Renewed) == 0
}

// client is what is known of a client. It is remembered when the state is gone, so that late updates do not bring the
// state back.
type client struct {
	clock uint64
	state []byte // nil if it is not there
	seen  time.Time
}

// Awareness is the states of all clients. The zero value is not usable; call New.
type Awareness struct {
	mu      sync.Mutex
	self    uint64
	limits  Limits
	clients map[uint64]*client
}

// New returns an Awareness for the client self, which shows no state yet.
func New(self uint64, l ...Limits) *Awareness {
	a := &Awareness{self: self, clients: make(map[uint64]*client), limits: Limits{4096, 64 << 10}}
	for _, l := range l {
		if l.Clients > 0 {
			a.limits.Clients = l.Clients
		}
		if l.StateBytes > 0 {
			a.limits.StateBytes = l.StateBytes
		}
	}
	return a
}

// Set shows a state, which must be JSON, or with nil takes it away; it returns the update to send.
func (a *Awareness) Set(now time.Time, state []byte) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if state != nil {
		if err := a.check(state); err != nil {
			return nil, err
		}
	}
	a.set(now, slices.Clone(state))
	return a.encode([]uint64{a.self}), nil
}

func (a *Awareness) set(now time.Time, state []byte) {
	c := a.clients[a.self]
	if c == nil {
		// Who is new to others counts as known with clock 0: a first state with clock 0 would be ignored.
		c = &client{}
		a.clients[a.self] = c
	}
	c.clock++
	c.state, c.seen = state, now
}

func (a *Awareness) check(state []byte) error {
	if len(state) > a.limits.StateBytes {
		return fmt.Errorf("awareness: state of %d bytes, at most %d are allowed", len(state), a.limits.StateBytes)
	}
	r := lib0.NewReader(lib0.AppendBuffer(nil, state))
	if r.JSON(); r.Err() != nil {
		return fmt.Errorf("awareness: state is not JSON: %s", r.Err().Reason)
	}
	return nil
}

// States yields the clients that show a state, ascending, and the JSON of it, which must not be changed.
func (a *Awareness) States() iter.Seq2[uint64, []byte] {
	a.mu.Lock()
	defer a.mu.Unlock()
	states := make(map[uint64][]byte)
	for id, c := range a.clients {
		if c.state != nil {
			states[id] = c.state
		}
	}
	return func(yield func(uint64, []byte) bool) {
		for _, id := range slices.Sorted(maps.Keys(states)) {
			if !yield(id, states[id]) {
				return
			}
		}
	}
}

// Clock returns the clock of a client and whether anything was heard of it.
func (a *Awareness) Clock(id uint64) (clock uint64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.clients[id]; c != nil {
		return c.clock, true
	}
	return 0, false
}

// Encode writes an update about the given clients, or about all that show a state. Those never heard of are left out.
func (a *Awareness) Encode(ids ...uint64) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(ids) == 0 {
		for id, c := range a.clients {
			if c.state != nil {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
	}
	return a.encode(slices.DeleteFunc(slices.Clone(ids), func(id uint64) bool { return a.clients[id] == nil }))
}

func (a *Awareness) encode(ids []uint64) []byte {
	b := lib0.AppendUvarint(nil, uint64(len(ids)))
	for _, id := range ids {
		c := a.clients[id]
		b = lib0.AppendUvarint(lib0.AppendUvarint(b, id), c.clock)
		if c.state == nil {
			b = lib0.AppendString(b, "null")
		} else {
			b = lib0.AppendBuffer(b, c.state)
		}
	}
	return b
}

// entry is one client's part of an update.
type entry struct {
	id, clock uint64
	state     []byte // nil: it leaves
}

// Apply takes in an update and says what it changed. Malformed or oversized input changes nothing; the error wraps a
// *lib0.Error that says where and why. If others believe that the own client has left, its clock has moved on and Renewed
// of the change has it: send Encode(self).
func (a *Awareness) Apply(now time.Time, update []byte) (Change, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	es, err := a.decode(update)
	if err != nil {
		return Change{}, err
	}
	var c Change
	for _, e := range es {
		a.apply(now, e, &c)
	}
	for _, ids := range []*[]uint64{&c.Added, &c.Updated, &c.Removed, &c.Renewed} {
		slices.Sort(*ids)
	}
	return c, nil
}

func (a *Awareness) decode(update []byte) (es []entry, err error) {
	r := lib0.NewReader(update)
	known := len(a.clients)
	for n := r.Count(3); n > 0 && r.OK(); n-- {
		e := entry{id: r.Uvarint(), clock: r.Uvarint()}
		at := r.Pos()
		e.state = slices.Clone(r.JSON())
		if len(e.state) > a.limits.StateBytes {
			r.Fail(at, "state is too large")
		}
		if string(e.state) == "null" {
			e.state = nil
		}
		if a.clients[e.id] == nil {
			known++
		}
		es = append(es, e)
	}
	if known > a.limits.Clients {
		r.Fail(0, "too many clients")
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("awareness: malformed update, nothing changed: %w", err)
	}
	return es, nil
}

// apply takes in one entry, if it is newer than what is known, or equally old and says that the client has left.
func (a *Awareness) apply(now time.Time, e entry, ch *Change) {
	c := a.clients[e.id]
	known := c != nil
	if !known {
		c = &client{}
	}
	if e.clock < c.clock || e.clock == c.clock && (e.state != nil || c.state == nil) {
		return
	}
	before := c.state
	a.clients[e.id] = c
	c.clock, c.seen = e.clock, now
	if e.state == nil && e.id == a.self && c.state != nil { // nobody else takes us off
		c.clock++
		ch.Renewed = append(ch.Renewed, e.id)
		return
	}
	c.state = e.state
	switch {
	case e.state == nil:
		if known {
			ch.Removed = append(ch.Removed, e.id)
		}
	case !known:
		ch.Added = append(ch.Added, e.id)
	case before != nil && equal(before, e.state):
		ch.Renewed = append(ch.Renewed, e.id)
	default:
		ch.Updated = append(ch.Updated, e.id)
	}
}

// equal compares two JSON texts by what they mean.
func equal(a, b []byte) bool {
	if slices.Equal(a, b) {
		return true
	}
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return same(x, y)
}

func same(x, y any) bool {
	switch x := x.(type) {
	case []any:
		y, ok := y.([]any)
		return ok && slices.EqualFunc(x, y, same)
	case map[string]any:
		y, ok := y.(map[string]any)
		return ok && maps.EqualFunc(x, y, same)
	}
	switch y.(type) {
	case []any, map[string]any:
		return false
	}
	return x == y
}

// Remove takes clients off, as when their connection ends, and returns those that showed a state. Call Encode with
// them to tell others. The own client is not removed; use Set with nil.
func (a *Awareness) Remove(ids ...uint64) (removed []uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		if c := a.clients[id]; c != nil && c.state != nil && id != a.self {
			c.state = nil
			removed = append(removed, id)
		}
	}
	return removed
}

// Tick drops clients that were silent for Timeout, and renews the own state if it is half as old. It returns the update
// to send, nil if there is none, and what changed here. Call it every few seconds.
func (a *Awareness) Tick(now time.Time) (update []byte, c Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, cl := range a.clients {
		if id != a.self && cl.state != nil && now.Sub(cl.seen) >= Timeout {
			cl.state = nil
			c.Removed = append(c.Removed, id)
		}
	}
	slices.Sort(c.Removed)
	if own := a.clients[a.self]; own != nil && own.state != nil && now.Sub(own.seen) >= Timeout/2 {
		a.set(now, own.state)
		c.Renewed = []uint64{a.self}
		update = a.encode(c.Renewed)
	}
	return update, c
}
