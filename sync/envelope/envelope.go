package envelope

import (
	"bytes"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/internal/wire"
)

// Envelope is a parsed envelope. It is immutable and safe for concurrent use.
type Envelope struct {
	Header
	// Ciphertext is the content: sealed if there is an epoch, else in clear.
	Ciphertext []byte
	// Sig is the device's signature. It is nil if the envelope came in a run or from [ParseStored]: then a later
	// envelope's signature attests it.
	Sig []byte
	// ID is the hash of header and content. Signatures are not hashed: one envelope has one id.
	ID wire.ID
	// Raw is the whole envelope as received or made; nil if Sig is nil.
	Raw []byte

	header []byte // as received
}

// Parse reads a whole envelope and checks its structure, not its signature. It fails with [ErrMalformed],
// [ErrTooLarge] or [ErrVersion].
func Parse(raw []byte) (*Envelope, error) {
	var s signed
	if err := decode("envelope", raw, &s, MaxEnvelope); err != nil {
		return nil, err
	}
	if len(s.Sig) != sign.SignatureSize {
		return nil, malformed("signature of %d bytes", len(s.Sig))
	}
	e, err := newEnvelope(s.Header, s.Ct)
	if err != nil {
		return nil, err
	}
	e.Sig, e.Raw = s.Sig, bytes.Clone(raw)
	return e, nil
}

// item is an envelope without its signature, as stores and runs keep it.
type item struct {
	_      struct{} `cbor:",toarray"`
	Header []byte
	Ct     []byte
}

// ParseStored reads what [Envelope.Stored] wrote. The result has no signature.
func ParseStored(raw []byte) (*Envelope, error) {
	var i item
	if err := decode("stored envelope", raw, &i, MaxEnvelope); err != nil {
		return nil, err
	}
	return newEnvelope(i.Header, i.Ct)
}

func newEnvelope(header, ct []byte) (*Envelope, error) {
	e := &Envelope{Ciphertext: ct, header: header}
	if err := decode("header", header, &e.Header, maxHeader); err != nil {
		return nil, err
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	if n := wholeSize(header, ct); n > MaxEnvelope { // also where the signature is left out
		return nil, tooLarge(n)
	}
	e.ID = recordID(sign.Envelope, message(header, ct))
	return e, nil
}

// Stored returns the envelope without its signature, [header, content]: what a store keeps of every envelope.
func (e *Envelope) Stored() []byte { return wire.Marshal(item{Header: e.header, Ct: e.Ciphertext}) }

// Size returns how many bytes the envelope takes in a run, at most; [FitsRun] adds them up.
func (e *Envelope) Size() int { return itemSize(e.header, e.Ciphertext) }

// Statement returns what the device signs of the envelope: with a signature, it proves that the device wrote it.
func (e *Envelope) Statement() []byte { return message(e.header, e.Ciphertext) }

// Verify checks the envelope's own signature by its device's key. It fails with [ErrSignature], also if the envelope
// has none because it came in a run.
func (e *Envelope) Verify(dk *sign.PublicKey) error {
	return checkSig(sign.Envelope, dk, message(e.header, e.Ciphertext), e.Sig)
}

// Open decrypts the content under its content key, that of (epoch, device, chain, document), and returns the payload.
// The content of an envelope without an epoch is returned as it is. It fails with [ErrSealed].
func (e *Envelope) Open(key [32]byte) ([]byte, error) {
	if !e.Sealed() {
		return bytes.Clone(e.Ciphertext), nil
	}
	return open(key, e.Nonce, e.header, e.Ciphertext)
}

// Head returns the place that a chain has reached with this envelope.
func (e *Envelope) Head() ChainHead {
	return ChainHead{Project: e.Project, Device: e.Device, ChainNo: e.ChainNo, Seq: e.Seq, ID: e.ID}
}

// Sizes of the parts of an envelope's encoding: arrays of up to 23 take one byte more than their elements.
func itemSize(header, ct []byte) int {
	return 1 + byteStringSize(len(header)) + byteStringSize(len(ct))
}

func wholeSize(header, ct []byte) int {
	return itemSize(header, ct) + byteStringSize(sign.SignatureSize)
}

func byteStringSize(n int) int {
	switch {
	case n < 24:
		return n + 1
	case n < 1<<8:
		return n + 2
	case n < 1<<16:
		return n + 3
	}
	return n + 5
}
