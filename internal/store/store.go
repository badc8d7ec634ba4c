// Package store keeps opaque records on disk, crash-safe and sealed: logs (numbered records, appended) and maps
// (records by key), in one file that one process at a time may open. It knows no domain type.
//
// Open it with [Open]. [Store.View] reads, [Store.Update] writes and is durable when it returns; [Store.Queue] hands
// a write to the group commit and returns at once, [Store.Flush] waits until what was queued is durable. View and
// Update see what was queued before them. With Options.Memory the same store lives in memory only.
//
// What is promised: a write of one function is applied whole or not at all; what Update or Flush acknowledged
// survives the death of the process and, if the disk keeps its word about syncing, of the machine; nothing but the
// tree structure and the format's magic can be read from the file without the key; a file that is truncated,
// foreign, altered or sealed under another key gives a typed error. What is not: a thief who may also write to the
// disk can bring back an older copy of the file or of a value, and the loss of a whole map entry by damage of the
// tree is not noticed here.
//
// The file format is in SPEC.md.
package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Options say how to open a store.
type Options struct {
	// Key seals everything; it must be random and kept secret. The same key opens the file again. A file needs one;
	// the zero key is refused.
	Key [32]byte
	// Memory keeps the store in memory: the path is ignored, nothing touches the disk, Close forgets all.
	Memory bool
	// OnError, if set, is called once, from the store's own goroutine, when the store stops because a commit or a
	// queued write failed. It must not call Close.
	OnError func(error)
}

// Format keeps the key out of logs.
func (o Options) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{memory: %t, redacted}", o.Memory)
}

// MarshalJSON keeps the key out of logs.
func (o Options) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// Store is an open store. It is safe for concurrent use.
type Store struct {
	onError func(error)
	keys    *keys
	release func() error // gives back the lock of the file

	mu     sync.Mutex // held for the life of every write transaction
	be     backend
	open   *txn   // queued writes applied but not yet committed; nil if none
	upTo   uint64 // the last ticket applied to open
	closed bool

	queue queue
	wake  chan struct{} // something was queued
	hurry chan struct{} // somebody waits for it
	stop  chan struct{}
	done  chan struct{} // the writer has ended

	closeOnce sync.Once
	closeErr  error
}

// Open opens the store at path, a file that it creates, with its folder, if there is none. Beside it lies path +
// ".lock". The error is or wraps [ErrInUse], [ErrDamaged], [ErrWrongKey], [ErrDiskFull], or says why the file cannot
// be read.
func Open(path string, o Options) (*Store, error) {
	be, k, release, err := openBackend(path, o)
	if err != nil {
		return nil, err
	}
	return start(be, k, release, o.OnError), nil
}

func openBackend(path string, o Options) (backend, *keys, func() error, error) {
	if o.Memory {
		k, err := newKeys(o.Key)
		return newMemory(), k, func() error { return nil }, err
	}
	if o.Key == [32]byte{} {
		return nil, nil, nil, errors.New("store: no key; give the one that seals this file")
	}
	release, err := lock(path)
	if err != nil {
		return nil, nil, nil, err
	}
	be, k, err := openFile(path, o.Key)
	if err != nil {
		_ = release()
		return nil, nil, nil, err
	}
	return be, k, release, nil
}

func start(be backend, k *keys, release func() error, onError func(error)) *Store {
	s := &Store{
		onError: onError,
		keys:    k,
		release: release,
		be:      be,
		wake:    make(chan struct{}, 1),
		hurry:   make(chan struct{}, 1),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	go s.serve()
	return s
}

// View runs fn on one consistent state of the store, which contains all that was queued before. fn must not write,
// must not keep the Tx, and must not call View, Update, Flush or Close. The error is fn's, or [ErrDamaged],
// [ErrClosed], or the one that stopped the store.
func (s *Store) View(fn func(*Tx) error) error {
	s.mu.Lock()
	if err := s.usable(); err != nil {
		s.mu.Unlock()
		return err
	}
	if s.queue.empty() && s.open == nil {
		raw, err := s.be.begin(false)
		s.mu.Unlock()
		if err != nil {
			return classify("begin", err)
		}
		defer raw.rollback()
		return run(newTxn(raw, s.keys), false, fn)
	}
	defer s.mu.Unlock()
	if err := s.apply(); err != nil {
		return err
	}
	return run(s.open, false, fn)
}

// Update runs fn in a transaction of its own, after all that was queued before, and returns when it is durable. If
// fn fails nothing is written and its error is returned. fn must not call View, Update, Flush or Close. A commit
// that fails stops the store: it must be closed and opened again.
func (s *Store) Update(fn func(*Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.commit(); err != nil {
		return err
	}
	raw, err := s.be.begin(true)
	if err != nil {
		return classify("begin", err)
	}
	committed := false
	defer func() {
		if !committed {
			raw.rollback()
		}
	}()
	t := newTxn(raw, s.keys)
	if err := run(t, true, fn); err != nil {
		return err
	}
	committed = true
	if err := t.commit(); err != nil {
		return s.fail(err)
	}
	return nil
}

// Queue hands fn to the group commit, which follows within 20 ms, and returns at once. Queued functions run in the
// order of the calls, later and on another goroutine; fn must own what it writes and must not call the store. If fn
// fails the store stops: Flush and every later call return the error. Queue itself fails only if the store is
// closed or has stopped. It never waits for the disk, so who writes without pause must flush now and then, or the
// queue grows.
func (s *Store) Queue(fn func(*Tx) error) error {
	if err := s.queue.push(fn); err != nil {
		return err
	}
	signal(s.wake)
	return nil
}

// Flush returns when all that was queued before the call is durable. It fails with the error that stopped the
// store, with [ErrClosed], or with the context's; the writes then may or may not become durable.
func (s *Store) Flush(ctx context.Context) error {
	wait, err := s.queue.wait()
	if wait == nil {
		return err
	}
	signal(s.hurry)
	select {
	case err := <-wait:
		return err
	case <-ctx.Done():
		return fmt.Errorf("store: flush: %w", ctx.Err())
	}
}

// Err returns the error that stopped the store, or nil.
func (s *Store) Err() error { return s.queue.failure() }

// Close commits what was queued, waits for the store's goroutine and running views, and gives back the file. It
// returns the error that stopped the store, if one did. Closing again returns the same.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.queue.close()
		close(s.stop)
		<-s.done
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed = true
		s.closeErr = s.queue.failure()
		for _, err := range []error{s.be.close(), s.release()} {
			if s.closeErr == nil && err != nil {
				s.closeErr = classify("close", err)
			}
		}
	})
	return s.closeErr
}

// usable reports why no transaction may start. s.mu is held.
func (s *Store) usable() error {
	if s.closed {
		return ErrClosed
	}
	return s.queue.failure()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
