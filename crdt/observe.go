package crdt

import (
	"sync"
	"sync/atomic"
)

// event is what one committed transaction tells its observers.
type event struct {
	seq    uint64
	origin Origin
	update []byte // nil if nobody wanted it at commit
	v2     []byte // the same in format v2
	rare   *rare
}

// feed hands committed events to observers, one at a time and in commit order, without owning a goroutine: whoever
// commits delivers, and if somebody is delivering already leaves the event to them.
//
//	commit (lock held): push ──▶ queue ──▶ deliver (no lock held): observers of types, then of updates
type feed struct {
	mu        sync.Mutex
	seq       uint64
	queue     []event
	next      int // of queue to deliver
	running   bool
	listeners []*updateListener
}

type updateListener struct {
	fn    func([]byte, Origin)
	since uint64 // hears events after this one
	v2    bool   // wants format v2
	gone  atomic.Bool

	subdocs  func(SubdocEvent)    // instead of fn
	conflict func(ClientConflict) // instead of fn
}

// call tells a listener what it wants to hear. Updates are missing if it began to listen while they were committed.
func (l *updateListener) call(e *event) {
	switch {
	case l.subdocs != nil:
		if e.rare != nil && !e.rare.subs.empty() {
			e.rare.subs.Origin = e.origin
			l.subdocs(e.rare.subs)
		}
	case l.conflict != nil:
		if e.rare != nil && e.rare.conflict != nil {
			l.conflict(*e.rare.conflict)
		}
	case l.v2:
		if e.v2 != nil {
			l.fn(e.v2, e.origin)
		}
	case e.update != nil:
		l.fn(e.update, e.origin)
	}
}

// wantsUpdates says whether anybody listens, and whether anybody wants format v2.
func (f *feed) wantsUpdates() (wanted, v2 bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.listeners {
		wanted, v2 = wanted || l.fn != nil, v2 || l.v2
	}
	return wanted, v2
}

func (f *feed) push(e event) {
	if e.update == nil && e.rare == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	e.seq = f.seq
	f.queue = append(f.queue, e)
}

// deliver calls observers until the queue is empty. An observer that panics leaves the rest of the queue to the next
// transaction.
func (f *feed) deliver() {
	f.mu.Lock()
	if f.running {
		f.mu.Unlock()
		return
	}
	f.running = true
	defer func() {
		f.running = false
		f.mu.Unlock()
	}()
	for f.next < len(f.queue) {
		e := f.queue[f.next]
		f.queue[f.next] = event{}
		if f.next++; f.next == len(f.queue) {
			f.queue, f.next = f.queue[:0], 0
		}
		f.call(e)
	}
}

// call runs the observers of one event; f.mu is held before and after, not in between.
func (f *feed) call(e event) {
	listeners := f.listeners
	f.mu.Unlock()
	defer f.mu.Lock()
	if e.rare != nil {
		for _, c := range e.rare.calls {
			if !c.to.gone.Load() {
				c.run()
			}
		}
		for _, fn := range e.rare.later {
			fn()
		}
	}
	for _, l := range listeners {
		if l.since < e.seq && !l.gone.Load() {
			l.call(&e)
		}
	}
}

// OnUpdate calls fn after each transaction that changed the document, in commit order and outside the lock, with the
// update that tells other replicas about it. Transactions of ApplyUpdate are included; their Origin has Local false.
// stop ends the calls. fn may keep update but must not change it: all listeners get the same bytes.
func (d *Doc) OnUpdate(fn func(update []byte, o Origin)) (stop func()) {
	return d.feed.listen(&updateListener{fn: fn})
}

// OnUpdateV2 is OnUpdate with updates in format V2.
func (d *Doc) OnUpdateV2(fn func(update []byte, o Origin)) (stop func()) {
	return d.feed.listen(&updateListener{fn: fn, v2: true})
}

func (f *feed) listen(l *updateListener) (stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.since = f.seq
	f.listeners = append(f.listeners[:len(f.listeners):len(f.listeners)], l)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		l.gone.Store(true)
		var rest []*updateListener
		for _, o := range f.listeners {
			if o != l {
				rest = append(rest, o)
			}
		}
		f.listeners = rest
	}
}
