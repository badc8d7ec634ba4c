package live

import (
	"context"
	"time"

	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/sync/envelope"
	"github.com/studio-whip/collab/sync/journal"
)

// receive takes in what the validator has passed, in order.
func (t *Topic) receive(ctx context.Context) error {
	for {
		msg, err := t.sub.Next(ctx)
		if err != nil {
			return nil // the subscription or the group has ended
		}
		if c, ok := msg.ValidatorData.(*checked); ok { // own messages have none
			t.take(ctx, c)
		}
	}
}

// take hands one checked message to who it is for.
func (t *Topic) take(ctx context.Context, c *checked) {
	t.taking.Lock()
	defer t.taking.Unlock()
	switch {
	case c.envelope != nil:
		t.takeEnvelope(ctx, c)
	case c.ephemeral != nil:
		t.takeEarly(c.ephemeral)
		t.takeEphemeral(c.ephemeral)
	case c.head != nil:
		t.cfg.OnGap()
	}
}

func (t *Topic) takeEnvelope(ctx context.Context, c *checked) {
	t.gossip.passed.In(1, 0)
	verdict, err := t.cfg.Journal.Accept(ctx, c.envelope, c.from)
	if err != nil && ctx.Err() == nil {
		t.cfg.Logger.Debug("live: envelope not taken", "device", c.envelope.Device.Short(), "verdict", verdict.String(), "err", err)
	}
	if verdict == journal.Waiting {
		t.cfg.OnGap()
	}
	if c.envelope.Kind == envelope.KindIntroduction {
		t.early.signal()
	}
}

// handLater gives an envelope to the journal that is not passed on to others.
func (t *Topic) handLater(c *checked) {
	select {
	case t.later <- c:
	default: // anti-entropy brings it
	}
}

// judgeLater takes in what could not be judged when it came.
func (t *Topic) judgeLater(ctx context.Context) error {
	timer := time.NewTimer(0)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case c := <-t.later:
			t.take(ctx, c)
		case <-t.early.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		t.taking.Lock()
		left := t.takeEarly(nil)
		t.taking.Unlock()
		if left {
			timer.Reset(earlyEvery)
		}
	}
}

// takeEarly takes in the early records that can be judged now, of one client only if before is given, and says whether
// any are left. t.taking is held.
func (t *Topic) takeEarly(before *envelope.Ephemeral) (left bool) {
	ready, left := t.early.take(t.cfg.Now(), func(e *envelope.Ephemeral) bool {
		return (before == nil || orderOf(e) == orderOf(before)) && t.judgeable(e)
	})
	for _, e := range ready {
		t.takeEphemeral(e)
	}
	return left
}

// takeEphemeral opens a record whose signature was checked. t.taking is held.
func (t *Topic) takeEphemeral(e *envelope.Ephemeral) {
	author, ok := t.cfg.Project.State().Device(e.Device)
	if !ok || !author.Live {
		return
	}
	key, ok := t.cfg.Project.EpochKey(e.Epoch)
	if !ok || !t.order.advance(e) {
		return
	}
	if e.At > t.cfg.Journal.HeldTo(e.Device, e.ChainNo) {
		t.gap(e.Device) // its author has written what was not received
	}
	payload, err := e.Open(epoch.ContentKey(key, e.Epoch, e.Device, e.ChainNo, docID{}))
	if err != nil {
		t.cfg.Logger.Debug("live: ephemeral record does not open", "device", e.Device.Short())
		return
	}
	switch e.Kind {
	case envelope.Presence:
		t.takePresence(e, author.Member, payload)
	case envelope.Message:
		if t.cfg.Journal.Withheld(e.Device) {
			return // what is not stored cannot be shown later
		}
		if m, err := parseApplication(payload); err == nil {
			t.cfg.OnMessage(Message{From: author.Member, Device: e.Device, Topic: m.Topic, Payload: m.Payload})
		}
	}
}
