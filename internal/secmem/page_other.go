//go:build !linux && !darwin

package secmem

func lockedPage() []byte { return nil }
