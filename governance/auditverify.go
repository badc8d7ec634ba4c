package governance

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/wire"
)

// ErrAudit means that an audit file is none, or is damaged or shortened.
var ErrAudit = errors.New("governance: audit file is damaged or shortened")

// AuditError says which record of an audit file is the first that is wrong, counting from 0, and what it is. Where a record
// was left out that is the first one that misses it.
type AuditError struct {
	Record int
	Kind   AuditKind // 0 if the file ends where the record should begin, or its kind is unknown
	Err    error
}

func (e *AuditError) Error() string {
	return fmt.Sprintf("governance: audit file: record %d (%v): %v; ask whoever wrote the file for another copy", e.Record, e.Kind, e.Err)
}

// Unwrap returns what is wrong.
func (e *AuditError) Unwrap() error { return e.Err }

// VerifyAudit checks an audit file with no network and no secret: the chain of root records, every certificate and
// signature, that nothing is missing, and that the events amount to the state that the file claims. The first record that is
// wrong comes as an [*AuditError]. It fails with [genesis.ErrUpgradeRequired] on a root that this build cannot judge.
//
// The file's end is not signed. Whoever wrote the file may have kept the newest events and root records to himself, and says
// on his own word which version of the root is settled: compare [AuditReport.Settled] and [AuditReport.RootProved].
func VerifyAudit(r io.Reader) (*AuditReport, error) {
	a := &audit{in: bufio.NewReader(r)}
	if kind, err := a.read(); err != nil {
		return nil, &AuditError{Record: a.record, Kind: kind, Err: err}
	}
	return a.report(), nil
}

// audit is one verification.
type audit struct {
	in        *bufio.Reader
	record    int // the next one to be judged
	chain     *genesis.Chain
	last      *genesis.Root // record before
	roots     int
	rootBytes int
	log       *Log
}

// read returns what the record is that is wrong.
func (a *audit) read() (AuditKind, error) {
	magic := make([]byte, len(auditMagic))
	if _, err := io.ReadFull(a.in, magic); err != nil || string(magic) != auditMagic {
		return 0, fmt.Errorf("%w: it does not begin as one", ErrAudit)
	}
	kind, content, err := a.next()
	for ; err == nil && kind == AuditRoot; kind, content, err = a.next() {
		if err := a.addRoot(content); err != nil {
			return kind, err
		}
		a.record++
	}
	switch {
	case err != nil:
		return kind, err
	case a.chain == nil:
		return kind, fmt.Errorf("%w: no root record", ErrAudit)
	}
	// Until the end says what is settled, all records are known and none after the first counts: what follows may name any.
	a.log.SetRoots(a.log.view, a.chain.Records())
	return a.readEvents(kind, content)
}

// addRoot verifies a root record by the one that it follows.
func (a *audit) addRoot(content []byte) error {
	a.roots++
	a.rootBytes += len(content)
	if a.roots > maxAuditRoots || a.rootBytes > maxAuditRootBytes {
		return fmt.Errorf("%w: more than %d root records or %d bytes of them", wire.ErrTooLarge, maxAuditRoots, maxAuditRootBytes)
	}
	if a.chain == nil {
		root, err := genesis.ParseRoot(content)
		if err != nil {
			return err
		}
		a.chain, a.log, a.last = genesis.NewChain(root), NewLog(root), root
		a.log.bare = true // what has no signatures must be attested in the end
		return nil
	}
	root, err := a.chain.Restore(content)
	if err != nil {
		return err
	}
	if compareRoots(a.last, root) >= 0 {
		return fmt.Errorf("%w: a root record stands there twice, or after one that comes later", ErrAudit)
	}
	a.last = root
	return nil
}

// auditBatch is how many events are verified at a time.
const auditBatch = 512

