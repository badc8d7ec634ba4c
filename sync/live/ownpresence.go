package live

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

// ownState is this client's state in a document.
type ownState struct {
	json  []byte    // nil: goodbye is to be said
	sent  time.Time // zero: never
	dirty bool      // not sent as it is
}

// set changes an own state; nil clears it.
func (p *presences) set(doc docID, state []byte) {
	p.mu.Lock()
	o := p.own[doc]
	if o == nil && state != nil {
		o = &ownState{}
		p.own[doc] = o
	}
	if o != nil {
		o.json, o.dirty = state, true
	}
	p.mu.Unlock()
	p.signal()
}

// renew sends own states again soon: somebody may not know them.
func (p *presences) renew() {
	p.mu.Lock()
	for _, o := range p.own {
		o.dirty = o.dirty || o.json != nil
	}
	p.mu.Unlock()
	p.signal()
}

// servePresence sends own states when they are due, drops those of others that were not renewed, and forgets what is of
// no use any more.
func (t *Topic) servePresence(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var hailAt time.Time // zero: nobody has come
	var payAt time.Time
	for {
		now := t.cfg.Now()
		wait := min(t.hail(now, &hailAt), t.payRound(now, &payAt))
		t.order.sweep(t.live)
		t.passed.sweep(now)
		for _, l := range []*limiter{t.rates, t.hints, t.faults} {
			l.sweep(now)
		}
		timer.Reset(min(wait, t.sendDue(ctx), t.dropStale(now)))
		select {
		case <-timer.C:
		case <-t.presence.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// hail names own heads a moment after somebody has come, and says when to look again.
func (t *Topic) hail(now time.Time, at *time.Time) (wait time.Duration) {
	if t.presence.hail.Swap(false) && at.IsZero() {
		*at = now.Add(hailAfter)
	}
	if at.IsZero() {
		return presenceRenew
	}
	if left := at.Sub(now); left > 0 && left <= hailAfter {
		return left
	}
	*at = time.Time{}
	for _, h := range t.progress.heads(t.cfg.Device.ID) {
		t.publish(wire.Marshal(message{Kind: kindHead, Head: &h, Salt: rand.Uint64()}))
	}
	return presenceRenew
}

// sendDue sends the states that changed at least 250 ms after the last time, and renews the rest every 15 s. It says
// when the next one is due.
func (t *Topic) sendDue(ctx context.Context) (wait time.Duration) {
	now := t.cfg.Now()
	due, wait := t.presence.due(now)
	for doc, state := range due {
		if !t.budget.take(now, presenceReserve) {
			return min(wait, t.budget.after(now, presenceReserve))
		}
		wait = min(wait, t.sendPresence(ctx, doc, state))
	}
	return wait
}

// due lists the own states that are to be sent, and says after how long the next one is.
func (p *presences) due(now time.Time) (due map[docID][]byte, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	due, wait = map[docID][]byte{}, presenceRenew
	for doc, o := range p.own {
		every := presenceRenew
		if o.dirty {
			every = presenceEvery
		}
		left := min(o.sent.Add(every).Sub(now), every) // whatever the clock does
		switch {
		case left > 0:
			wait = min(wait, left)
		case o.json == nil && !o.dirty:
			delete(p.own, doc) // goodbye was said
		default:
			due[doc] = o.json
		}
	}
	return due, wait
}

// sendPresence sends one state and says when it is due again.
func (t *Topic) sendPresence(ctx context.Context, doc docID, state []byte) time.Duration {
	err := t.sendEphemeral(ctx, envelope.Presence, wire.Marshal(presencePayload{Doc: doc, State: state}))
	if err != nil {
		if !errors.Is(err, ErrNotReady) {
			t.cfg.Logger.Debug("live: presence not sent", "err", err)
		}
		return presenceEvery
	}
	p := t.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.own[doc]
	o.sent = t.cfg.Now()
	if !bytes.Equal(o.json, state) {
		return presenceEvery
	}
	o.dirty = false
	return presenceRenew
}

// goodbye tells the others that this client leaves every document. It is a courtesy: unsaid, they find out.
func (t *Topic) goodbye(ctx context.Context) {
	p := t.presence
	p.mu.Lock()
	var docs []docID
	for doc, o := range p.own {
		if !o.sent.IsZero() && (o.json != nil || o.dirty) {
			docs = append(docs, doc)
		}
	}
	clear(p.own)
	p.mu.Unlock()
	for _, doc := range docs {
		if t.sendEphemeral(ctx, envelope.Presence, wire.Marshal(presencePayload{Doc: doc})) != nil {
			return
		}
	}
}
