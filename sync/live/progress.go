package live

import (
	"context"
	"sync"
	"time"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

// progress is how far this session's own envelopes have gone out, for each chain that it writes on. An envelope goes out
// some milliseconds after it was made, once it is durable; ephemeral records do not wait for the disk and must not
// overtake the introduction.
type progress struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something has gone out
	chains  map[uint32]*chainProgress
}

type chainProgress struct {
	made, gone uint64  // numbers of envelopes
	last       wire.ID // of envelope gone

	introduced bool // by the journal
	since      time.Time
	out        bool // and the introduction has gone out
}

func newProgress() *progress {
	return &progress{changed: make(chan struct{}), chains: map[uint32]*chainProgress{}}
}

// of returns what is known of a chain; p.mu is held.
func (p *progress) of(chainNo uint32) *chainProgress {
	c := p.chains[chainNo]
	if c == nil {
		c = &chainProgress{}
		p.chains[chainNo] = c
	}
	return c
}

// noteMade notes an envelope that the journal has made.
func (p *progress) noteMade(e *envelope.Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.of(e.ChainNo)
	c.made = max(c.made, e.Seq)
}

// noteGone notes one that was published.
func (p *progress) noteGone(e *envelope.Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.of(e.ChainNo)
	if e.Seq > c.gone {
		c.gone, c.last = e.Seq, e.ID
	}
	if e.Kind == envelope.KindIntroduction {
		c.introduced, c.out = true, true
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// noteIntroduced notes that the journal has an introduction of this session on a chain.
func (p *progress) noteIntroduced(chainNo uint32, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.of(chainNo); !c.introduced {
		c.introduced, c.since = true, now
	}
}

// isIntroduced reports whether there is one.
func (p *progress) isIntroduced(chainNo uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of(chainNo).introduced
}

// mayFollow reports whether other records of a chain may be published.
func (p *progress) mayFollow(chainNo uint32, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.of(chainNo)
	// An introduction that the journal made before anybody listened to it is served by anti-entropy.
	return c.introduced && (c.out || now.Sub(c.since) >= introductionWait)
}

// published returns the number of a chain's newest envelope that has gone out, or of its newest if that is not known.
func (p *progress) published(chain envelope.ChainHead) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if gone := p.of(chain.ChainNo).gone; gone > 0 {
		return min(gone, chain.Seq)
	}
	return chain.Seq
}

// heads lists the newest envelopes that have gone out.
func (p *progress) heads(device identity.DeviceID) (out []head) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for no, c := range p.chains {
		if c.gone > 0 {
			out = append(out, head{Device: device, ChainNo: no, Seq: c.gone, ID: c.last})
		}
	}
	return out
}

// wait returns when everything that was made has gone out, or ctx ends.
func (p *progress) wait(ctx context.Context) {
	for {
		p.mu.Lock()
		done, changed := true, p.changed
		for _, c := range p.chains {
			done = done && c.gone >= c.made
		}
		p.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
