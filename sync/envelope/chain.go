package envelope

import (
	"fmt"
	"io"
	"math"

	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// ChainHead is a place in a chain: that of its newest envelope, or, with Seq 0, its beginning.
type ChainHead struct {
	Project genesis.ProjectID
	Device  identity.DeviceID
	ChainNo uint32
	Seq     uint64
	ID      wire.ID // of the envelope there; the chain's root at its beginning
}

// Beginning returns the place before a chain's first envelope.
func Beginning(project genesis.ProjectID, device identity.DeviceID, chainNo uint32) ChainHead {
	return ChainHead{Project: project, Device: device, ChainNo: chainNo, ID: identity.ChainRoot(project, device, chainNo)}
}

// Same reports whether both are places of one chain.
func (h ChainHead) Same(other ChainHead) bool {
	return h.Project == other.Project && h.Device == other.Device && h.ChainNo == other.ChainNo
}

// Follows reports whether e is the next envelope after prev. It fails with [ErrOtherChain], [ErrGap], [ErrHeld],
// [ErrPast] or [ErrFork]. The last is evidence only once e's signature, or that of its run, was verified.
func Follows(prev ChainHead, e *Envelope) error {
	switch {
	case !prev.Same(e.Head()):
		return fmt.Errorf("%w: number %d of chain %d of device %s", ErrOtherChain, e.Seq, e.ChainNo, e.Device.Short())
	case e.Seq == prev.Seq && e.ID == prev.ID:
		return ErrHeld
	case e.Seq < prev.Seq:
		return fmt.Errorf("%w: number %d, %d is held", ErrPast, e.Seq, prev.Seq)
	case e.Seq-prev.Seq > 1:
		return fmt.Errorf("%w: number %d after %d", ErrGap, e.Seq, prev.Seq)
	case e.Seq == prev.Seq || e.Prev != prev.ID:
		return fmt.Errorf("%w: number %d of chain %d of device %s", ErrFork, e.Seq, e.ChainNo, e.Device.Short())
	}
	return nil
}

// Chain is this device's own chain, written by nobody else. It is not safe for concurrent use.
type Chain struct{ head ChainHead }

// NewChain returns a chain that goes on after head: [Beginning], or the newest envelope that was stored. Going on
// from an older place forks the chain for ever.
func NewChain(head ChainHead) *Chain { return &Chain{head} }

// Head returns the place of the newest envelope made.
func (c *Chain) Head() ChainHead { return c.head }

// Draft is what an envelope is made of, beside its place. It prints without key and payload.
type Draft struct {
	Kind     Kind
	Doc      [16]byte
	GovHeads []governance.EventID // at most MaxHeads, sorted
	Epoch    *governance.EpochID  // nil: the payload stays in clear
	Key      [32]byte             // content key of (epoch, device, chain, document)
	Payload  []byte
}

// Format keeps key and payload out of logs.
func (d Draft) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{%s, %d bytes, redacted}", d.Kind, len(d.Payload))
}

// MarshalJSON keeps key and payload out of logs.
func (d Draft) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// Next makes the chain's next envelope: seals the payload, links and signs. The chain has then advanced, so the
// envelope must be stored before anything else is; if Next fails it has not. It fails with [ErrTooLarge] or
// [ErrMalformed].
func (c *Chain) Next(random io.Reader, dk *sign.PrivateKey, d Draft) (*Envelope, error) {
	if c.head.Seq == math.MaxUint64 {
		return nil, malformed("the chain is full; open another")
	}
	h := Header{
		Head:     wire.NewHead(),
		Project:  c.head.Project,
		Doc:      d.Doc,
		Kind:     d.Kind,
		Device:   c.head.Device,
		ChainNo:  c.head.ChainNo,
		Seq:      c.head.Seq + 1,
		Prev:     c.head.ID,
		GovHeads: d.GovHeads,
		Epoch:    d.Epoch,
	}
	if d.Epoch != nil {
		nonce, err := seal.NewNonce(random)
		if err != nil {
			return nil, fmt.Errorf("envelope: %w", err)
		}
		h.Nonce = &nonce
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	header, ct := wire.Marshal(h), d.Payload
	if n := wholeSize(header, ct) + seal.Overhead; n > MaxEnvelope {
		return nil, tooLarge(n)
	}
	if h.Sealed() {
		ct = seal.Seal(d.Key, *h.Nonce, header, d.Payload)
	}
	sig := dk.Sign(sign.Envelope, message(header, ct))
	e, err := Parse(wire.Marshal(signed{Header: header, Ct: ct, Sig: sig}))
	if err != nil {
		return nil, err
	}
	c.head = e.Head()
	return e, nil
}

// Introduce makes the envelope that begins each session on a chain. certificate is the id of the member's present
// identity certificate.
func (c *Chain) Introduce(dk *sign.PrivateKey, certificate wire.ID, heads []governance.EventID) (*Envelope, error) {
	in := Introduction{Identity: certificate, Device: c.head.Device, ChainNo: c.head.ChainNo, GovHeads: heads}
	return c.Next(nil, dk, Draft{Kind: KindIntroduction, GovHeads: heads, Payload: in.Encode()})
}

func tooLarge(n int) error {
	return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, n, MaxEnvelope)
}
