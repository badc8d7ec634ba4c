package live

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/sync/envelope"
	"github.com/studio-whip/collab/sync/journal"
)

// The validator's answers. Ignored is what cannot be judged yet, or not afforded; rejected what no honest member
// publishes or passes on. What an author did wrong in substance (role, epoch, cut) is for the journal to judge.
const (
	accepted = pubsub.ValidationAccept
	ignored  = pubsub.ValidationIgnore
	rejected = pubsub.ValidationReject
)

// checked is what the validator has found in a message, for the receiver.
type checked struct {
	from      identity.DeviceID
	envelope  *envelope.Envelope
	ephemeral *envelope.Ephemeral
	head      *head
}

// validate is strict introduction on the wire. It runs on the router's goroutine for all projects, so it calls nothing
// that may wait for long.
func (t *Topic) validate(_ context.Context, from peer.ID, msg *pubsub.Message) pubsub.ValidationResult {
	if from == t.gossip.self {
		return accepted
	}
	t.gossip.passed.In(0, len(msg.Data))
	c, result := t.check(from, msg.Data)
	if result == accepted {
		msg.ValidatorData = c
	}
	return result
}

// check goes from cheap to dear: size and encoding, project, roster, introduction, repetition, rate, signature.
func (t *Topic) check(from peer.ID, data []byte) (*checked, pubsub.ValidationResult) {
	forwarder, ok := deviceIn(t.cfg.Project.State(), from)
	if !ok {
		return nil, ignored
	}
	m, err := parseMessage(data)
	if err != nil {
		return nil, malformed(err)
	}
	c := &checked{from: forwarder}
	switch m.Kind {
	case kindEnvelope, kindIntroduction:
		return c, t.checkEnvelope(m, c)
	case kindEphemeral:
		return c, t.checkEphemeral(m, c)
	}
	return c, t.checkHead(m, c)
}

// malformed answers what cannot be read: what a newer version wrote is not the forwarder's fault.
func malformed(err error) pubsub.ValidationResult {
	if errors.Is(err, errKind) || errors.Is(err, envelope.ErrVersion) {
		return ignored
	}
	return rejected
}

func (t *Topic) checkEnvelope(m *message, c *checked) pubsub.ValidationResult {
	e, err := envelope.Parse(m.Record)
	if err != nil {
		return malformed(err)
	}
	if e.Project != t.cfg.Project.ID() || (e.Kind == envelope.KindIntroduction) != (m.Kind == kindIntroduction) {
		return rejected
	}
	author, result := t.author(e.Device, c)
	if author == nil {
		return result
	}
	held := t.cfg.Journal.HeldTo(e.Device, e.ChainNo)
	if held == 0 && m.Kind != kindIntroduction && !t.passed.has(writerKey{e.Device, e.ChainNo}) {
		t.gap(c.from)
		return ignored // nobody speaks before their introduction
	}
	if e.Seq <= held && t.cfg.Journal.After(journal.Head{Device: e.Device, ChainNo: e.ChainNo, Seq: e.Seq, ID: e.ID}) == e.Seq {
		return ignored // held already; another one of the same place goes on, as proof of a fork
	}
	if !t.affordable(e.Device, c) {
		return ignored
	}
	if m.Kind == kindIntroduction && !introduces(m, e, author) || e.Verify(author.Cert.DK) != nil {
		return t.forged(c)
	}
	t.rates.take(e.Device, t.cfg.Now())
	c.envelope = e
	if !t.known(e.GovHeads) {
		t.gap(c.from)
		t.handLater(c) // the journal keeps it for a while, but it is not passed on
		return ignored
	}
	chain, ok := t.cfg.Project.State().Chain(e.Device, e.ChainNo)
	if !ok || !chain.Owned {
		return ignored // nothing counts on it
	}
	if m.Kind == kindIntroduction {
		t.passed.add(writerKey{e.Device, e.ChainNo}, t.cfg.Now())
	}
	return accepted
}

// introduces reports whether the certificates beside an introduction are those of its author, and those that it names.
func introduces(m *message, e *envelope.Envelope, author *governance.Device) bool {
	in, err := e.Introduction()
	if err != nil {
		return false
	}
	device := author.Cert
	if !bytes.Equal(m.Device, device.Raw) { // the same certificate may have been signed twice
		if device, err = identity.ParseDeviceCert(m.Device); err != nil || device.ID != author.Cert.ID {
			return false
		}
	}
	person, err := identity.ParseIdentityCert(m.Identity)
	return err == nil && person.ID == in.Identity && device.VerifyIdentity(person) == nil
}

