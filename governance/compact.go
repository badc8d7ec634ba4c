package governance

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/internal/wire"
)

// Errors of compacted events.
var (
	// ErrCompacted means that an event has lost its signatures and comes by itself: it is taken with the checkpoint that
	// attests it only; see [Log.Import].
	ErrCompacted = errors.New("governance: event without signatures comes without the checkpoint that attests it")
	// ErrNotAttested means that no settled checkpoint, old enough, attests an event without signatures: ask another member.
	ErrNotAttested = errors.New("governance: no settled checkpoint attests an event without signatures")
)

// compactEvent is an event whose signatures were dropped. It is a map, so it is never taken for a signed one, which is an
// array.
type compactEvent struct {
	V    uint8  `cbor:"1,keyasint"`
	Core []byte `cbor:"2,keyasint"`
}

// Compacted reports whether the event has lost its signatures: a settled checkpoint attests that they were good.
func (e *Event) Compacted() bool { return e.sigs == nil }

// compacted returns the event without its signatures.
func (e *Event) compacted() *Event {
	c := *e
	c.sigs = nil
	c.Raw = wire.Marshal(compactEvent{V: wire.Version, Core: e.core})
	return &c
}

// ParseCompacted reads an event without signatures, of at most [MaxEventCore] bytes and a few. It fails as [ParseEvent]
// does.
func ParseCompacted(raw []byte) (*Event, error) {
	e, err := parseCompacted(raw)
	if err != nil {
		return nil, fmt.Errorf("governance: event without signatures: %w", err)
	}
	return e, nil
}

func parseCompacted(raw []byte) (*Event, error) {
	if len(raw) > maxCompacted {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", wire.ErrTooLarge, len(raw), maxCompacted)
	}
	raw = bytes.Clone(raw)
	var c compactEvent
	if err := wire.Unmarshal(raw, &c, maxCompacted); err != nil {
		return nil, err
	}
	if c.V != wire.Version {
		return nil, wire.ErrVersion
	}
	e, err := parseEventCore(c.Core)
	if err != nil {
		return nil, err
	}
	e.Raw = raw
	return e, nil
}

// IsCompacted reports whether raw is an event without signatures, or nothing at all, and no signed one.
func IsCompacted(raw []byte) bool { return len(raw) > 0 && raw[0]>>5 == 5 }

// ReadEvent reads an event with or without signatures.
func ReadEvent(raw []byte) (*Event, error) {
	if IsCompacted(raw) {
		return ParseCompacted(raw)
	}
	return ParseEvent(raw)
}

// Compact drops the signatures of what the settled checkpoint attests that lies 24 numbers, or the least number above
// that, below the newest, and returns these events. Who signed that checkpoint is trusted from then on that the
// signatures were good; ids, order and outcome are still verified by everybody. Signatures stay that show by themselves
// who the managers are who sign checkpoints: see SPEC.md. What was sent out signed stays valid; nothing can bring the
// signatures back here. If the log has a [Storage], that is rewritten.
func (l *Log) Compact() ([]EventID, error) {
	c := l.h.pin // not by the newest of now, which a rival may unsettle
	if c == none {
		return nil, nil
	}
	var out []EventID
	for i := range l.h.attested(c).members {
		if e := l.h.entries[i]; !e.event.Compacted() {
			e.event = e.event.compacted()
			out = append(out, e.id)
		}
	}
	if l.storage == nil || len(out) == 0 {
		return out, nil
	}
	if err := l.storage.Rewrite(slices.Collect(l.All())); err != nil {
		return out, fmt.Errorf("governance: compact: %w", err)
	}
	return out, nil
}

// Attested counts the events of the log that have lost their signatures.
func (l *Log) Attested() int {
	n := 0
	for e := range l.All() {
		if e.Compacted() {
			n++
		}
	}
	return n
}
