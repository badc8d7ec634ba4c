package assets

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Schedule says when what may be fetched. Nil: at once.
type Schedule interface {
	// Urgent says that somebody waits for a transfer; background transfers stand still until done is called.
	Urgent() (done func())
	// Background waits until n bytes may be fetched in the background. turn ends when something urgent begins: what is
	// under way is cancelled then and asked for again in a later turn. end gives the turn back.
	Background(ctx context.Context, n int) (turn context.Context, end func(), err error)
}

// plainSchedule lets the background run whenever nothing is urgent.
type plainSchedule struct {
	mu     sync.Mutex
	urgent int
	calm   chan struct{}                    // closed when nothing is urgent any more; nil while nothing is
	turns  map[*context.CancelFunc]struct{} // under way
}

func newPlainSchedule() *plainSchedule {
	return &plainSchedule{turns: map[*context.CancelFunc]struct{}{}}
}

func (s *plainSchedule) Urgent() (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.urgent++; s.urgent == 1 {
		s.calm = make(chan struct{})
		for cancel := range s.turns {
			(*cancel)()
		}
		clear(s.turns)
	}
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.urgent--; s.urgent == 0 {
			close(s.calm)
			s.calm = nil
		}
	})
}

func (s *plainSchedule) Background(ctx context.Context, _ int) (context.Context, func(), error) {
	for {
		s.mu.Lock()
		calm := s.calm
		if calm == nil {
			turn, cancel := context.WithCancel(ctx)
			s.turns[&cancel] = struct{}{}
			s.mu.Unlock()
			return turn, func() {
				cancel()
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.turns, &cancel)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-calm:
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("assets: wait for a turn: %w", context.Cause(ctx))
		}
	}
}

// urgency holds one claim of a project on the schedule for as long as any block is urgent, and a little longer: a reader
// asks for one block after another, and the background must not start and stop in between.
type urgency struct {
	schedule Schedule

	mu    sync.Mutex
	users int
	done  func()
	timer *time.Timer
}

func (u *urgency) enter() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.users++
	if u.timer != nil {
		u.timer.Stop()
		u.timer = nil
	}
	if u.done == nil {
		u.done = u.schedule.Urgent()
	}
}

func (u *urgency) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.users--; u.users > 0 {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(lingerUrgent, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.timer == timer {
			u.end()
		}
	})
	u.timer = timer
}

// end gives the claim back; u.mu is held.
func (u *urgency) end() {
	if u.timer != nil {
		u.timer.Stop()
		u.timer = nil
	}
	if u.done != nil {
		u.done()
		u.done = nil
	}
}

// close gives the claim back at once; nobody enters any more.
func (u *urgency) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.end()
}
