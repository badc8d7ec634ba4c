package governance

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// An audit file is its magic and then records: type (1 byte), length (4 bytes, big-endian), content. First the root
// records, then the events in an order that respects causality, then the end.
const auditMagic = "clba\x01"

const (
	auditRoot  = 1
	auditEvent = 2
	auditEnd   = 3
)

// auditTrailer ends an audit file, so that a shortened one is known.
type auditTrailer struct {
	Roots  uint32    `cbor:"1,keyasint"`
	Events uint64    `cbor:"2,keyasint"`
	Heads  []EventID `cbor:"3,keyasint"`
	State  wire.ID   `cbor:"4,keyasint"` // digest of the state of all events
}

// ErrAudit means that an audit file is none, or is damaged or shortened.
var ErrAudit = errors.New("governance: audit file is damaged or shortened")

// AuditError says which record of an audit file is the first that is wrong, counting from 0.
type AuditError struct {
	Record int
	Err    error
}

func (e *AuditError) Error() string {
	return fmt.Sprintf("governance: audit file: record %d: %v; ask whoever wrote the file for another copy", e.Record, e.Err)
}

// Unwrap returns what is wrong.
func (e *AuditError) Unwrap() error { return e.Err }

// ExportAudit writes the whole signed history. Whoever holds the file checks it with [VerifyAudit]; it holds names and
// certificates, no secret and no content.
func (l *Log) ExportAudit(w io.Writer) error {
	out := bufio.NewWriter(w)
	_, err := out.WriteString(auditMagic)
	put := func(typ byte, content []byte) {
		if err == nil {
			_, err = out.Write(append(binary.BigEndian.AppendUint32([]byte{typ}, uint32(len(content))), content...))
		}
	}
	put(auditRoot, l.root.Raw)
	for e := range l.All() {
		put(auditEvent, e.Raw)
	}
	put(auditEnd, wire.Marshal(auditTrailer{Roots: 1, Events: uint64(l.Len()), Heads: l.Heads(), State: l.State().Digest()}))
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("governance: export audit: %w", err)
	}
	return nil
}

// AuditReport is what a verified audit file says.
type AuditReport struct {
	Project      genesis.ProjectID
	Root         genesis.RootID
	Events       int
	Void         int
	Contested    int
	Settled      Settled
	Members      []AuditMember // everybody who is or was a member, ascending by id
	Suspended    []identity.DeviceID
	Equivocation []EventID // events that show that a device signed two of one number, ascending
	Log          *Log      // for questions: who did what, and why it counts or not
}

// AuditMember is a member in a report.
type AuditMember struct {
	ID   identity.MemberID
	Name string // self-chosen, proves nothing
	Role Role   // None if he is no member any more
}

// VerifyAudit checks an audit file with no network and no secret: the root record, every certificate and signature,
// that nothing is missing, and that the events amount to the state that the file claims. The first record that is
// wrong comes as an [*AuditError].
func VerifyAudit(r io.Reader) (*AuditReport, error) {
	a := &audit{in: bufio.NewReader(r)}
	if err := a.read(); err != nil {
		return nil, &AuditError{Record: a.record, Err: err}
	}
	return a.report(), nil
}

// audit is one verification.
type audit struct {
	in     *bufio.Reader
	record int
	log    *Log
	events uint64
}

func (a *audit) read() error {
	magic := make([]byte, len(auditMagic))
	if _, err := io.ReadFull(a.in, magic); err != nil || string(magic) != auditMagic {
		return fmt.Errorf("%w: it does not begin as one", ErrAudit)
	}
	if err := a.readRoot(); err != nil {
		return err
	}
	return a.readEvents()
}

func (a *audit) readRoot() error {
	typ, content, err := a.next()
	if err != nil {
		return err
	}
	if typ != auditRoot {
		return fmt.Errorf("%w: no root record", ErrAudit)
	}
	root, err := genesis.ParseRoot(content)
	if err != nil {
		return err
	}
	a.log = NewLog(root)
	a.record++
	return nil
}

// auditBatch is how many events are verified at a time.
const auditBatch = 512

func (a *audit) readEvents() error {
	var batch [][]byte
	for {
		typ, content, err := a.next()
		if err != nil {
			return a.flush(batch, err)
		}
		if typ == auditEvent {
			if batch = append(batch, content); len(batch) == auditBatch {
				if err := a.flush(batch, nil); err != nil {
					return err
				}
				batch = nil
			}
			continue
		}
		if err := a.flush(batch, nil); err != nil {
			return err
		}
		return a.finish(typ, content)
	}
}

