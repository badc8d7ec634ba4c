package governance

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/wire"
)

// Log is the events of one project that have arrived, in memory. It is not safe for concurrent use.
type Log struct {
	root    *genesis.Root // version 1
	h       *history
	heads   []int // ascending; 0 while there is no event
	orphans orphans
	states  map[string]*State
	storage Storage // nil: whoever feeds the log keeps what it takes
	clock   func() time.Time
	bare    bool // it takes events without signatures; whoever uses it sees to it that they are attested

	view genesis.ChainView // how the root stands by its chain; see SetRoots
}

// SetClock lets the log refuse, for now, checkpoints that are more than [MaxAhead] ahead of a clock, with [ErrAhead].
// What is taken once is never judged by a clock again.
func (l *Log) SetClock(now func() time.Time) { l.clock = now }

// checkClock refuses a checkpoint from the future, which would end invites and quarantines before their time.
func (l *Log) checkClock(ev *Event) error {
	b, ok := ev.body.(*Checkpoint)
	if !ok || l.clock == nil {
		return nil
	}
	if latest := l.clock().Add(MaxAhead); b.Time > uint64(max(latest.Unix(), 0)) {
		return fmt.Errorf("%w: by more than %s", ErrAhead, MaxAhead)
	}
	return nil
}

// NewLog returns the log of a project that holds nothing but its verified root record of version 1.
func NewLog(root *genesis.Root) *Log {
	return &Log{
		root:    root,
		h:       historyOf(root),
		heads:   []int{0},
		orphans: newOrphans(),
		states:  map[string]*State{},
		view:    genesis.NewChain(root).View(),
	}
}

// historyOf returns the history of a project that holds nothing but its founding record.
func historyOf(root *genesis.Root) *history {
	h := newHistory(root.Project, policyOf(root.Policy),
		deviceOf(root.Founder.Identity, root.Founder.Device))
	h.entries[0].setRoot(root)
	h.roots = rootChain{force: []rootVersion{{root: root}}, known: map[genesis.RootID]*genesis.Root{root.ID: root}}
	return h
}

// AddResult says what became of an event, and of those that had waited for it.
type AddResult struct {
	Added   []EventID // now in the log, in causal order: store and pass on these
	Missing []EventID // parents that must be fetched before the event can be taken
	Dropped []Dropped // had waited for the event and turned out to be wrong
}

// Dropped is an event that had waited for its parents and was refused when they had come.
type Dropped struct {
	ID   EventID
	From string // as given to [Log.AddFrom]
	Err  error
}

// Add is [Log.AddFrom] for events of the own store, which count as one peer's.
func (l *Log) Add(raw []byte) (AddResult, error) { return l.AddFrom("", raw) }

// AddFrom takes a received event, whose sender from names, for the buffer's bounds. It verifies structure and
// signatures; authority is not asked for: an event without it is taken and counts for nothing. An event that is
// there already is no error and adds nothing.
//
// An event with a missing parent waits in a bounded buffer, and Missing says what to fetch. What is refused fails
// with [ErrEvent], [ErrForeign], [ErrUnknownRoot], [ErrUnknownDevice], [ErrOrphansFull], [sign.ErrSignature] or an error of
// [ParseEvent].
func (l *Log) AddFrom(from string, raw []byte) (AddResult, error) {
	if IsCompacted(raw) {
		return AddResult{}, ErrCompacted
	}
	ev, err := ParseEvent(raw)
	if err != nil {
		return AddResult{}, err
	}
	return l.addEvent(from, ev)
}

func (l *Log) addEvent(from string, ev *Event) (AddResult, error) {
	if _, ok := l.h.byID[ev.ID]; ok {
		return AddResult{}, nil
	}
	if err := l.checkOrigin(ev); err != nil {
		return AddResult{}, fmt.Errorf("governance: event %s: %w", ev.ID.Short(), err)
	}
	if err := l.checkClock(ev); err != nil {
		return AddResult{}, fmt.Errorf("governance: event %s: %w", ev.ID.Short(), err)
	}
	if missing := l.missingOf(ev); len(missing) > 0 {
		if err := l.orphans.put(from, ev, missing); err != nil {
			return AddResult{Missing: l.toFetch(missing)}, fmt.Errorf("governance: event %s: %w", ev.ID.Short(), err)
		}
		return AddResult{Missing: l.toFetch(missing)}, nil
	}
	if err := l.take(ev); err != nil {
		return AddResult{}, fmt.Errorf("governance: event %s: %w", ev.ID.Short(), err)
	}
	res := AddResult{Added: []EventID{ev.ID}}
	l.release(&res)
	return res, l.keep(res.Added)
}

// checkOrigin refuses events of other projects and under unknown root records.
func (l *Log) checkOrigin(ev *Event) error {
	if ev.Project != l.root.Project {
		return fmt.Errorf("%w: project %s", ErrForeign, ev.Project.Short())
	}
	if err := l.checkRoot(ev); err != nil {
		return err
	}
	return l.checkArrived(ev)
}

// take verifies an event whose parents are there and adds it.
func (l *Log) take(ev *Event) error {
	e, err := l.facts(ev)
	if err != nil {
		return err
	}
	if err := l.verify(e); err != nil {
		return err
	}
	ev.verified = true
	l.place(e)
	l.advance(false)
	return nil
}

// place adds an event that was verified.
func (l *Log) place(e *entry) {
	l.readBody(e)
	l.h.add(e)
	l.heads = slices.DeleteFunc(l.heads, func(i int) bool { return e.past.has(i) })
	l.heads = append(l.heads, e.idx)
}

