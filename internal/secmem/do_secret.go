//go:build goexperiment.runtimesecret

package secmem

import "runtime/secret"

// Do runs f, which works on secrets, and overwrites registers, stack and garbage of f afterwards; see package
// runtime/secret. What f starts in other goroutines is not covered. f must not call C: Go 1.26 crashes then.
func Do(f func()) { secret.Do(f) }