// flush adds a batch; then is what is wrong with the record after it.
func (a *audit) flush(batch [][]byte, then error) error {
	res, errs := a.log.AddAll("", batch)
	for i, err := range errs {
		if err != nil {
			a.record += i
			return err
		}
	}
	if len(res.Missing) > 0 {
		for _, raw := range batch {
			ev, err := ParseEvent(raw)
			if err != nil || !a.log.Has(ev.ID) {
				return fmt.Errorf("%w: an event comes before its parents, or a parent is missing", ErrAudit)
			}
			a.record++
		}
	}
	a.events += uint64(len(res.Added))
	a.record += len(batch)
	if then == nil && len(res.Added) != len(batch) {
		return fmt.Errorf("%w: an event stands there twice", ErrAudit)
	}
	return then
}

func (a *audit) finish(typ byte, content []byte) error {
	var end auditTrailer
	if typ != auditEnd || wire.Unmarshal(content, &end, maxAuditEnd) != nil {
		return fmt.Errorf("%w: record of type %d", ErrAudit, typ)
	}
	if _, err := a.in.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: something follows the end", ErrAudit)
	}
	s := a.log.State()
	switch {
	case end.Roots != 1 || end.Events != a.events || len(end.Heads) != len(a.log.Heads()):
		return fmt.Errorf("%w: it names %d events, %d are there", ErrAudit, end.Events, a.events)
	case s.Digest() != end.State:
		return fmt.Errorf("%w: the events amount to another state than it claims", ErrAudit)
	}
	return nil
}

// next reads a record.
func (a *audit) next() (typ byte, content []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(a.in, head[:]); err != nil {
		return 0, nil, fmt.Errorf("%w: it ends early", ErrAudit)
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > genesis.MaxRoot {
		return 0, nil, fmt.Errorf("%w: record of %d bytes", wire.ErrTooLarge, n)
	}
	content = make([]byte, n)
	if _, err := io.ReadFull(a.in, content); err != nil {
		return 0, nil, fmt.Errorf("%w: it ends early", ErrAudit)
	}
	return head[0], content, nil
}

func (a *audit) report() *AuditReport {
	s := a.log.State()
	r := &AuditReport{
		Project: a.log.root.Project, Root: a.log.root.ID, Events: a.log.Len(), Settled: s.Settled(), Log: a.log,
	}
	for e := range a.log.Audit(EventID{}) {
		if !e.Counts {
			r.Void++
		}
		if e.Contested {
			r.Contested++
		}
	}
	for _, m := range s.Members() {
		r.Members = append(r.Members, AuditMember{ID: m.ID, Name: m.Cert.Display, Role: m.Role})
	}
	for _, d := range s.Devices() {
		if d.Suspended {
			r.Suspended = append(r.Suspended, d.ID)
		}
	}
	shown := map[EventID]bool{}
	for _, list := range a.log.h.evidence {
		for _, ev := range list {
			for _, i := range []int{ev.x, ev.y} {
				if i != none {
					shown[a.log.h.entries[i].id] = true
				}
			}
		}
	}
	for id := range shown {
		r.Equivocation = append(r.Equivocation, id)
	}
	wire.SortIDs(r.Equivocation)
	return r
}

// Coverage says who knows of an event: members whose events rest on it, and those of whom seen tells heads that do,
// say from what they write. Everybody else may still be talking to somebody whom the event removed.
func (l *Log) Coverage(id EventID, seen map[identity.MemberID][]EventID) (knows, unknown []identity.MemberID, err error) {
	i, ok := l.h.byID[id]
	if !ok {
		return nil, nil, fmt.Errorf("governance: coverage: %w: %s", ErrUnknownEvent, id.Short())
	}
	told := map[identity.MemberID]bool{l.h.entries[i].author: true}
	for _, s := range l.h.entries[i].signers {
		told[s.member] = true
	}
	for _, e := range l.h.entries[i+1:] {
		if e.past.has(i) {
			told[e.author] = true
		}
	}
	for _, m := range l.State().Members() {
		if !m.Present {
			continue
		}
		known := told[m.ID]
		for _, head := range seen[m.ID] {
			if k, ok := l.h.byID[head]; ok && (k == i || l.h.entries[k].past.has(i)) {
				known = true
			}
		}
		if known {
			knows = append(knows, m.ID)
		} else {
			unknown = append(unknown, m.ID)
		}
	}
	return knows, unknown, nil
}
