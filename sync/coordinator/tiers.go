package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// ErrUrgent is the cause of a background turn's end when something urgent began: ask again in a later turn.
var ErrUrgent = errors.New("coordinator: something urgent began")

// Tiers decides who may use a node's line. There is one for a node; all projects share it, as they share the line.
//
//	tier 1  live         small and never held up: it does not come here
//	tier 2  foundation   a joiner's snapshot: Urgent ──┐
//	                     a round: Exchange ── 1 s ─────┼─▶ while any of them lasts, no background turn begins,
//	tier 3  on demand    Urgent ───────────────────────┘   and those under way are cut
//	tier 4  background   Background ──▶ in order: bandwidth ──▶ calm and a free turn ──▶ turn … end
//
// A round that finds nothing new is over before it counts, so that rounds with many devices do not starve the
// background; after 30 s it counts no more, so that a device that is slow on purpose does not. What was cut goes on when
// the last urgent thing ends. What others fetch from this device is not scheduled here.
//
// It is safe for concurrent use, owns no goroutine, and a nil *Tiers lets everybody pass at once.
type Tiers struct {
	limit *rate.Limiter // nil: none
	front chan struct{} // holds the token of whoever is next in the background; others queue in the order of their calls
	life  context.Context
	end   context.CancelCauseFunc

	mu      sync.Mutex
	urgent  int // under way, of tiers 2 and 3
	turns   map[*turn]struct{}
	changed chan struct{} // closed and replaced when a background turn may have become possible
	stats   TierStats
}

// turn is one background turn under way.
type turn struct{ cut context.CancelCauseFunc }

// TierStats says what the tiers are doing and have done.
type TierStats struct {
	Urgent     int // on-demand transfers and foundation work under way that background gives way to
	Background int // turns under way
	Waiting    int // callers that wait for a background turn

	Urgents     uint64 // how often something urgent began,
	Backgrounds uint64 // a background turn began,
	Cut         uint64 // and was cut short
	Granted     uint64 // bytes that background turns were granted; what was cut is granted again
}

// NewTiers returns a schedule whose background turns take at most bytesPerSecond together; 0 or less means no limit.
// Close it.
func NewTiers(bytesPerSecond int64) *Tiers {
	t := &Tiers{front: make(chan struct{}, 1), turns: map[*turn]struct{}{}, changed: make(chan struct{})}
	t.life, t.end = context.WithCancelCause(context.Background())
	if bytesPerSecond > 0 {
		t.limit = rate.NewLimiter(rate.Limit(bytesPerSecond), int(min(bytesPerSecond, maxBurst)))
	}
	return t
}

// Close ends the turns under way and refuses new ones with [ErrStopped]. Closing again does nothing.
func (t *Tiers) Close() { t.end(ErrStopped) }

// Urgent says that somebody waits for a transfer, or a joiner for the first state of a project; background transfers
// stand still until done is called. Calling done again does nothing.
func (t *Tiers) Urgent() (done func()) {
	if t == nil {
		return func() {}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.begin()
}

// Exchange says that a round with a device is under way. It counts as urgent once it has lasted a second, and no more
// after 30 s.
func (t *Tiers) Exchange() (done func()) {
	if t == nil {
		return func() {}
	}
	var (
		ended bool
		leave = func() {}
	)
	counts := time.AfterFunc(exchangeCounts, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if !ended {
			leave = t.begin()
		}
	})
	end := func() {
		counts.Stop()
		t.mu.Lock()
		ended = true
		fn := leave
		t.mu.Unlock()
		fn()
	}
	slow := time.AfterFunc(slowRound, end)
	return func() {
		slow.Stop()
		end()
	}
}

// begin counts something urgent and cuts what runs in the background; the lock is held.
func (t *Tiers) begin() (done func()) {
	t.urgent++
	t.stats.Urgents++
	for turn := range t.turns {
		turn.cut(ErrUrgent)
		delete(t.turns, turn)
		t.stats.Cut++
	}
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.urgent--
		t.notify()
	})
}

// Background waits until n bytes may be fetched in the background. turn ends when something urgent begins, with
// [ErrUrgent] as its cause: what is under way is to be cancelled then and asked for again in a later turn. end gives the
// turn back; calling it again does nothing. Callers are served in the order of their calls, at most [MaxTurns] at once.
//
// A turn that is cut short has been granted its bytes all the same, so the limit is never exceeded. Background fails
// with what ended ctx, or with [ErrStopped].
func (t *Tiers) Background(ctx context.Context, n int) (turn context.Context, end func(), err error) {
	if t == nil {
		turn, end = context.WithCancel(ctx)
		return turn, end, nil
	}
	t.waiting(1)
	defer t.waiting(-1)
	wait, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.life, func() { cancel(ErrStopped) })()
	if t.life.Err() != nil {
		return nil, nil, ErrStopped
	}
	select {
	case t.front <- struct{}{}:
		defer func() { <-t.front }()
	case <-wait.Done():
		return nil, nil, stopped(wait)
	}
	if err := t.pay(wait, n); err != nil {
		return nil, nil, err
	}
	return t.take(ctx, wait, n)
}

// pay takes n bytes from the limit, piece by piece, as it holds no more than a second's worth.
func (t *Tiers) pay(ctx context.Context, n int) error {
	if t.limit == nil {
		return nil
	}
	for n > 0 {
		piece := min(n, t.limit.Burst())
		r := t.limit.ReserveN(time.Now(), piece)
		timer := time.NewTimer(r.Delay())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			r.Cancel()
			return stopped(ctx)
		}
		n -= piece
	}
	return nil
}

// take waits until nothing urgent runs and a turn is free. The turn lives as long as ctx.
func (t *Tiers) take(ctx, wait context.Context, n int) (context.Context, func(), error) {
	for {
		if wait.Err() != nil {
			return nil, nil, stopped(wait)
		}
		t.mu.Lock()
		if t.urgent == 0 && len(t.turns) < MaxTurns {
			defer t.mu.Unlock()
			own, end := t.start(ctx, n)
			return own, end, nil
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
		case <-wait.Done():
		}
	}
}

// start begins a turn; the lock is held.
func (t *Tiers) start(ctx context.Context, n int) (context.Context, func()) {
	own, cut := context.WithCancelCause(ctx)
	stop := context.AfterFunc(t.life, func() { cut(ErrStopped) })
	now := &turn{cut}
	t.turns[now] = struct{}{}
	t.stats.Backgrounds++
	t.stats.Granted += uint64(max(n, 0))
	return own, func() {
		stop()
		cut(nil)
		t.mu.Lock()
		defer t.mu.Unlock()
		if _, held := t.turns[now]; held {
			delete(t.turns, now)
			t.notify()
		}
	}
}

// Stats describes this moment.
func (t *Tiers) Stats() TierStats {
	if t == nil {
		return TierStats{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Urgent, s.Background = t.urgent, len(t.turns)
	return s
}

func (t *Tiers) waiting(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Waiting += n
}

// notify wakes whoever is next; the lock is held.
func (t *Tiers) notify() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// stopped says why waiting for a turn ended.
func stopped(wait context.Context) error {
	if err := context.Cause(wait); errors.Is(err, ErrStopped) {
		return ErrStopped
	}
	return fmt.Errorf("coordinator: wait for a background turn: %w", context.Cause(wait))
}
