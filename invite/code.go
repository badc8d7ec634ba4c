package invite

import (
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Host is a device that may admit a code's holder.
type Host struct {
	Device identity.DeviceID
	Peer   [32]byte // transport key
	KemID  wire.ID  // names the KEM key that M1 is sealed to
	Addrs  []string // where it was last reachable, at most [MaxAddrs]
}

// Code is an invite as its holder has it. Who holds it can use it: it must be kept secret until then, and it prints
// as "[redacted]"; [Code.Text] is the form to hand over.
type Code struct {
	Project     genesis.ProjectID
	RootVersion uint32         // the pinned root record: its number
	Root        genesis.RootID // and its id
	Invite      [16]byte
	Hosts       []Host // at least one, at most [MaxHosts]
	KEM         []byte // the first host's whole KEM key; nil in the compact form
	Secret      Secret
}

type codeHost struct {
	Device identity.DeviceID `cbor:"1,keyasint"`
	Peer   [32]byte          `cbor:"2,keyasint"`
	KemID  wire.ID           `cbor:"3,keyasint"`
	Addrs  []string          `cbor:"4,keyasint"`
}

type codeRecord struct {
	wire.Head
	Project     genesis.ProjectID `cbor:"3,keyasint"`
	RootVersion uint32            `cbor:"4,keyasint"`
	Root        genesis.RootID    `cbor:"5,keyasint"`
	Invite      [16]byte          `cbor:"6,keyasint"`
	Hosts       []codeHost        `cbor:"7,keyasint"`
	KEM         []byte            `cbor:"8,keyasint,omitempty"`
	Secret      [32]byte          `cbor:"9,keyasint"`
}

const checksumSize = 4

var base = base32.StdEncoding.WithPadding(base32.NoPadding)

// codeLetters are the first, third and fourth character of every code, whatever its version and fields: a map of
// eight to fifteen pairs whose first key is 1.
const codeLetters = "VAQ"

// Text returns the code as people pass it on: letters A to Z and digits 2 to 7, about 2600 of them, in the compact
// form 500. It holds the secret.
func (c *Code) Text() string {
	r := codeRecord{
		Head: wire.NewHead(), Project: c.Project, RootVersion: c.RootVersion, Root: c.Root, Invite: c.Invite,
		KEM: c.KEM, Secret: c.Secret,
	}
	for _, h := range c.Hosts {
		r.Hosts = append(r.Hosts, codeHost(h))
	}
	b := wire.Marshal(r)
	defer clear(b)
	return base.EncodeToString(append(b, checksum(b)...))
}

// Parse reads what [Code.Text] wrote. Case, white space and hyphens do not matter. It fails with [ErrNotACode],
// [ErrDamaged] or [ErrVersion]; no error holds a part of the text.
func Parse(text string) (*Code, error) {
	if len(text) > maxText {
		return nil, ErrNotACode
	}
	s := strings.ToUpper(strings.Map(unspaced, text))
	if len(s) < 4 || s[:1]+s[2:4] != codeLetters {
		return nil, ErrNotACode
	}
	b, err := base.DecodeString(s)
	if err != nil || base.EncodeToString(b) != s { // the last character may hold bits that stand for nothing
		return nil, fmt.Errorf("%w (a character that no code has, or a wrong length)", ErrDamaged)
	}
	if len(b) < checksumSize {
		return nil, fmt.Errorf("%w (too short)", ErrDamaged)
	}
	b, sum := b[:len(b)-checksumSize], b[len(b)-checksumSize:]
	if string(checksum(b)) != string(sum) {
		return nil, fmt.Errorf("%w (its checksum is wrong)", ErrDamaged)
	}
	return decodeCode(b)
}

func unspaced(r rune) rune {
	switch r {
	case ' ', '\t', '\r', '\n', '-', '\u00a0', '\u00ad', '\u200b', '\ufeff':
		return -1
	}
	return r
}

func checksum(b []byte) []byte {
	id := derive.ID("invite-code", b)
	return id[:checksumSize]
}

// codeVersion reads the head alone: a newer version may have fields that this build does not know.
func codeVersion(b []byte) error {
	// Every code starts with a map header, then 1: v, 2: suite; v and suite are below 24 in version 1.
	if len(b) < 5 || b[1] != 1 {
		return ErrNotACode
	}
	if b[2] != wire.Version || b[3] != 2 || b[4] != byte(wire.Suite1) {
		return ErrVersion
	}
	return nil
}

func decodeCode(b []byte) (*Code, error) {
	if err := codeVersion(b); err != nil {
		return nil, err
	}
	var r codeRecord
	if err := wire.Unmarshal(b, &r, MaxCode); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, withoutDetail(err))
	}
	if err := r.Check(); err != nil {
		return nil, ErrVersion
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	c := &Code{
		Project: r.Project, RootVersion: r.RootVersion, Root: r.Root, Invite: r.Invite, KEM: r.KEM, Secret: r.Secret,
	}
	for _, h := range r.Hosts {
		c.Hosts = append(c.Hosts, Host(h))
	}
	return c, nil
}

// withoutDetail keeps the class of a decoding error and drops its text, which might quote the code.
func withoutDetail(err error) error {
	if errors.Is(err, wire.ErrTooLarge) {
		return wire.ErrTooLarge
	}
	return wire.ErrMalformed
}

func (r *codeRecord) check() error {
	if len(r.Hosts) == 0 || len(r.Hosts) > MaxHosts {
		return fmt.Errorf("%w: %d hosts", wire.ErrMalformed, len(r.Hosts))
	}
	if r.RootVersion == 0 || wire.ID(r.Project).IsZero() || wire.ID(r.Root).IsZero() {
		return fmt.Errorf("%w: no project or root", wire.ErrMalformed)
	}
	for _, h := range r.Hosts {
		if err := sign.CheckEd25519(h.Peer[:]); err != nil {
			return fmt.Errorf("transport key: %w", err)
		}
		if len(h.Addrs) > MaxAddrs {
			return fmt.Errorf("%w: %d addresses of one host", wire.ErrTooLarge, len(h.Addrs))
		}
		for _, a := range h.Addrs {
			if err := wire.CheckText(a, MaxAddrSize); err != nil {
				return fmt.Errorf("address: %w", err)
			}
		}
	}
	if r.KEM == nil {
		return nil
	}
	pub, err := kem.ParsePublicKey(r.KEM)
	if err != nil {
		return err
	}
	if identity.KemID(pub) != r.Hosts[0].KemID {
		return fmt.Errorf("%w: the KEM key is not the first host's", wire.ErrMalformed)
	}
	return nil
}

// String, GoString, Format, MarshalText and MarshalJSON of a code and of a secret never show the secret.
func (Code) String() string                 { return redacted }
func (Code) GoString() string               { return redacted }
func (Code) Format(f fmt.State, _ rune)     { _, _ = io.WriteString(f, redacted) }
func (Code) MarshalText() ([]byte, error)   { return []byte(redacted), nil }
func (Code) MarshalJSON() ([]byte, error)   { return []byte(`"` + redacted + `"`), nil }
func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, redacted) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
