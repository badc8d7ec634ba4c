package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/studio-whip/collab/internal/task"
	"github.com/studio-whip/collab/sync/journal"
)

var (
	docA = docID{'a'}
	docB = docID{'b'}
)

// batch is what the outbox handed over.
type batch struct {
	doc     docID
	updates []string
	at      time.Duration // since the test began
}

// post is an outbox under a clock that stands still until nothing else can happen.
type post struct {
	*outbox
	t      *testing.T
	began  time.Time
	refuse func(docID, []string) error

	lock   sync.Mutex
	out    []batch
	failed []error
}

// handed returns what was handed over so far.
func (p *post) handed() []batch {
	p.lock.Lock()
	defer p.lock.Unlock()
	return slices.Clone(p.out)
}

// told returns the failures so far.
func (p *post) told() []error {
	p.lock.Lock()
	defer p.lock.Unlock()
	return slices.Clone(p.failed)
}

func runPost(t *testing.T, fn func(*post)) {
	synctest.Test(t, func(t *testing.T) {
		p := &post{t: t, began: time.Now()}
		p.outbox = newOutbox(time.Now, newBudget(time.Now()), func(_ context.Context, doc docID, updates [][]byte) error {
			b := batch{doc: doc, at: time.Since(p.began)}
			for _, u := range updates {
				b.updates = append(b.updates, string(u))
			}
			if p.refuse != nil {
				if err := p.refuse(doc, b.updates); err != nil {
					return err
				}
			}
			p.lock.Lock()
			defer p.lock.Unlock()
			p.out = append(p.out, b)
			return nil
		})
		g := task.New(t.Context())
		p.start(g, func(err error) {
			p.lock.Lock()
			defer p.lock.Unlock()
			p.failed = append(p.failed, err)
		})
		synctest.Wait()
		fn(p)
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
}

// pass lets time go by; what becomes due meanwhile happens.
func (p *post) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (p *post) want(want ...batch) {
	p.t.Helper()
	if !slices.EqualFunc(p.handed(), want, func(a, b batch) bool {
		return a.doc == b.doc && slices.Equal(a.updates, b.updates) && a.at == b.at
	}) {
		p.t.Errorf("handed over %v\nwant %v", p.handed(), want)
	}
}

func last(all []batch) batch {
	if len(all) == 0 {
		return batch{}
	}
	return all[len(all)-1]
}

func TestOutboxTyping(t *testing.T) {
	runPost(t, func(p *post) {
		p.add(docA, []byte("1"))
		synctest.Wait()
		p.want(batch{docA, []string{"1"}, 0}) // an isolated edit leaves at once
		p.pass(10 * time.Millisecond)
		p.add(docA, []byte("2"))
		p.pass(10 * time.Millisecond)
		p.add(docA, []byte("3"))
		p.add(docB, []byte("x")) // documents do not wait for each other
		p.pass(100 * time.Millisecond)
		p.want(
			batch{docA, []string{"1"}, 0},
			batch{docB, []string{"x"}, 20 * time.Millisecond},
			batch{docA, []string{"2", "3"}, 50 * time.Millisecond},
		)
		p.add(docA, []byte("4"))
		synctest.Wait()
		if b := last(p.handed()); b.at != 120*time.Millisecond {
			t.Errorf("an edit after a pause left at %v", b.at)
		}
	})
}

// Whatever is typed when: nothing is lost or doubled, a document's order is kept, and its batches are 50 ms apart.
func TestOutboxKeepsEverything(t *testing.T) {
	runPost(t, func(p *post) {
		random, luck := rand.New(rand.NewPCG(7, 7)), rand.New(rand.NewPCG(8, 8))
		want := map[docID][]string{}
		p.refuse = func(docID, []string) error {
			if luck.IntN(10) == 0 {
				return errors.New("disk")
			}
			return nil
		}
		for n := range 2000 {
			doc := docID{byte(random.IntN(3))}
			want[doc] = append(want[doc], fmt.Sprint(n))
			p.add(doc, []byte(fmt.Sprint(n)))
			if random.IntN(3) == 0 {
				p.pass(time.Duration(random.IntN(40)) * time.Millisecond)
			}
		}
		p.pass(time.Minute)
		got, before := map[docID][]string{}, map[docID]time.Duration{}
		for _, b := range p.handed() {
			if at, ok := before[b.doc]; ok && b.at-at < coalesce {
				t.Errorf("two batches %v apart", b.at-at)
			}
			got[b.doc], before[b.doc] = append(got[b.doc], b.updates...), b.at
		}
		for doc := range want {
			if !slices.Equal(got[doc], want[doc]) {
				t.Errorf("document %d: %d updates in the wrong order or number, want %d", doc[0], len(got[doc]), len(want[doc]))
			}
		}
		if len(p.told()) == 0 {
			t.Error("nothing failed")
		}
	})
}

func TestOutboxFlush(t *testing.T) {
	runPost(t, func(p *post) {
		p.add(docA, []byte("1"))
		synctest.Wait()
		p.add(docA, []byte("2"))
		p.add(docA, []byte("3"))
		p.add(docB, []byte("x"))
		if err := p.flush(p.t.Context()); err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, b := range p.handed() {
			total += len(b.updates)
			if b.at != 0 {
				t.Errorf("left at %v", b.at)
			}
		}
		if total != 4 {
			t.Errorf("%d of 4 updates were handed over", total)
		}
	})
}

func TestOutboxFlushWaitsForItsTurn(t *testing.T) {
	runPost(t, func(p *post) {
		release := make(chan struct{})
		p.refuse = func(docID, []string) error { <-release; return nil }
		p.add(docA, []byte("1"))
		synctest.Wait() // being handed over
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Second)
		defer cancel()
		if err := p.flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flush: %v", err)
		}
		close(release)
		if err := p.flush(p.t.Context()); err != nil || len(p.handed()) != 1 {
			t.Errorf("flush: %v, with %d batches handed over", err, len(p.handed()))
		}
	})
}

