// Package secmem keeps secrets out of logs and memory dumps as far as Go allows: [Bytes] prints as "[redacted]"
// whatever the verb, and is overwritten by Wipe; [Lock] makes one that is not swapped out; [Hidden] keeps a value of any type
// out of sight within a struct; [Do] leaves no traces of a computation where the Go runtime can see to that.
//
// It does not promise that no copy exists: growing a stack copies one, and what a caller copied the caller must wipe.
package secmem

import (
	"fmt"
	"io"
	"runtime"
)

// Redacted is what a secret prints as.
const Redacted = "[redacted]"

// Bytes owns a secret. The zero value is an empty one. It is not safe for concurrent use with Wipe.
type Bytes struct {
	secret Hidden[[]byte]
	page   Hidden[[]byte] // of a locked secret
}

// New takes ownership of b: nobody else may keep it.
func New(b []byte) *Bytes { return &Bytes{Hide(b), Hide[[]byte](nil)} }

// Bytes returns the secret itself, not a copy; it is nil after Wipe.
func (s *Bytes) Bytes() []byte {
	if s == nil || s.secret.Get() == nil {
		return nil
	}
	return *s.secret.Get()
}

// Len returns the size of the secret in bytes.
func (s *Bytes) Len() int { return len(s.Bytes()) }

// Wipe overwrites the secret and forgets it. Wiping twice does nothing.
func (s *Bytes) Wipe() {
	if s == nil || s.secret.Get() == nil {
		return
	}
	Wipe(*s.secret.Get())
	*s.secret.Get() = nil
	if page := *s.page.Get(); page != nil {
		*s.page.Get() = nil
		pages.give(page)
	}
}

// Wipe overwrites b with zeros.
func Wipe(b []byte) {
	clear(b)
	runtime.KeepAlive(b)
}

// String, GoString, Format, MarshalText and MarshalJSON never show the secret.
func (Bytes) String() string               { return Redacted }
func (Bytes) GoString() string             { return Redacted }
func (Bytes) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, Redacted) }
func (Bytes) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
func (Bytes) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }
