package live

import (
	"context"
	"sync"
	"time"

	"github.com/studio-whip/collab/sync/envelope"
)

// place is an own envelope's place.
type place struct {
	chainNo uint32
	seq     uint64
}

func (p place) reached(want place) bool {
	return p.chainNo > want.chainNo || p.chainNo == want.chainNo && p.seq >= want.seq
}

// progress is how far this session's own envelopes have gone out. An envelope goes out some milliseconds after it was
// made, once it is durable; ephemeral records do not wait for the disk and must not overtake the introduction.
type progress struct {
	mu         sync.Mutex
	changed    chan struct{} // closed and replaced when something has gone out
	made, gone place

	chainNo    uint32 // that was introduced
	introduced bool   // by the journal, on chainNo
	since      time.Time
	out        bool // and that has gone out
}

func newProgress() *progress { return &progress{changed: make(chan struct{})} }

// noteMade notes an envelope that the journal has made.
func (p *progress) noteMade(e *envelope.Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := (place{e.ChainNo, e.Seq}); !p.made.reached(at) {
		p.made = at
	}
}

// noteGone notes one that was published.
func (p *progress) noteGone(e *envelope.Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := (place{e.ChainNo, e.Seq}); !p.gone.reached(at) {
		p.gone = at
	}
	if e.Kind == envelope.KindIntroduction && (!p.introduced || e.ChainNo >= p.chainNo) {
		p.chainNo, p.introduced, p.out = e.ChainNo, true, true
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// noteIntroduced notes that the journal has an introduction of this session on a chain.
func (p *progress) noteIntroduced(chainNo uint32, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.introduced || p.chainNo != chainNo {
		p.chainNo, p.introduced, p.out, p.since = chainNo, true, false, now
	}
}

// isIntroduced reports whether there is one, and mayFollow whether other records may be published after it.
func (p *progress) isIntroduced(chainNo uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.introduced && p.chainNo == chainNo
}

func (p *progress) mayFollow(chainNo uint32, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.introduced || p.chainNo != chainNo {
		return false
	}
	// One that the journal made before anybody listened to it is served by anti-entropy.
	return p.out || now.Sub(p.since) >= introductionWait
}

// wait returns when everything that was made has gone out, or ctx ends.
func (p *progress) wait(ctx context.Context) {
	for {
		p.mu.Lock()
		done, changed := p.gone.reached(p.made), p.changed
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
