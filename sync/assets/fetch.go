package assets

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// fetcher brings blocks of one project here. Each is asked of one peer at a time, the one with least to do for us, so
// that what several have comes from all of them as fast as each can. A peer that keeps silent, lies or takes much longer
// than it should loses its turn: another is asked beside it, and whoever sends the block first is taken.
type fetcher struct {
	exchange exchange
	peers    func() []peer.ID           // connected devices of the project
	live     func(peer.ID) bool         // whether one still is
	store    func(peer.ID, block) error // makes a block one's own that a peer has brought
	wake     chan struct{}              // there is something to watch

	mu      sync.Mutex
	wants   map[hash]*want
	sources map[peer.ID]*source
}

// want is a block that somebody waits for.
type want struct {
	hash            hash
	size            int // sealed
	waiting, urgent int // who waits, and how many of them do on demand
	done            chan struct{}
	err             error
	storing         bool

	from    peer.ID               // who is to send it; "" if nobody is
	since   time.Time             // when it was asked
	asked   map[peer.ID]struct{}  // who may still send it
	lacking map[peer.ID]time.Time // who did not have it, and when it said so
}

// source is what is known of a peer.
type source struct {
	busy    int // bytes that it is to send
	served  int // blocks that it has sent
	speed   meter
	resting time.Time // until then others are asked first
	strikes int       // since it last sent a block
}

func newFetcher(x exchange) *fetcher {
	return &fetcher{exchange: x, wake: make(chan struct{}, 1), wants: map[hash]*want{}, sources: map[peer.ID]*source{}}
}

// get returns when a block is stored. On demand it waits until ctx ends; else it gives up, with errUnavailable, when
// nobody who is connected has the block. Any number may wait for one block.
func (f *fetcher) get(ctx context.Context, h hash, size int, urgent bool) error {
	w := f.enter(h, size, urgent)
	defer f.leave(w, urgent)
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *fetcher) enter(h hash, size int, urgent bool) *want {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.wants[h]
	if w == nil {
		w = &want{hash: h, size: size, done: make(chan struct{}), asked: map[peer.ID]struct{}{}, lacking: map[peer.ID]time.Time{}}
		f.wants[h] = w
	}
	w.waiting++
	if urgent {
		w.urgent++
	}
	switch {
	case w.waiting == 1:
		f.assign(w, time.Now())
		poke(f.wake)
	case urgent && w.urgent == 1 && w.from != "":
		f.exchange.ask(w.from, h, true, f.may(w.from))
	}
	return w
}

func (f *fetcher) leave(w *want, urgent bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.waiting--
	if urgent {
		w.urgent--
	}
	switch {
	case w.waiting == 0:
		f.end(w, "")
	case w.urgent == 0:
		f.give(w) // those who are left may not want to wait for ever
	}
}

// end forgets a want and tells whoever has been asked, but for the one that has sent it.
func (f *fetcher) end(w *want, sender peer.ID) {
	if f.wants[w.hash] != w {
		return
	}
	delete(f.wants, w.hash)
	f.unassign(w)
	for p := range w.asked {
		if p != sender {
			f.exchange.cancel(p, w.hash)
		}
	}
}

// settle tells those who wait.
func (f *fetcher) settle(w *want, sender peer.ID, err error) {
	if f.wants[w.hash] != w {
		return
	}
	f.end(w, sender)
	w.err = err
	close(w.done)
}

func (f *fetcher) source(p peer.ID) *source {
	if f.sources[p] == nil {
		f.sources[p] = &source{}
	}
	return f.sources[p]
}

func (f *fetcher) may(p peer.ID) func() bool { return func() bool { return f.live(p) } }

// assign asks the best peer for a block that nobody is asked for.
func (f *fetcher) assign(w *want, now time.Time) {
	p := f.choose(w, now)
	if p == "" {
		f.give(w)
		return
	}
	for q := range w.asked { // it may get the block meanwhile, and would send it too
		if _, lacks := w.lacking[q]; lacks {
			f.exchange.cancel(q, w.hash)
			delete(w.asked, q)
		}
	}
	w.from, w.since = p, now
	w.asked[p] = struct{}{}
	delete(w.lacking, p)
	f.source(p).busy += w.size
	f.exchange.ask(p, w.hash, w.urgent > 0, f.may(p))
}

func (f *fetcher) unassign(w *want) {
	if w.from != "" {
		f.source(w.from).busy -= w.size
		w.from = ""
	}
}

// give lets those go who wait in the background for what nobody has.
func (f *fetcher) give(w *want) {
	if w.from != "" || w.urgent > 0 || w.storing {
		return
	}
	for p := range w.asked {
		if _, lacks := w.lacking[p]; !lacks {
			return // it may still come
		}
	}
	f.settle(w, "", errUnavailable)
}

// choose returns the peer to ask for a block, "" if there is none who may have it and is not asked already. Those who
// are resting come last.
func (f *fetcher) choose(w *want, now time.Time) (best peer.ID) {
	for _, p := range f.peers() {
		_, asked := w.asked[p]
		lacked, lacks := w.lacking[p]
		if lacks && now.Sub(lacked) < lackFor || asked && !lacks {
			continue
		}
		if best == "" || f.source(p).before(f.source(best), now) {
			best = p
		}
	}
	return best
}

