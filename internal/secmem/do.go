//go:build !goexperiment.runtimesecret

package secmem

// Do runs f, which works on secrets. In a program that is built with GOEXPERIMENT=runtimesecret, registers, stack and
// garbage of f are overwritten afterwards, as package runtime/secret describes; in any other, f just runs. What f starts
// in other goroutines is not covered. f must not call C: Go 1.26 crashes then.
func Do(f func()) { f() }
