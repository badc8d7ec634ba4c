package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

// Message is an application message from a member.
type Message struct {
	From    identity.MemberID
	Device  identity.DeviceID
	Topic   string
	Payload []byte
}

// outgoing is an own message on its way; one with done only says when what was before it has gone.
type outgoing struct {
	payload []byte
	done    chan struct{}
}

// Send publishes an application message, at most [MaxApplication] bytes under a topic of at most [MaxTopic], to the
// members who are connected. It does not wait: the message leaves within milliseconds, as soon as this session is
// introduced. It fails with [ErrTooLarge], [ErrNotReady], [ErrTooFast] or [ErrClosed].
func (t *Topic) Send(ctx context.Context, topic string, payload []byte) error {
	if err := checkApplication(topic, payload); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("live: send: %w", err)
	}
	if t.closed.Load() {
		return ErrClosed
	}
	if _, _, usable := t.cfg.Project.SendingEpoch(); !usable {
		return ErrNotReady
	}
	if !t.budget.take(t.cfg.Now(), messageReserve) {
		return ErrTooFast
	}
	select {
	case t.messages <- outgoing{payload: wire.Marshal(messagePayload{Topic: topic, Payload: bytes.Clone(payload)})}:
		return nil
	default:
		return ErrTooFast
	}
}

func checkApplication(topic string, payload []byte) error {
	if len(payload) > MaxApplication {
		return fmt.Errorf("%w: message of %d bytes, at most %d", ErrTooLarge, len(payload), MaxApplication)
	}
	if err := wire.CheckText(topic, MaxTopic); err != nil {
		return fmt.Errorf("live: topic of a message: %w", err)
	}
	return nil
}

// serveMessages sends what Send has queued, in order.
func (t *Topic) serveMessages(ctx context.Context) error {
	for {
		select {
		case m := <-t.messages:
			if m.done != nil {
				close(m.done)
			} else if err := t.sendMessage(ctx, m.payload); err != nil && ctx.Err() == nil {
				t.cfg.Logger.Warn("live: message not sent", "err", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (t *Topic) sendMessage(ctx context.Context, payload []byte) error {
	ctx, cancel := context.WithTimeout(ctx, messageWait)
	defer cancel()
	for {
		err := t.sendEphemeral(ctx, envelope.Message, payload)
		if !errors.Is(err, ErrNotReady) || t.closed.Load() {
			return err
		}
		select {
		case <-time.After(messageRetry):
		case <-ctx.Done():
			return err
		}
	}
}

// drainMessages waits until what was queued has gone.
func (t *Topic) drainMessages(ctx context.Context) {
	done := make(chan struct{})
	select {
	case t.messages <- outgoing{done: done}:
	case <-ctx.Done():
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// sendEphemeral seals, signs and publishes a record that is outside the chain and never stored. Others take nothing
// from who has not introduced themselves, so it fails with ErrNotReady until the introduction has gone out.
func (t *Topic) sendEphemeral(ctx context.Context, kind envelope.EphemeralKind, payload []byte) error {
	if err := t.introduce(ctx); err != nil {
		return err
	}
	t.sendMu.Lock()
	defer t.sendMu.Unlock()
	chain, open := t.cfg.Journal.Chain()
	epochID, key, usable := t.cfg.Project.SendingEpoch()
	if !open || !usable || !t.progress.mayFollow(chain.ChainNo, t.cfg.Now()) {
		return ErrNotReady
	}
	// Named is the newest envelope that has gone out: one that others were not sent yet would look like a gap to them.
	chain.Seq = t.progress.published(chain)
	if chain.Seq != t.count.at || chain.ChainNo != t.counted {
		t.count, t.counted = counter{at: chain.Seq}, chain.ChainNo
	}
	t.count.n++
	record, err := envelope.SealEphemeral(t.cfg.Random, t.cfg.Keys.DK, envelope.EphemeralDraft{
		Kind: kind, Chain: chain, N: t.count.n, GovHeads: t.heads(), Epoch: epochID,
		Key:     epoch.ContentKey(key, epochID, chain.Device, chain.ChainNo, docID{}),
		Payload: payload,
	})
	if err != nil {
		return fmt.Errorf("live: seal: %w", err)
	}
	t.publish(wire.Marshal(message{Kind: kindEphemeral, Record: record.Raw}))
	return nil
}

// introduce has the journal introduce this session on its chain. The journal is not asked again once it has done so.
func (t *Topic) introduce(ctx context.Context) error {
	chain, open := t.cfg.Journal.Chain()
	if open && t.progress.isIntroduced(chain.ChainNo) {
		return nil
	}
	done, err := t.cfg.Journal.Introduce(ctx)
	if err != nil {
		return fmt.Errorf("live: %w", err)
	}
	if chain, open = t.cfg.Journal.Chain(); !done || !open {
		return ErrNotReady
	}
	t.progress.noteIntroduced(chain.ChainNo, t.cfg.Now())
	return nil
}

// heads names at most as many governance heads as a record holds.
func (t *Topic) heads() []governance.EventID {
	heads := t.cfg.Project.Heads()
	return heads[:min(len(heads), envelope.MaxHeads)]
}
