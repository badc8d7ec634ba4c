package live

import (
	"context"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/sync/envelope"
)

// checked is what the validator has found in a message, for the receiver.
type checked struct {
	from      identity.DeviceID
	envelope  *envelope.Envelope
	ephemeral *envelope.Ephemeral
	head      *head
}

// validate is strict introduction on the wire. It goes from cheap to dear: size, encoding, project, roster, chain
// introduced, repetition, rate, and only then the signature.
//
// Ignore is for what cannot be judged yet, Reject for what no honest member would forward. What the author did wrong
// in substance (role, epoch, cut) is for the journal to judge, and no fault of the forwarder.
func (t *Topic) validate(_ context.Context, from peer.ID, msg *pubsub.Message) pubsub.ValidationResult {
	if from == t.gossip.self {
		return pubsub.ValidationAccept
	}
	m, err := parseMessage(msg.Data)
	if err != nil {
		return pubsub.ValidationReject
	}
	forwarder, ok := t.deviceOf(from)
	if !ok {
		return pubsub.ValidationIgnore
	}
	c := &checked{from: forwarder}
	result := pubsub.ValidationReject
	switch m.Kind {
	case kindEnvelope, kindIntroduction:
		result = t.validateEnvelope(m, c)
	case kindEphemeral:
		result = t.validateEphemeral(m, c)
	case kindHead:
		result = t.validateHead(m, c)
	}
	if result == pubsub.ValidationAccept {
		msg.ValidatorData = c
	}
	return result
}

func (t *Topic) validateEnvelope(m *message, c *checked) pubsub.ValidationResult {
	e, err := envelope.Parse(m.Record)
	if err != nil || e.Project != t.cfg.Project.ID() {
		return pubsub.ValidationReject
	}
	if (e.Kind == envelope.KindIntroduction) != (m.Kind == kindIntroduction) {
		return pubsub.ValidationReject
	}
	author, ok := t.author(e.Device)
	if !ok {
		return pubsub.ValidationIgnore // not, not yet or no longer a member here
	}
	if m.Kind == kindIntroduction && !introduces(m, author) {
		return pubsub.ValidationReject
	}
	held := t.cfg.Journal.HeldTo(e.Device, e.ChainNo)
	if held == 0 && m.Kind != kindIntroduction {
		t.cfg.OnGap()
		return pubsub.ValidationIgnore // nobody speaks before their introduction
	}
	if e.Seq <= held {
		return pubsub.ValidationIgnore
	}
	if !t.limiter.allow(e.Device, t.cfg.Now()) {
		return pubsub.ValidationIgnore
	}
	if e.Verify(author.Cert.DK) != nil {
		return pubsub.ValidationReject
	}
	c.envelope = e
	return pubsub.ValidationAccept
}

// introduces reports whether the certificates beside an introduction are those of its author.
func introduces(m *message, author *governance.Device) bool {
	device, err := identity.ParseDeviceCert(m.Device)
	if err != nil || device.ID != author.Cert.ID {
		return false
	}
	person, err := identity.ParseIdentityCert(m.Identity)
	return err == nil && device.VerifyIdentity(person) == nil
}

func (t *Topic) validateEphemeral(m *message, c *checked) pubsub.ValidationResult {
	e, err := envelope.ParseEphemeral(m.Record)
	if err != nil || e.Project != t.cfg.Project.ID() {
		return pubsub.ValidationReject
	}
	author, ok := t.author(e.Device)
	if !ok {
		return pubsub.ValidationIgnore
	}
	if t.cfg.Journal.HeldTo(e.Device, e.ChainNo) == 0 {
		t.cfg.OnGap()
		return pubsub.ValidationIgnore
	}
	if !t.limiter.allow(e.Device, t.cfg.Now()) {
		return pubsub.ValidationIgnore
	}
	if e.Verify(author.Cert.DK) != nil {
		return pubsub.ValidationReject
	}
	c.ephemeral = e
	return pubsub.ValidationAccept
}

// validateHead passes a hint about what is not held. It is unsigned: at worst it costs a round of anti-entropy, and it
// is rated as its forwarder's.
func (t *Topic) validateHead(m *message, c *checked) pubsub.ValidationResult {
	if _, ok := t.author(m.Head.Device); !ok || !t.limiter.allow(c.from, t.cfg.Now()) {
		return pubsub.ValidationIgnore
	}
	if m.Head.Seq <= t.cfg.Journal.HeldTo(m.Head.Device, m.Head.ChainNo) {
		return pubsub.ValidationIgnore
	}
	c.head = m.Head
	return pubsub.ValidationAccept
}

// author returns a live device of the project.
func (t *Topic) author(id identity.DeviceID) (*governance.Device, bool) {
	d, ok := t.cfg.Project.State().Device(id)
	if !ok || !d.Live {
		return nil, false
	}
	return d, true
}