// release takes the waiting events whose parents have come, until none is left.
func (l *Log) release(res *AddResult) {
	for next := 0; next < len(res.Added); next++ {
		for _, o := range l.orphans.waitingFor(res.Added[next]) {
			if len(l.missingOf(o.event)) > 0 {
				continue
			}
			l.orphans.remove(o)
			if l.Has(o.event.ID) {
				continue
			}
			if err := l.take(o.event); err != nil {
				res.Dropped = append(res.Dropped, Dropped{o.event.ID, o.from, err})
				continue
			}
			res.Added = append(res.Added, o.event.ID)
		}
	}
}

// missingOf returns the parents of an event that the log does not hold.
func (l *Log) missingOf(ev *Event) []EventID {
	return slices.DeleteFunc(slices.Clone(ev.Parents), l.Has)
}

// toFetch leaves out what waits in the buffer itself, and names what that waits for instead.
func (l *Log) toFetch(ids []EventID) []EventID {
	var out []EventID
	seen := map[EventID]bool{}
	for queue := ids; len(queue) > 0; queue = queue[1:] {
		id := queue[0]
		if seen[id] || l.Has(id) {
			continue
		}
		seen[id] = true
		if ev := l.orphans.get(id); ev != nil {
			queue = append(queue, ev.Parents...)
			continue
		}
		out = append(out, id)
	}
	return wire.SortIDs(out)
}

// Missing returns the events to fetch so that what waits can be taken, ascending.
func (l *Log) Missing() []EventID { return l.toFetch(l.orphans.wanted()) }

// Has reports whether an event is in the log. The project's root record counts as one.
func (l *Log) Has(id EventID) bool { _, ok := l.h.byID[id]; return ok }

// Get returns an event of the log, nil if it is not there.
func (l *Log) Get(id EventID) *Event {
	i, ok := l.h.byID[id]
	if !ok {
		return nil
	}
	return l.h.entries[i].event
}

// Len returns the number of events in the log.
func (l *Log) Len() int { return len(l.h.entries) - 1 }

// Root returns the newest root record that counts here; see [Log.SetRoots].
func (l *Log) Root() *genesis.Root { return l.h.roots.current() }

// Heads returns the events that no other rests on, ascending; the project's root record if there is none.
func (l *Log) Heads() []EventID { return l.ids(l.heads) }

func (l *Log) ids(of []int) []EventID {
	out := make([]EventID, 0, len(of))
	for _, i := range of {
		out = append(out, l.h.entries[i].id)
	}
	return wire.SortIDs(out)
}

// All iterates the events in the order in which they were taken, which respects causality.
func (l *Log) All() iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		for i := 1; i < len(l.h.entries); i++ {
			if !yield(l.h.entries[i].event) {
				return
			}
		}
	}
}

// indices returns the entries of heads. It fails with [ErrUnknownEvent].
func (l *Log) indices(heads []EventID) ([]int, error) {
	out := make([]int, 0, len(heads))
	for _, id := range heads {
		i, ok := l.h.byID[id]
		if !ok {
			return nil, fmt.Errorf("%w: %s", ErrUnknownEvent, id.Short())
		}
		out = append(out, i)
	}
	return l.h.maximal(out), nil
}

// State returns what all events of the log amount to.
func (l *Log) State() *State {
	const now = "now" // by the root as it stands now, which events may not name yet
	heads := l.h.maximal(l.heads)
	if s := l.states[now]; s != nil && slices.Equal(s.heads, l.ids(heads)) {
		return s
	}
	s := l.h.stateBy(heads, l.h.verdictNow(heads), l.Root().ID)
	l.states[now] = s
	return s
}

// StateAt returns what the closure of heads amounts to: the events named and all their ancestors. No heads stand
// for the project's root record alone. It fails with [ErrUnknownEvent]. Repeated calls with the same heads are
// cheap.
func (l *Log) StateAt(heads []EventID) (*State, error) {
	at, err := l.indices(heads)
	if err != nil {
		return nil, fmt.Errorf("governance: state: %w", err)
	}
	if len(at) == 0 {
		at = []int{0}
	}
	return l.stateOf(at), nil
}

func (l *Log) stateOf(heads []int) *State {
	key := headsKey(heads)
	if s := l.states[key]; s != nil {
		return s
	}
	if len(l.states) >= statesKept {
		clear(l.states)
	}
	s := l.h.state(heads)
	l.states[key] = s
	return s
}

// Contains reports whether an event lies in the closure of heads. It fails with [ErrUnknownEvent].
func (l *Log) Contains(heads []EventID, id EventID) (bool, error) {
	return l.Includes(heads, []EventID{id})
}

// Includes reports whether the closure of outer contains that of inner. It fails with [ErrUnknownEvent].
func (l *Log) Includes(outer, inner []EventID) (bool, error) {
	o, err := l.indices(outer)
	if err != nil {
		return false, fmt.Errorf("governance: includes: %w", err)
	}
	in, err := l.indices(inner)
	if err != nil {
		return false, fmt.Errorf("governance: includes: %w", err)
	}
	for _, i := range in {
		inside := i == 0 || slices.ContainsFunc(o, func(k int) bool { return k == i || l.h.entries[k].past.has(i) })
		if !inside {
			return false, nil
		}
	}
	return true, nil
}

// EpochObject returns an epoch that any event of the log carries, in force or not: content sealed under an epoch
// whose event fell later is still to be read.
func (l *Log) EpochObject(id EpochID) (*Epoch, bool) {
	i, ok := l.h.minted[id]
	if !ok {
		return nil, false
	}
	return l.h.epochOf(l.h.entries[i]), true
}
