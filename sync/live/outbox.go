package live

import (
	"context"
	"sync"
	"time"

	"github.com/studio-whip/collab/internal/task"
)

// docID is a document's identifier.
type docID = [16]byte

// outbox gathers local updates so that typing does not cost a signature for each key: an isolated edit leaves at once,
// then at most one batch leaves for each document in every [coalesce] interval. Each batch becomes one envelope.
type outbox struct {
	send func(ctx context.Context, doc docID, updates [][]byte) error
	now  func() time.Time

	mu      sync.Mutex
	waiting map[docID][][]byte
	last    map[docID]time.Time // when the document's last batch left
	wake    chan struct{}
	sending sync.Mutex // held while a batch is handed over, so that batches of a document keep their order
}

func newOutbox(now func() time.Time, send func(context.Context, docID, [][]byte) error) *outbox {
	return &outbox{send: send, now: now, waiting: map[docID][][]byte{}, last: map[docID]time.Time{}, wake: make(chan struct{}, 1)}
}

// add queues an update. It never blocks on the network or the disk.
func (o *outbox) add(doc docID, update []byte) {
	o.mu.Lock()
	o.waiting[doc] = append(o.waiting[doc], update)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// serve hands over batches when they are due.
func (o *outbox) serve(ctx context.Context, failed func(error)) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, err := o.handOver(ctx, o.due)
		if err != nil {
			failed(err)
		}
		if next > 0 {
			timer.Reset(next)
		}
		select {
		case <-o.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// flush hands over everything at once.
func (o *outbox) flush(ctx context.Context) error {
	_, err := o.handOver(ctx, func(docID, time.Time) time.Duration { return 0 })
	return err
}

// due says how long a document's batch has still to wait.
func (o *outbox) due(doc docID, now time.Time) time.Duration {
	last, sent := o.last[doc]
	if !sent {
		return 0
	}
	return max(0, last.Add(coalesce).Sub(now))
}

// handOver sends the batches that need not wait and says after how long the next one is due; 0 if none waits.
func (o *outbox) handOver(ctx context.Context, wait func(docID, time.Time) time.Duration) (next time.Duration, err error) {
	o.sending.Lock()
	defer o.sending.Unlock()
	for {
		doc, updates, after := o.take(wait)
		if updates == nil {
			return after, err
		}
		if e := o.send(ctx, doc, updates); e != nil {
			err = e
			o.putBack(doc, updates)
			return coalesce, err
		}
	}
}

// take removes one batch that need not wait; if there is none it says how long until there is.
func (o *outbox) take(wait func(docID, time.Time) time.Duration) (doc docID, updates [][]byte, next time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	for doc, updates := range o.waiting {
		left := wait(doc, now)
		if left == 0 {
			delete(o.waiting, doc)
			o.last[doc] = now
			return doc, updates, 0
		}
		if next == 0 || left < next {
			next = left
		}
	}
	return docID{}, nil, next
}

// putBack returns a batch that could not be handed over, before what came since.
func (o *outbox) putBack(doc docID, updates [][]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting[doc] = append(updates, o.waiting[doc]...)
}

// start serves the outbox until the group stops.
func (o *outbox) start(g *task.Group, failed func(error)) {
	g.Go("outbox", func(ctx context.Context) error { return o.serve(ctx, failed) })
}