func TestOutboxTriesAgain(t *testing.T) {
	runPost(t, func(p *post) {
		broken := errors.New("disk full")
		p.refuse = func(doc docID, _ []string) error {
			if doc == docA {
				return broken
			}
			return nil
		}
		p.add(docA, []byte("1"))
		p.pass(20 * time.Millisecond)
		p.add(docA, []byte("2"))
		p.add(docB, []byte("x")) // is not held up
		p.pass(time.Minute)
		p.want(batch{docB, []string{"x"}, 20 * time.Millisecond})
		if n := len(p.told()); n < 5 || n > 30 {
			t.Errorf("%d failures in a minute; the delay should grow to %v", n, lastRetry)
		}
		if err := p.flush(p.t.Context()); !errors.Is(err, broken) {
			t.Errorf("flush: %v", err)
		}
		p.refuse = nil
		p.add(docA, []byte("3"))
		p.pass(2 * lastRetry)
		if b := last(p.handed()); len(p.handed()) != 2 || !slices.Equal(b.updates, []string{"1", "2", "3"}) {
			t.Errorf("after repair: %v", p.handed())
		}
	})
}

func TestOutboxDropsWhatIsHopeless(t *testing.T) {
	for _, why := range []error{
		journal.ErrReadOnly, journal.ErrTooLarge, journal.ErrContent, journal.ErrUnknownDoc, journal.ErrClosed,
	} {
		runPost(t, func(p *post) {
			p.refuse = func(docID, []string) error { return fmt.Errorf("append: %w", why) }
			p.add(docA, []byte("1"))
			p.pass(time.Minute)
			if len(p.told()) != 1 || !errors.Is(p.told()[0], why) {
				t.Errorf("%v: told %v", why, p.told())
			}
			p.refuse = nil
			p.add(docA, []byte("2"))
			p.pass(time.Second)
			p.want(batch{docA, []string{"2"}, time.Minute})
		})
	}
}

// Many documents at once leave no faster than others take one device's messages, and all leave in the end.
func TestOutboxBudget(t *testing.T) {
	runPost(t, func(p *post) {
		const docs, rounds = 40, 100
		for range rounds {
			for n := range docs {
				p.add(docID{byte(n)}, []byte("u"))
			}
			p.pass(coalesce)
		}
		theirs := newLimiter(liveRate, liveBurst)
		for _, b := range p.handed() {
			if !theirs.take(identityOf(1), p.began.Add(b.at)) {
				t.Fatalf("the message at %v is more than others take", b.at)
			}
		}
		p.pass(time.Minute)
		total := 0
		for _, b := range p.handed() {
			total += len(b.updates)
		}
		if total != docs*rounds {
			t.Errorf("%d of %d updates have left", total, docs*rounds)
		}
		p.add(docA, nil)
		p.pass(time.Second)
		p.add(docB, nil)
		p.pass(time.Second)
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.docs) > 1 {
			t.Errorf("%d quiet documents are remembered", len(p.docs))
		}
	})
}
