package secmem

import (
	"fmt"
	"io"
)

// Hidden holds a value that must not be printed. Package fmt prints the unexported fields of a struct without asking
// their methods, and follows a pointer among them under some verbs; it does not follow two. Copies share the value.
type Hidden[T any] struct{ value **T }

// Hide returns v hidden.
func Hide[T any](v T) Hidden[T] {
	p := &v
	return Hidden[T]{&p}
}

// Get returns the value itself, to read or change; nil if there is none.
func (h Hidden[T]) Get() *T {
	if h.value == nil {
		return nil
	}
	return *h.value
}

// String, GoString, Format, MarshalText and MarshalJSON never show the value.
func (Hidden[T]) String() string               { return Redacted }
func (Hidden[T]) GoString() string             { return Redacted }
func (Hidden[T]) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, Redacted) }
func (Hidden[T]) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
func (Hidden[T]) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }
