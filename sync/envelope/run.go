package envelope

import (
	"fmt"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/internal/wire"
)

// Run is up to MaxRun consecutive envelopes of one chain under the signature of the last.
type Run struct {
	Envelopes []*Envelope // the last has the signature
}

type run struct {
	_     struct{} `cbor:",toarray"`
	Items []item
	Sig   []byte
}

// sizes of a run's encoding beside its envelopes: two array heads and the signature.
const runOverhead = 1 + 3 + 3 + sign.SignatureSize

// FitsRun reports whether so many envelopes whose [Envelope.Size] adds up to bytes can be one run. A store that keeps
// the signatures of a chain so that from each to the next is at most one run can serve the chain from anywhere.
func FitsRun(envelopes, bytes int) bool {
	return envelopes <= MaxRun && runOverhead+bytes <= MaxRunBytes
}

// EncodeRun returns consecutive envelopes of one chain as a run. The last must have its signature; those of others
// are left out. It fails with [ErrMalformed], [ErrSignature] or [ErrTooLarge] if they are no run.
func EncodeRun(envs []*Envelope) ([]byte, error) {
	if err := linked(envs); err != nil {
		return nil, err
	}
	size := 0
	r := run{Items: make([]item, len(envs)), Sig: envs[len(envs)-1].Sig}
	for i, e := range envs {
		r.Items[i] = item{Header: e.header, Ct: e.Ciphertext}
		size += e.Size()
	}
	if r.Sig == nil {
		return nil, fmt.Errorf("%w: the last of a run has none", ErrSignature)
	}
	if !FitsRun(len(envs), size) {
		return nil, fmt.Errorf("%w: a run of %d envelopes, %d bytes", ErrTooLarge, len(envs), size)
	}
	return wire.Marshal(r), nil
}

// linked checks that each envelope follows the one before it.
func linked(envs []*Envelope) error {
	if len(envs) == 0 {
		return malformed("an empty run")
	}
	for i := range envs[1:] {
		if err := Follows(envs[i].Head(), envs[i+1]); err != nil {
			return malformed("a run is not one chain: %v", err)
		}
	}
	return nil
}

// DecodeRun reads a run and checks its structure and links, not its signature nor where it begins. It fails with
// [ErrMalformed], [ErrTooLarge] or [ErrVersion].
func DecodeRun(raw []byte) (*Run, error) {
	var r run
	if err := decode("run", raw, &r, MaxRunBytes); err != nil {
		return nil, err
	}
	if len(r.Items) > MaxRun {
		return nil, fmt.Errorf("%w: a run of %d envelopes, at most %d are allowed", ErrTooLarge, len(r.Items), MaxRun)
	}
	if len(r.Sig) != sign.SignatureSize {
		return nil, malformed("signature of %d bytes", len(r.Sig))
	}
	envs := make([]*Envelope, len(r.Items))
	for i, it := range r.Items {
		e, err := newEnvelope(it.Header, it.Ct)
		if err != nil {
			return nil, err
		}
		envs[i] = e
	}
	if err := linked(envs); err != nil {
		return nil, err
	}
	last := envs[len(envs)-1]
	last.Sig = r.Sig
	last.Raw = wire.Marshal(signed{Header: last.header, Ct: last.Ciphertext, Sig: last.Sig})
	return &Run{envs}, nil
}

// Verify checks that the run goes on after from, which is a verified envelope or the chain's [Beginning], and that its
// signature is of dk. Then all of it is attested; if it fails, nothing of it is. The error is one of [Follows] or
// [ErrSignature].
func (r *Run) Verify(from ChainHead, dk *sign.PublicKey) error {
	if err := Follows(from, r.Envelopes[0]); err != nil {
		return err
	}
	return r.Envelopes[len(r.Envelopes)-1].Verify(dk)
}

// ParseRun reads and verifies a run that goes on after from. It returns all of its envelopes or none.
func ParseRun(raw []byte, from ChainHead, dk *sign.PublicKey) ([]*Envelope, error) {
	r, err := DecodeRun(raw)
	if err != nil {
		return nil, err
	}
	if err := r.Verify(from, dk); err != nil {
		return nil, err
	}
	return r.Envelopes, nil
}
