//go:build !linux

package pivcard

import "testing"

// Bench is explained in bench_linux.go; elsewhere there is none.
type Bench struct{}

// Need skips the test.
func Need(t *testing.T) { t.Skip("the virtual card reader is for Linux") }

// Start fails the test.
func Start(t *testing.T, _ string) *Bench {
	t.Fatal("the virtual card reader is for Linux")
	return nil
}

// Insert does nothing.
func (*Bench) Insert(*testing.T, int, *Card) {}

// Remove does nothing.
func (*Bench) Remove(*testing.T, int) {}

// Pause does nothing.
func (*Bench) Pause(*testing.T) {}

// Resume does nothing.
func (*Bench) Resume(*testing.T) {}

// Stop does nothing.
func (*Bench) Stop(*testing.T) {}
