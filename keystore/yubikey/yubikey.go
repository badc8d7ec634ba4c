// Package yubikey uses YubiKeys as [keystore.Token], through their PIV application and the system's card reader service
// (PC/SC). [Reader] finds those that are plugged in.
//
// It is built in with the build tag piv, which needs cgo and, on Linux, the headers of libpcsclite; Windows needs
// neither. Without the tag every call fails with [keystore.ErrNotBuilt], and the module builds without cgo.
//
// # What lies where
//
// The P-256 half of the token's key is made in slot 9d and never leaves the device; using it takes the PIN and a touch
// each time. The ML-KEM half is derived from the token's management key, a random secret of 24 bytes that lies on the
// device behind the PIN. The public key and up to [MaxStored] sealed secrets lie in certificates, in slots 9d and 82 to
// 95: anybody who holds the token can read them, nobody can open them without its PIN.
//
// Slots that other programs use are left alone. Whoever replaces the management key, with ykman for example, or makes a
// new key in slot 9d, destroys what was sealed to the token; that is told as [keystore.ErrTokenChanged].
//
// # What is not promised
//
// While a secret is opened, the ML-KEM half, the PIN and the secret are in this program's memory, the PIN in a Go string
// that cannot be wiped. The tests of this module use a card in software behind a real PC/SC service on Linux. Nothing
// here was tried on real hardware, on macOS or on Windows: not the time that a YubiKey waits for a touch, not the size
// that it grants to certificates. Every write is therefore read back and compared. Firmware before 5.3 is refused.
package yubikey

import "github.com/studio-whip/collab/keystore"

// Reader finds YubiKeys. The zero value is ready for use; all of them share one way to the card reader service, on which
// one call at a time is made.
type Reader struct{}

var _ keystore.TokenReader = Reader{}
