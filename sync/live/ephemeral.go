package live

import (
	"context"
	"errors"
	"fmt"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

// ErrTooLarge means that a message exceeds its cap; put large things into a document.
var ErrTooLarge = errors.New("live: message too large")

// ErrNotReady means that no key is usable for sending yet; try again when the status says synced.
var ErrNotReady = errors.New("live: no project key is usable for sending yet")

// Message is an application message from a member.
type Message struct {
	From    identity.MemberID
	Device  identity.DeviceID
	Topic   string
	Payload []byte
}

// presencePayload is the sealed content of a presence record; no state means that the client has gone.
type presencePayload struct {
	Doc   docID  `cbor:"1,keyasint"`
	State []byte `cbor:"2,keyasint,omitempty"`
}

// messagePayload is the sealed content of an application message.
type messagePayload struct {
	Topic   string `cbor:"1,keyasint"`
	Payload []byte `cbor:"2,keyasint"`
}

// counter orders own ephemeral records: at is the chain's last envelope, n counts since.
type counter struct{ at, n uint64 }

// Send publishes an application message to the members who are connected.
func (t *Topic) Send(ctx context.Context, topic string, payload []byte) error {
	if len(payload) > MaxApplication {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxApplication)
	}
	if err := wire.CheckText(topic, MaxTopic); err != nil {
		return fmt.Errorf("live: topic of a message: %w", err)
	}
	return t.sendEphemeral(ctx, envelope.Message, wire.Marshal(messagePayload{Topic: topic, Payload: payload}))
}

// sendEphemeral seals, signs and publishes a record that is outside the chain and never stored.
func (t *Topic) sendEphemeral(ctx context.Context, kind envelope.EphemeralKind, payload []byte) error {
	// Others take nothing from who has not introduced themselves.
	introduced, err := t.cfg.Journal.Introduce(ctx)
	if err != nil {
		return err
	}
	t.sendMu.Lock()
	defer t.sendMu.Unlock()
	chain, open := t.cfg.Journal.Chain()
	epochID, key, usable := t.cfg.Project.SendingEpoch()
	if !introduced || !open || !usable {
		return ErrNotReady
	}
	if chain.Seq != t.count.at {
		t.count = counter{at: chain.Seq}
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
	t.publish(ctx, wire.Marshal(message{Kind: kindEphemeral, Record: record.Raw}))
	return nil
}

// heads names at most as many governance heads as a record holds.
func (t *Topic) heads() []governance.EventID {
	heads := t.cfg.Project.Heads()
	return heads[:min(len(heads), envelope.MaxHeads)]
}

// takeEphemeral opens a record whose signature was checked.
func (t *Topic) takeEphemeral(e *envelope.Ephemeral) {
	author, ok := t.author(e.Device)
	if !ok || !t.presence.newer(e) {
		return
	}
	key, ok := t.cfg.Project.EpochKey(e.Epoch)
	if !ok {
		return
	}
	payload, err := e.Open(epoch.ContentKey(key, e.Epoch, e.Device, e.ChainNo, docID{}))
	if err != nil {
		t.cfg.Logger.Debug("ephemeral record does not open", "author", e.Device.Short())
		return
	}
	switch e.Kind {
	case envelope.Presence:
		t.takePresence(e, author.Member, payload)
	case envelope.Message:
		var m messagePayload
		if wire.Unmarshal(payload, &m, MaxMessage) != nil || wire.CheckText(m.Topic, MaxTopic) != nil || len(m.Payload) > MaxApplication {
			return
		}
		t.cfg.OnMessage(Message{From: author.Member, Device: e.Device, Topic: m.Topic, Payload: m.Payload})
	}
}
