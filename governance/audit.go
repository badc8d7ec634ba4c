package governance

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/wire"
)

// An audit file is its magic and then records: type (1 byte), length (4 bytes, big-endian), content. First the root
// records, each after what it follows, then the events in an order that respects causality, then the end.
const auditMagic = "clba\x01"

// AuditKind is what a record of an audit file is.
type AuditKind uint8

// Kinds of records in an audit file.
const (
	AuditRoot      AuditKind = 1
	AuditEvent     AuditKind = 2
	AuditEnd       AuditKind = 3
	AuditCompacted AuditKind = 4 // an event without signatures
)

func (k AuditKind) String() string {
	switch k {
	case AuditRoot:
		return "root record"
	case AuditEvent:
		return "event"
	case AuditEnd:
		return "end"
	case AuditCompacted:
		return "event without signatures"
	}
	return "unknown record"
}

// sizeOf is how large the content of a record may be, 0 for unknown kinds.
func (k AuditKind) sizeOf() uint32 {
	switch k {
	case AuditRoot:
		return genesis.MaxRoot
	case AuditEvent:
		return MaxEvent
	case AuditCompacted:
		return maxCompacted
	case AuditEnd:
		return maxAuditEnd
	}
	return 0
}

// auditTrailer ends an audit file, so that a shortened one is known.
type auditTrailer struct {
	Roots   uint32          `cbor:"1,keyasint"`
	Events  uint64          `cbor:"2,keyasint"`
	Heads   []EventID       `cbor:"3,keyasint"`
	State   wire.ID         `cbor:"4,keyasint"`           // digest of the state of all events
	Settled *genesis.RootID `cbor:"5,keyasint,omitempty"` // version of the root that the writer has settled, if not the first
}

// ExportAudit writes the whole signed history: all root records and all events. Whoever holds the file checks it with
// [VerifyAudit]; it holds names and certificates, no secret and no content. It fails with [genesis.ErrUpgradeRequired] where
// the root has come to a version that this build cannot judge, and with [wire.ErrTooLarge] beyond what a reader takes.
func (l *Log) ExportAudit(w io.Writer) error {
	if err := l.exportAudit(w); err != nil {
		return fmt.Errorf("governance: export audit: %w", err)
	}
	return nil
}

func (l *Log) exportAudit(w io.Writer) error {
	if l.view.Upgrade != nil {
		return l.view.Upgrade
	}
	roots := slices.SortedFunc(maps.Values(l.h.roots.known), compareRoots)
	end := auditTrailer{Roots: uint32(len(roots)), Events: uint64(l.Len()), Heads: l.Heads(), State: l.State().Digest()}
	if pin := l.view.Pin; pin != l.root.ID {
		end.Settled = &pin
	}
	size := 0
	for _, r := range roots {
		size += len(r.Raw)
	}
	last := wire.Marshal(end)
	if len(roots) > maxAuditRoots || size > maxAuditRootBytes || l.Len() > maxAuditEvents || len(last) > maxAuditEnd {
		return fmt.Errorf("%w: %d root records, %d events", wire.ErrTooLarge, len(roots), l.Len())
	}
	out := bufio.NewWriter(w) // keeps the first error
	out.WriteString(auditMagic)
	put := func(kind AuditKind, content []byte) {
		out.Write(binary.BigEndian.AppendUint32([]byte{byte(kind)}, uint32(len(content))))
		out.Write(content)
	}
	for _, r := range roots {
		put(AuditRoot, r.Raw)
	}
	for e := range l.All() {
		if e.Compacted() {
			put(AuditCompacted, e.Raw)
		} else {
			put(AuditEvent, e.Raw)
		}
	}
	put(AuditEnd, last)
	return out.Flush()
}

// compareRoots orders root records by version, then by id, so that each stands after what it follows.
func compareRoots(a, b *genesis.Root) int {
	return cmp.Or(cmp.Compare(a.N, b.N), bytes.Compare(a.ID[:], b.ID[:]))
}
