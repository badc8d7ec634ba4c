// Package devicekeys makes the keys of devices in tests, the same at each run. A device that somebody uses must not have them: its
// KEM key follows from the seed here, and so could never be erased.
package devicekeys

import (
	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/identity"
)

// Of returns the keys of a device, its first KEM key among them, that a test makes of a seed.
func Of(seed identity.Seed) *identity.DeviceKeys {
	return identity.NewDeviceKeys(seed, kem.NewPrivateKey(First(seed)))
}

// First returns what the first KEM key of that device is made of.
func First(seed identity.Seed) [kem.SeedSize]byte { return derive.Key(seed[:], nil, "kem") }