func (t *Topic) checkEphemeral(m *message, c *checked) pubsub.ValidationResult {
	e, err := envelope.ParseEphemeral(m.Record)
	if err != nil {
		return malformed(err)
	}
	if e.Project != t.cfg.Project.ID() {
		return rejected
	}
	if e.Kind > envelope.Acknowledgement || e.Device == t.cfg.Device.ID {
		return ignored // of a newer version, or an own one that comes back
	}
	author, result := t.author(e.Device, c)
	if author == nil {
		return result
	}
	if !t.order.newer(e) || !t.affordable(e.Device, c) {
		return ignored
	}
	if e.Verify(author.Cert.DK) != nil {
		return t.forged(c)
	}
	t.rates.take(e.Device, t.cfg.Now())
	if !t.judgeable(e) {
		t.gap(c.from)
		t.early.add(e, t.cfg.Now())
		return ignored
	}
	c.ephemeral = e
	return accepted
}

// judgeable reports whether a record's chain is introduced and its key is here.
func (t *Topic) judgeable(e *envelope.Ephemeral) bool {
	if !t.introduced(writerKey{e.Device, e.ChainNo}) {
		return false
	}
	_, ok := t.cfg.Project.EpochKey(e.Epoch)
	return ok
}

// introduced reports whether a chain is: the journal holds its introduction, or is about to.
func (t *Topic) introduced(w writerKey) bool {
	return t.cfg.Journal.HeldTo(w.device, w.chainNo) > 0 || t.passed.has(w)
}

// checkHead passes a hint about what is not held. It is unsigned: at worst it costs a round of anti-entropy, so there
// are few of one forwarder.
func (t *Topic) checkHead(m *message, c *checked) pubsub.ValidationResult {
	if author, result := t.author(m.Head.Device, c); author == nil {
		return result
	}
	if m.Head.Seq <= t.cfg.Journal.HeldTo(m.Head.Device, m.Head.ChainNo) {
		return ignored
	}
	if !t.hints.take(c.from, t.cfg.Now()) {
		t.oweRound()
		return ignored
	}
	c.head = m.Head
	return accepted
}

// author returns a live device of the project, or the answer to a message of one that is not: it may have been admitted
// by an event that is not here yet, or it was removed.
func (t *Topic) author(id identity.DeviceID, c *checked) (*governance.Device, pubsub.ValidationResult) {
	d, ok := t.cfg.Project.State().Device(id)
	switch {
	case !ok:
		t.gap(c.from)
		return nil, ignored
	case !d.Live:
		return nil, rejected
	}
	return d, accepted
}

// affordable reports whether an author has not sent too much, nor the forwarder too much that was forged. An author's
// rate is charged only for what is theirs, so that nobody can use it up in their name.
func (t *Topic) affordable(author identity.DeviceID, c *checked) bool {
	now := t.cfg.Now()
	return t.faults.ready(c.from, now) && t.rates.ready(author, now)
}

// forged charges the forwarder: honest members check before they pass on.
func (t *Topic) forged(c *checked) pubsub.ValidationResult {
	t.faults.take(c.from, t.cfg.Now())
	return rejected
}

// known reports whether governance events are held.
func (t *Topic) known(heads []governance.EventID) bool {
	now := t.cfg.Project.State().Heads()
	for _, h := range heads {
		if !slices.Contains(now, h) {
			return t.cfg.Project.Knows(heads)
		}
	}
	return true
}

// gap asks for a round of anti-entropy: somebody shows what is not here. One forwarder can ask for few at once; more
// of them become one a moment later.
func (t *Topic) gap(from identity.DeviceID) {
	if t.hints.take(from, t.cfg.Now()) {
		t.cfg.OnGap()
	} else {
		t.oweRound()
	}
}

// oweRound has a round asked for soon.
func (t *Topic) oweRound() {
	if !t.owed.Swap(true) {
		t.presence.signal()
	}
}

// payRound asks for a round that is owed, and says when to look again. at is when the next one may be.
func (t *Topic) payRound(now time.Time, at *time.Time) time.Duration {
	if !t.owed.Load() {
		return presenceRenew
	}
	if left := at.Sub(now); left > 0 && left <= owedEvery {
		return left
	}
	*at = now.Add(owedEvery)
	t.owed.Store(false)
	t.cfg.OnGap()
	return owedEvery
}

// introductions are the chains whose introduction was passed and is on its way to the journal. They are chains that
// governance knows.
type introductions struct {
	mu     sync.Mutex
	passed map[writerKey]time.Time
}

func newIntroductions() *introductions { return &introductions{passed: map[writerKey]time.Time{}} }

func (p *introductions) add(w writerKey, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passed[w] = now
}

func (p *introductions) has(w writerKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.passed[w]
	return ok
}

// sweep forgets those that the journal had time to take.
func (p *introductions) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w, at := range p.passed {
		if now.Sub(at) >= introducedLife {
			delete(p.passed, w)
		}
	}
}
