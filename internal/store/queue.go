package store

import (
	"fmt"
	"sync"
	"time"
)

// queue holds the writes that wait for the group commit. Tickets number them from 1; all up to durable are on disk.
type queue struct {
	mu      sync.Mutex
	fns     []func(*Tx) error
	queued  uint64
	durable uint64
	waiters []waiter
	err     error // what stopped the store
	closed  bool
}

type waiter struct {
	ticket uint64
	done   chan error // buffered: nobody need listen
}

func (q *queue) push(fn func(*Tx) error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return q.err
	}
	if q.closed {
		return ErrClosed
	}
	q.fns = append(q.fns, fn)
	q.queued++
	return nil
}

// take removes all waiting writes and returns the ticket of the last.
func (q *queue) take() ([]func(*Tx) error, uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	fns := q.fns
	q.fns = nil
	return fns, q.queued
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.fns) == 0
}

// wait returns nil and the outcome if it is known already, else a channel that delivers it.
func (q *queue) wait() (<-chan error, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.err != nil:
		return nil, q.err
	case q.durable >= q.queued && q.closed:
		return nil, ErrClosed
	case q.durable >= q.queued:
		return nil, nil
	}
	w := waiter{q.queued, make(chan error, 1)}
	q.waiters = append(q.waiters, w)
	return w.done, nil
}

// reached tells the waiters that all up to ticket is durable.
func (q *queue) reached(ticket uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.durable = max(q.durable, ticket)
	rest := q.waiters[:0]
	for _, w := range q.waiters {
		if w.ticket <= q.durable {
			w.done <- nil
		} else {
			rest = append(rest, w)
		}
	}
	q.waiters = rest
}

// fail stops the queue for good with its first error, and returns that.
func (q *queue) fail(err error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
	q.fns = nil
	for _, w := range q.waiters {
		w.done <- q.err
	}
	q.waiters = nil
	return q.err
}

func (q *queue) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// serve is the writer: it commits what is queued, at the latest commitWindow after the first of it.
func (s *Store) serve() {
	defer close(s.done)
	window := time.NewTimer(commitWindow)
	defer window.Stop()
	for stopped := false; !stopped; {
		select {
		case <-s.wake:
			window.Reset(commitWindow)
			select {
			case <-window.C:
			case <-s.hurry:
			case <-s.stop:
			}
		case <-s.stop:
			stopped = true
		}
		s.mu.Lock()
		if s.usable() == nil {
			_ = s.commit() // kept in the queue, told to those who wait
		}
		s.mu.Unlock()
		s.report()
	}
}

// report tells the owner once why the store has stopped.
func (s *Store) report() {
	if err := s.queue.failure(); err != nil && s.onError != nil {
		s.onError(err)
		s.onError = nil // only this goroutine reads it
	}
}

// fail stops the store and wakes the writer, which reports it.
func (s *Store) fail(err error) error {
	err = s.queue.fail(classify("commit", err))
	signal(s.wake)
	signal(s.hurry)
	return err
}

// apply brings all queued writes into the open transaction, which it begins if needed. If one fails the whole group
// is dropped and the store stops: what follows may build on it. s.mu is held.
func (s *Store) apply() error {
	fns, upTo := s.queue.take()
	if len(fns) == 0 {
		return nil
	}
	if s.open == nil {
		raw, err := s.be.begin(true)
		if err != nil {
			return s.fail(err)
		}
		s.open = newTxn(raw, s.keys)
	}
	applied := false
	defer func() {
		if !applied { // also if fn panics
			s.open.raw.rollback()
			s.open = nil
		}
	}()
	for _, fn := range fns {
		if err := run(s.open, true, fn); err != nil {
			return s.fail(fmt.Errorf("store: queued write: %w", err))
		}
	}
	applied = true
	s.upTo = upTo
	return nil
}

// commit makes all queued writes durable. s.mu is held.
func (s *Store) commit() error {
	if err := s.apply(); err != nil {
		return err
	}
	if s.open == nil {
		return nil
	}
	t := s.open
	s.open = nil
	if err := t.commit(); err != nil {
		return s.fail(err)
	}
	s.queue.reached(s.upTo)
	return nil
}
