package genesis

import (
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/wire"
)

// ShareRef names one share: which project, which ceremony, which x coordinate, from 1.
type ShareRef struct {
	Project  ProjectID
	Ceremony [16]byte
	X        byte
}

const shareMagic = "clbs"

// shareRecord is a share on the wire.
type shareRecord struct {
	wire.Head
	Magic       string            `cbor:"3,keyasint"`
	Ceremony    [16]byte          `cbor:"4,keyasint"`
	Holder      identity.MemberID `cbor:"5,keyasint"`
	RootVersion uint32            `cbor:"6,keyasint"`
	K           uint8             `cbor:"7,keyasint"`
	M           uint8             `cbor:"8,keyasint"`
	X           uint8             `cbor:"9,keyasint"`
	Y           [32]byte          `cbor:"10,keyasint"`
	Salt        [32]byte          `cbor:"11,keyasint"`
	RootPubHash wire.ID           `cbor:"12,keyasint"`
	Label       string            `cbor:"13,keyasint"`
	Check       *wire.ID          `cbor:"14,keyasint,omitempty"`
}

// checksum is over the record without it: against typing and bit errors, not against forgers.
func (r shareRecord) checksum() wire.ID {
	r.Check = nil
	b := wire.Marshal(r)
	defer secmem.Wipe(b)
	defer secmem.Wipe(r.Y[:])
	return derive.ID("share-check", b)
}

// commitment binds every field that matters, under a random salt that hides the share.
func (r *shareRecord) commitment() wire.ID {
	return derive.ListID("share", r.Ceremony, r.Holder, r.K, r.M, r.X, r.Y, r.Salt, r.RootPubHash)
}

// encode completes the record with its checksum. The caller wipes the result.
func (r *shareRecord) encode() []byte {
	sum := r.checksum()
	r.Check = &sum
	return wire.Marshal(r)
}

func (r *shareRecord) wipe() {
	secmem.Wipe(r.Y[:])
	secmem.Wipe(r.Salt[:])
}

// Share is one share of a holder's root seed, as a custodian keeps it. What it says of itself is unproved until it
// has been checked against a root record: use [CheckShares] or [Authorize]. It prints as "[redacted]"; Wipe it after
// use.
type Share struct {
	Ceremony    [16]byte
	Holder      identity.MemberID
	RootVersion uint32 // version of the root that the ceremony made
	K, M        uint8  // K of M shares rebuild the seed
	X           uint8  // which share this is, 1 to M
	Label       string // of the custodian that it was made for

	secret *shareSecret
}

type shareSecret struct{ record shareRecord }

// ParseShare reads a share record, at most [MaxShare] bytes, and verifies its form and its checksum. It fails with
// [ErrShareCorrupt], which also wraps [wire.ErrTooLarge], [wire.ErrMalformed] or [wire.ErrVersion] where they apply.
func ParseShare(raw []byte) (*Share, error) {
	secret := new(shareSecret)
	r := &secret.record
	if err := r.decode(raw); err != nil {
		r.wipe()
		return nil, err
	}
	return &Share{
		Ceremony: r.Ceremony, Holder: r.Holder, RootVersion: r.RootVersion, K: r.K, M: r.M, X: r.X, Label: r.Label,
		secret: secret,
	}, nil
}

func (r *shareRecord) decode(raw []byte) error {
	// The decoder's own message may quote its input, which is secret: say only what kind of error it was.
	if err := wire.Unmarshal(raw, r, MaxShare); err != nil {
		return fmt.Errorf("%w: %d bytes that are no share record", ErrShareCorrupt, len(raw))
	}
	if err := r.Head.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrShareCorrupt, err)
	}
	if r.Magic != shareMagic {
		return fmt.Errorf("%w: it is another kind of record", ErrShareCorrupt)
	}
	if r.Check == nil || *r.Check != r.checksum() {
		return fmt.Errorf("%w: its checksum is wrong", ErrShareCorrupt)
	}
	if r.X == 0 {
		// The polynomial's value at 0 is the secret itself: whoever chose it would choose the key.
		return fmt.Errorf("%w: x coordinate 0 is no share", ErrShareCorrupt)
	}
	if r.K < MinThreshold || r.K > r.M || r.M > MaxShares || r.X > r.M || r.RootVersion == 0 {
		return fmt.Errorf("%w: share %d, %d of %d, root version %d", ErrShareCorrupt, r.X, r.K, r.M, r.RootVersion)
	}
	if err := wire.CheckText(r.Label, MaxLabel); err != nil {
		return fmt.Errorf("%w: its label is not a text of %d bytes", ErrShareCorrupt, MaxLabel)
	}
	return nil
}

// Wipe overwrites the secret part of the share.
func (s *Share) Wipe() {
	if s != nil && s.secret != nil {
		s.secret.record.wipe()
	}
}

// String returns "[redacted]".
func (Share) String() string { return secmem.Redacted }

// GoString returns "[redacted]".
func (Share) GoString() string { return secmem.Redacted }

// Format writes "[redacted]" whatever the verb.
func (Share) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secmem.Redacted) }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Share) MarshalJSON() ([]byte, error) { return []byte(`"` + secmem.Redacted + `"`), nil }

// cutLabel makes a custodian's label fit into a share record: normal form C, no control characters, at most
// [MaxLabel] bytes, cut in front because the end of a path says more than its beginning.
func cutLabel(label string) string {
	label = wire.NFC(label)
	if wire.CheckText(label, len(label)) != nil {
		return ""
	}
	const mark = "…"
	if len(label) <= MaxLabel {
		return label
	}
	label = label[len(label)-MaxLabel+len(mark):]
	for len(label) > 0 && !utf8.RuneStart(label[0]) {
		label = label[1:]
	}
	return wire.NFC(mark + label)
}