// readEvents reads on from the first record that is no root record.
func (a *audit) readEvents(kind AuditKind, content []byte) (AuditKind, error) {
	var batch [][]byte
	var err error
	for ; err == nil && (kind == AuditEvent || kind == AuditCompacted); kind, content, err = a.next() {
		if (kind == AuditCompacted) != IsCompacted(content) {
			content = nil // refused when its turn comes, as no event
		}
		if batch = append(batch, content); len(batch) == auditBatch {
			if kind, err := a.addEvents(batch); err != nil {
				return kind, err
			}
			batch = nil
		}
	}
	if kind, err := a.addEvents(batch); err != nil { // what is wrong with one of these comes first
		return kind, err
	}
	if err != nil {
		return kind, err
	}
	if kind != AuditEnd {
		return kind, fmt.Errorf("%w: a %v among the events", ErrAudit, kind)
	}
	if err := a.finish(content); err != nil {
		return kind, err
	}
	if i := a.log.unattested(); i != none {
		a.record = a.roots + i - 1
		return AuditCompacted, ErrNotAttested
	}
	a.log.bare = false
	return kind, nil
}

// addEvents returns what the record is that is wrong.
func (a *audit) addEvents(batch [][]byte) (AuditKind, error) {
	events, errs := a.log.prepare(batch)
	for i, ev := range events {
		err := errs[i]
		if err == nil {
			err = a.addEvent(ev)
		}
		switch {
		case err != nil && IsCompacted(batch[i]):
			return AuditCompacted, err
		case err != nil:
			return AuditEvent, err
		}
		a.record++
	}
	return 0, nil
}

func (a *audit) addEvent(ev *Event) error {
	switch {
	case a.log.Len() >= maxAuditEvents:
		return fmt.Errorf("%w: more than %d events", wire.ErrTooLarge, maxAuditEvents)
	case a.log.Has(ev.ID):
		return fmt.Errorf("%w: an event stands there twice", ErrAudit)
	case len(a.log.missingOf(ev)) > 0:
		return fmt.Errorf("%w: an event comes before its parents, or a parent is missing", ErrAudit)
	}
	_, err := a.log.addEvent("", ev)
	return err
}

// finish judges all of it under the root as it stands, and compares that with what the end claims.
func (a *audit) finish(content []byte) error {
	var end auditTrailer
	if err := wire.Unmarshal(content, &end, maxAuditEnd); err != nil {
		return err
	}
	if _, err := a.in.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: something follows the end", ErrAudit)
	}
	if err := a.settle(end.Settled); err != nil {
		return err
	}
	switch {
	case int(end.Roots) != a.roots:
		return fmt.Errorf("%w: it names %d root records, %d are there", ErrAudit, end.Roots, a.roots)
	case end.Events != uint64(a.log.Len()) || !slices.Equal(end.Heads, a.log.Heads()):
		return fmt.Errorf("%w: it names %d events, %d are there, or others", ErrAudit, end.Events, a.log.Len())
	case a.log.State().Digest() != end.State:
		return fmt.Errorf("%w: the events amount to another state than it claims", ErrAudit)
	}
	return nil
}

// settle takes the writer's word for which version of the root is settled.
func (a *audit) settle(id *genesis.RootID) error {
	if id != nil {
		if id.IsZero() || *id == a.log.root.ID {
			return fmt.Errorf("%w: it settles no version after the first", ErrAudit)
		}
		if err := a.chain.Settle(*id); err != nil {
			return err
		}
	}
	view := a.chain.View()
	if view.Upgrade != nil {
		return view.Upgrade
	}
	a.log.SetRoots(view, a.chain.Records())
	return nil
}

// next reads a record.
func (a *audit) next() (kind AuditKind, content []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(a.in, head[:]); err != nil {
		return 0, nil, fmt.Errorf("%w: it ends early", ErrAudit)
	}
	kind = AuditKind(head[0])
	n, most := binary.BigEndian.Uint32(head[1:]), kind.sizeOf()
	switch {
	case most == 0:
		return kind, nil, fmt.Errorf("%w: record of type %d", ErrAudit, kind)
	case n > most:
		return kind, nil, fmt.Errorf("%w: %d bytes", wire.ErrTooLarge, n)
	}
	content = make([]byte, n)
	if _, err := io.ReadFull(a.in, content); err != nil {
		return kind, nil, fmt.Errorf("%w: it ends early", ErrAudit)
	}
	return kind, content, nil
}
