package identity

import (
	"fmt"
	"io"
	"runtime"
)

const redacted = "[redacted]"

// Seed is 32 bytes of secret randomness that one set of keys is derived from. It must be kept secret; it prints as
// "[redacted]" under every verb and in JSON. Wipe each copy when it has been used.
type Seed [32]byte

// NewSeed draws a seed; production passes crypto/rand.Reader.
func NewSeed(random io.Reader) (Seed, error) {
	var s Seed
	if _, err := io.ReadFull(random, s[:]); err != nil {
		s.Wipe()
		return Seed{}, fmt.Errorf("identity: draw a seed: %w", err)
	}
	return s, nil
}

// Wipe overwrites this copy of the seed with zeros.
func (s *Seed) Wipe() {
	clear(s[:])
	runtime.KeepAlive(s)
}

// IsZero reports whether s is all zeros: never drawn, or wiped.
func (s *Seed) IsZero() bool { return *s == Seed{} }

// String returns "[redacted]".
func (Seed) String() string { return redacted }

// GoString returns "[redacted]".
func (Seed) GoString() string { return redacted }

// Format writes "[redacted]" whatever the verb, so that %x and %v print no secret either.
func (Seed) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Seed) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
