// Package cost holds the price in time and memory of stretching a passphrase, so that tests of what lies above can
// pay a small one. Nothing outside this module can reach it, and no program can lower the price by mistake: only
// [ForTests] does, and it asks for a running test.
package cost

import "sync/atomic"

// Argon2 is the work of Argon2id (RFC 9106): passes, memory in KiB, lanes.
type Argon2 struct {
	Passes  uint32
	Memory  uint32
	Threads uint8
}

var (
	full  = Argon2{Passes: 3, Memory: 256 << 10, Threads: 4}
	small = Argon2{Passes: 1, Memory: 64, Threads: 1}
)

// fullMinimum is the least memory in KiB that is accepted when a cost is read.
const fullMinimum = 64 << 10

// cheap counts the tests that asked for the small cost and still run.
var cheap atomic.Int64

// Passphrase returns what new secrets are written with: three passes over 256 MiB on four lanes, about 1.5 s.
func Passphrase() Argon2 {
	if cheap.Load() > 0 {
		return small
	}
	return full
}

// MinMemory returns the least memory in KiB that is accepted when a cost is read: 64 MiB.
func MinMemory() uint32 {
	if cheap.Load() > 0 {
		return small.Memory
	}
	return fullMinimum
}

// Test is what [ForTests] needs of a testing.TB.
type Test interface {
	Helper()
	Cleanup(func())
}

// ForTests makes stretching cheap until t ends. Parallel tests may call it.
func ForTests(t Test) {
	t.Helper()
	cheap.Add(1)
	t.Cleanup(func() { cheap.Add(-1) })
}
