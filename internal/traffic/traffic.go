// Package traffic counts what a tier carries, for whoever watches a node. Counting costs an atomic addition.
package traffic

import "sync/atomic"

// Counter counts what passes. Its zero value is ready, a nil one counts nothing. It is safe for concurrent use.
type Counter struct{ in, out flow }

type flow struct{ envelopes, bytes atomic.Uint64 }

// Flow is how much has passed in one direction.
type Flow struct{ Envelopes, Bytes uint64 }

// Totals is how much has passed.
type Totals struct{ In, Out Flow }

// In notes what came.
func (c *Counter) In(envelopes, bytes int) {
	if c != nil {
		c.in.add(envelopes, bytes)
	}
}

// Out notes what went.
func (c *Counter) Out(envelopes, bytes int) {
	if c != nil {
		c.out.add(envelopes, bytes)
	}
}

// Totals returns what has passed so far.
func (c *Counter) Totals() Totals {
	if c == nil {
		return Totals{}
	}
	return Totals{In: c.in.load(), Out: c.out.load()}
}

func (f *flow) add(envelopes, bytes int) {
	f.envelopes.Add(uint64(max(envelopes, 0)))
	f.bytes.Add(uint64(max(bytes, 0)))
}

func (f *flow) load() Flow { return Flow{f.envelopes.Load(), f.bytes.Load()} }
