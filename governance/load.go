package governance

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
)

// AddAll is [Log.AddFrom] for many events, in the order given. It verifies their signatures on all cores before it
// takes the first, so a log is read from disk as fast as the machine can. errs[i] is what AddFrom would say of raws[i];
// nil if all were taken or wait for their parents.
func (l *Log) AddAll(from string, raws [][]byte) (res AddResult, errs []error) {
	errs = make([]error, len(raws))
	failed := false
	res, _ = l.AddUntil(from, raws, func(i int, err error) bool {
		errs[i], failed = err, true
		return true
	})
	if !failed {
		errs = nil
	}
	return res, errs
}

// AddUntil is [Log.AddAll] that stops at the first event whose error pass does not let pass, and returns that error. The
// events before it stay.
func (l *Log) AddUntil(from string, raws [][]byte, pass func(i int, err error) bool) (res AddResult, err error) {
	events, errs := l.prepare(raws)
	for i, ev := range events {
		var one AddResult
		if ev != nil {
			one, errs[i] = l.addEvent(from, ev)
		}
		res.Added = append(res.Added, one.Added...)
		res.Missing = append(res.Missing, one.Missing...)
		res.Dropped = append(res.Dropped, one.Dropped...)
		if errs[i] != nil && !pass(i, errs[i]) {
			return res, errs[i]
		}
	}
	return res, nil
}

// prepare parses events and verifies their signatures on all cores, by keys that are at hand or that they bring.
func (l *Log) prepare(raws [][]byte) (events []*Event, errs []error) {
	events = make([]*Event, len(raws))
	errs = make([]error, len(raws))
	each(len(raws), func(i int) {
		parse := ParseEvent
		if l.bare {
			parse = ReadEvent
		} else if IsCompacted(raws[i]) {
			errs[i] = ErrCompacted
			return
		}
		if events[i], errs[i] = parse(raws[i]); errs[i] == nil {
			events[i].readCertificates()
		}
	})
	keys := l.keysOf(events)
	first := map[EventID]int{} // what is there twice is verified once
	for i, ev := range events {
		if ev == nil {
			continue
		}
		if _, again := first[ev.ID]; !again && !l.Has(ev.ID) {
			first[ev.ID] = i
		}
	}
	each(len(events), func(i int) {
		ev := events[i]
		if ev == nil {
			return
		}
		if k, fresh := first[ev.ID]; fresh && k == i && !ev.Compacted() {
			ev.verified = l.signedBy(ev, keys)
		}
	})
	return events, errs
}

// each calls do for 0 … n-1 on all cores and returns when all calls have.
func each(n int, do func(i int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	workers.Wait()
}

// keysOf returns the keys of the devices that events introduce. A certificate is bound to its device's id, so it does
// not matter which event brings it.
func (l *Log) keysOf(events []*Event) map[identity.DeviceID]*sign.PublicKey {
	keys := map[identity.DeviceID]*sign.PublicKey{}
	for _, ev := range events {
		if ev != nil && ev.certs != nil && ev.certs.device != nil {
			keys[ev.certs.device.ID] = ev.certs.device.DK
		}
	}
	for id, d := range l.h.devices {
		keys[id] = d.cert.DK
	}
	return keys
}

// signedBy reports whether all signatures of an event verify by keys that are at hand. If not, the event is verified
// when it is taken, and the error says what is wrong.
func (l *Log) signedBy(ev *Event, keys map[identity.DeviceID]*sign.PublicKey) bool {
	check := func(d identity.DeviceID, sig []byte) bool {
		return keys[d] != nil && keys[d].Verify(sign.Event, ev.core, sig) == nil
	}
	if !check(ev.Device, ev.sigs[0]) {
		return false
	}
	for i, c := range ev.Cosigners {
		if !check(c.Device, ev.sigs[1+i]) {
			return false
		}
	}
	return l.verifyHolders(ev) == nil
}

// certificates is what an Admit brings, parsed and verified once. They are nil if they do not verify.
type certificates struct {
	identity *identity.IdentityCert
	device   *identity.DeviceCert
}

// readCertificates verifies the certificates in an Admit.
func (e *Event) readCertificates() *certificates {
	b, ok := e.body.(*Admit)
	if !ok || e.certs != nil {
		return e.certs
	}
	e.certs = &certificates{}
	id, err := identity.ParseIdentityCert(b.Identity)
	if err != nil || id.Seq != 0 {
		return e.certs
	}
	e.certs.identity = id
	if dev, err := identity.ParseDeviceCert(b.Device); err == nil && dev.VerifyIdentity(id) == nil {
		e.certs.device = dev
	}
	return e.certs
}

// Storage keeps a log's events durably. [MemoryStorage] is one; a program keeps them in its database.
type Storage interface {
	// Append keeps events, in order, before it returns.
	Append(events []*Event) error
	// Rewrite keeps these events instead of all that it keeps, at once or not at all.
	Rewrite(events []*Event) error
	// Load returns what is kept, in order.
	Load() ([][]byte, error)
}

// MemoryStorage keeps events while the program runs. Its zero value is empty.
type MemoryStorage struct{ raws [][]byte }

// Append keeps events.
func (s *MemoryStorage) Append(events []*Event) error {
	for _, e := range events {
		s.raws = append(s.raws, e.Raw)
	}
	return nil
}

// Rewrite keeps these events only.
func (s *MemoryStorage) Rewrite(events []*Event) error {
	s.raws = nil
	return s.Append(events)
}

// Load returns what is kept.
func (s *MemoryStorage) Load() ([][]byte, error) { return s.raws, nil }

// Restore adds to l what a storage keeps and appends to it from then on whatever l takes. An event there that the log
// does not take is damage: Restore fails with the error of [Log.Add] and names its place. So is one without signatures
// that no checkpoint attests.
func (l *Log) Restore(s Storage) error {
	raws, err := s.Load()
	if err != nil {
		return fmt.Errorf("governance: restore: %w", err)
	}
	bad := 0
	note := func(i int, _ error) bool { bad = i; return false }
	var res AddResult
	if slices.ContainsFunc(raws, IsCompacted) {
		res, err = l.AddAttested(raws, note)
	} else {
		res, err = l.AddUntil("", raws, note)
	}
	if err != nil {
		return fmt.Errorf("governance: restore: record %d: %w", bad, err)
	}
	if len(res.Added) != len(raws) {
		return fmt.Errorf("governance: restore: %w: %d of %d records", ErrUnknownEvent, len(res.Added), len(raws))
	}
	l.storage = s
	return nil
}

// keep appends to the storage what was just taken.
func (l *Log) keep(ids []EventID) error {
	if l.storage == nil || len(ids) == 0 {
		return nil
	}
	events := make([]*Event, len(ids))
	for i, id := range ids {
		events[i] = l.Get(id)
	}
	if err := l.storage.Append(events); err != nil {
		return fmt.Errorf("governance: store: %w", err)
	}
	return nil
}
