package live

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/studio-whip/collab/internal/task"
	"github.com/studio-whip/collab/sync/journal"
)

// docID is a document's identifier.
type docID = [16]byte

// outbox gathers local updates so that typing does not cost a signature for each key: an isolated edit leaves at once,
// then at most one batch leaves for each document in every [coalesce] interval, and all documents together no faster
// than others take them. Each batch becomes one envelope.
type outbox struct {
	send   func(ctx context.Context, doc docID, updates [][]byte) error
	now    func() time.Time
	budget *budget

	mu   sync.Mutex
	docs map[docID]*queue
	wake chan struct{}
	turn chan struct{} // who puts its token here hands over, so that batches of a document keep their order
}

// queue is what waits of one document.
type queue struct {
	updates [][]byte
	next    time.Time     // no batch leaves before
	delay   time.Duration // after a failure
}

func newOutbox(now func() time.Time, b *budget, send func(context.Context, docID, [][]byte) error) *outbox {
	return &outbox{
		send: send, now: now, budget: b, docs: map[docID]*queue{},
		wake: make(chan struct{}, 1), turn: make(chan struct{}, 1),
	}
}

// add queues an update. It never waits for the network or the disk.
func (o *outbox) add(doc docID, update []byte) {
	o.mu.Lock()
	q := o.of(doc)
	q.updates = append(q.updates, update)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// of returns a document's queue; o.mu is held.
func (o *outbox) of(doc docID) *queue {
	q := o.docs[doc]
	if q == nil {
		q = &queue{}
		o.docs[doc] = q
	}
	return q
}

// len is how many updates wait.
func (o *outbox) len() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, q := range o.docs {
		n += len(q.updates)
	}
	return n
}

// start serves the outbox until the group stops.
func (o *outbox) start(g *task.Group, failed func(error)) {
	g.Go("outbox", func(ctx context.Context) error { return o.serve(ctx, failed) })
}

// serve hands over batches when they are due.
func (o *outbox) serve(ctx context.Context, failed func(error)) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, err := o.handOver(ctx, false)
		if err != nil && ctx.Err() == nil {
			failed(err)
		}
		timer.Stop()
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-o.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// flush hands over everything that is queued, at once. What could not be kept is tried again later.
func (o *outbox) flush(ctx context.Context) error {
	_, err := o.handOver(ctx, true)
	return err
}

// handOver sends the batches that are due, or all, each document's once at most, and says after how long the next one
// is due; 0 if none waits.
func (o *outbox) handOver(ctx context.Context, all bool) (wait time.Duration, err error) {
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return 0, fmt.Errorf("live: hand edits over: %w", ctx.Err())
	}
	tried := map[docID]bool{}
	var errs []error
	for {
		doc, updates := o.take(all, tried)
		if updates == nil {
			return o.wait(), errors.Join(errs...)
		}
		tried[doc] = true
		e := o.send(ctx, doc, updates)
		o.sent(doc, updates, e)
		if e != nil {
			errs = append(errs, e)
		}
	}
}

// take removes the batch of the document that has waited longest among those that are due.
func (o *outbox) take(all bool, tried map[docID]bool) (doc docID, updates [][]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	var first *queue
	for id, q := range o.docs {
		due := all || !q.next.After(now)
		if len(q.updates) > 0 && due && !tried[id] && (first == nil || q.next.Before(first.next)) {
			doc, first = id, q
		}
	}
	if first == nil || !o.budget.take(now, 0) && !all {
		return docID{}, nil
	}
	updates, first.updates = first.updates, nil
	first.next = now.Add(coalesce)
	return doc, updates
}

// sent notes what became of a batch. One that may yet be kept goes back before what came since; of one that never can
// be, whoever made it is told, and that is all.
func (o *outbox) sent(doc docID, updates [][]byte, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.of(doc)
	if err == nil || hopeless(err) {
		q.delay = 0
		return
	}
	q.updates = append(updates, q.updates...)
	q.delay = min(max(2*q.delay, coalesce), lastRetry)
	q.next = o.now().Add(q.delay)
}

// hopeless reports whether the journal will never take an edit. It has undone it then.
func hopeless(err error) bool {
	for _, e := range []error{journal.ErrReadOnly, journal.ErrTooLarge, journal.ErrContent, journal.ErrUnknownDoc, journal.ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// wait says after how long the next batch is due, 0 if none waits, and forgets the documents that are quiet.
func (o *outbox) wait() (wait time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	for doc, q := range o.docs {
		left := min(q.next.Sub(now), lastRetry) // whatever the clock does
		switch {
		case len(q.updates) > 0:
			left = max(left, time.Millisecond)
			if wait == 0 || left < wait {
				wait = left
			}
		case left <= 0:
			delete(o.docs, doc)
		}
	}
	if wait > 0 {
		wait = max(wait, o.budget.after(now, 0))
	}
	return wait
}