// before reports whether a peer is to be asked rather than another.
func (s *source) before(o *source, now time.Time) bool {
	mine, theirs := s.resting.After(now), o.resting.After(now)
	switch {
	case mine != theirs:
		return theirs
	case mine && !s.resting.Equal(o.resting):
		return s.resting.Before(o.resting)
	case s.busy != o.busy:
		return s.busy < o.busy
	}
	return s.served < o.served
}

// rest lets a peer be asked last for a while.
func (s *source) rest(now time.Time) {
	if s.resting.After(now) {
		return
	}
	s.resting = now.Add(min(restMin<<min(s.strikes, 8), restMax))
	s.strikes++
}

// arrived takes a block that a peer has sent, and reports whether it was wanted of this project.
func (f *fetcher) arrived(p peer.ID, b block) bool {
	f.mu.Lock()
	w := f.wants[b.hash]
	if w == nil || w.storing || !f.live(p) {
		f.mu.Unlock()
		return w != nil
	}
	if len(b.sealed) != w.size { // the name is right, so that whoever has listed it has listed it wrongly
		f.settle(w, p, ErrInvalid)
		f.mu.Unlock()
		return true
	}
	w.storing = true
	f.mu.Unlock()

	err := f.store(p, b)

	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	s := f.source(p)
	s.served++
	s.strikes, s.resting = 0, time.Time{}
	s.speed.add(len(b.sealed), now)
	w.storing = false
	f.settle(w, p, err)
	return true
}

// lacks notes that a peer does not have a block, and asks another.
func (f *fetcher) lacks(p peer.ID, h hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.wants[h]
	if w == nil || !f.live(p) {
		return
	}
	if _, asked := w.asked[p]; !asked {
		return
	}
	now := time.Now()
	w.lacking[p] = now
	if w.from == p {
		f.unassign(w)
	}
	if w.from == "" {
		f.assign(w, now)
	}
}

// lied notes that a peer has sent what nobody asked for and nobody knows, while it was to send something.
func (f *fetcher) lied(p peer.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.source(p); s.busy > 0 {
		s.rest(time.Now())
		f.pass(p, time.Now())
	}
}

// lost notes that a peer has gone, or that what it was asked has not reached it.
func (f *fetcher) lost(p peer.ID, gone bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if gone {
		defer delete(f.sources, p)
	} else {
		f.source(p).rest(now)
	}
	for _, w := range f.wants {
		delete(w.asked, p)
		delete(w.lacking, p)
		if !gone {
			w.lacking[p] = now // or it would be asked again at once, for ever
		}
		if w.from == p {
			f.unassign(w)
			f.assign(w, now)
		}
	}
}

// found notes that there is a new peer.
func (f *fetcher) found() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, w := range f.wants {
		if w.from == "" {
			f.assign(w, now)
		}
	}
}

// pass gives what a peer was to send to others as well, as far as there are any.
func (f *fetcher) pass(p peer.ID, now time.Time) {
	for _, w := range f.wants {
		if w.from == p && f.choose(w, now) != "" {
			f.unassign(w)
			f.assign(w, now)
		}
	}
}

// watch looks after wants until ctx ends.
func (f *fetcher) watch(ctx context.Context) error {
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return nil
		}
		ticks := time.NewTicker(watchEvery)
		for f.look(time.Now()) {
			select {
			case <-ticks.C:
			case <-ctx.Done():
				ticks.Stop()
				return nil
			}
		}
		ticks.Stop()
	}
}

// look deals with peers that do not do what they were asked. It reports whether there is anything to watch.
func (f *fetcher) look(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.wants {
		switch {
		case w.storing:
		case w.from == "":
			f.lookAround(w, now)
		case !f.live(w.from):
			delete(w.asked, w.from)
			f.unassign(w)
			f.assign(w, now)
		default:
			f.lookAt(w, now)
		}
	}
	return len(f.wants) > 0
}

// lookAt asks another peer if the one that was asked is silent or late. What it was asked for still may come from it:
// on a slow line a transfer that is begun anew each time would never end.
func (f *fetcher) lookAt(w *want, now time.Time) {
	s := f.source(w.from)
	waited := now.Sub(w.since)
	silent := min(waited, now.Sub(f.exchange.heard(w.from)))
	due := slowAfter
	if speed := s.speed.read(now); speed > 1 {
		due = max(due, time.Duration(3*float64(s.busy)/speed*float64(time.Second)))
	}
	if silent < stallAfter && waited < due {
		return
	}
	s.rest(now)
	switch {
	case f.choose(w, now) != "":
		f.unassign(w)
		f.assign(w, now)
	case silent > askAgain && w.urgent == 0:
		f.settle(w, "", errUnavailable)
	case silent > askAgain:
		w.since = now
		f.exchange.ask(w.from, w.hash, true, f.may(w.from))
	}
}

// lookAround finds somebody for a block that nobody is to send: those who lacked it may have it by now, and those who
// were too slow get another turn.
func (f *fetcher) lookAround(w *want, now time.Time) {
	f.assign(w, now)
	if w.from != "" || now.Sub(w.since) < askAgain {
		return
	}
	if w.urgent == 0 {
		f.settle(w, "", errUnavailable)
		return
	}
	for p := range w.asked {
		if _, lacks := w.lacking[p]; !lacks {
			f.exchange.cancel(p, w.hash)
			delete(w.asked, p)
		}
	}
	f.assign(w, now)
}

// poke wakes whoever waits on a channel of one.
func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
