package seal

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"

	"github.com/studio-whip/collab/internal/cost"
)

// Cost is how much work [Stretch] does: Argon2id (RFC 9106) passes, memory in KiB and lanes.
type Cost struct {
	_       struct{} `cbor:",toarray"`
	Passes  uint32
	Memory  uint32
	Threads uint8
}

// DefaultCost returns what new secrets are written with: three passes over 256 MiB on four lanes, about 1.5 s. Tests
// of this module lower it, and the bound on reading with it, through internal/cost.
func DefaultCost() Cost {
	c := cost.Passphrase()
	return Cost{Passes: c.Passes, Memory: c.Memory, Threads: c.Threads}
}

// Bounds of a cost that is read from outside; they are checked before any memory is taken.
const (
	MinMemory  = 64 << 10 // KiB
	MaxMemory  = 2 << 20  // KiB
	MaxPasses  = 16
	MaxThreads = 16
	SaltSize   = 16 // bytes
)

// ErrCost means that a stored cost is outside the bounds: the file is damaged or hostile.
var ErrCost = errors.New("seal: passphrase cost out of bounds")

// Check fails with [ErrCost] if c is outside the bounds.
func (c Cost) Check() error {
	if c.Memory < cost.MinMemory() || c.Memory > MaxMemory || c.Passes < 1 || c.Passes > MaxPasses ||
		c.Threads < 1 || c.Threads > MaxThreads {
		return fmt.Errorf("%w: %d passes, %d KiB, %d threads", ErrCost, c.Passes, c.Memory, c.Threads)
	}
	return nil
}

// Stretch makes a key of a passphrase; equal inputs give equal keys. The caller has checked c if it came from
// outside.
func (c Cost) Stretch(passphrase []byte, salt [SaltSize]byte) [KeySize]byte {
	return [KeySize]byte(argon2.IDKey(passphrase, salt[:], c.Passes, c.Memory, c.Threads, KeySize))
}
