package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/sync/envelope"
)

// DocIDs lists the documents that are known here, the index among them: open ones, those that the index names, and
// those with envelopes.
func (j *Journal) DocIDs() []DocID {
	ids := map[DocID]bool{}
	for id := range j.names() {
		ids[id] = true
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for id := range j.replicas {
		ids[id] = true
	}
	_ = j.store.View(func(tx *store.Tx) error {
		names, err := tx.Names(docLogs)
		for _, n := range names {
			if id, ok := docOfLog(n); ok {
				ids[id] = true
			}
		}
		return err
	})
	out := make([]DocID, 0, len(ids))
	for id := range ids {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b DocID) int { return slices.Compare(a[:], b[:]) })
	return out
}

// Snapshot returns a signed snapshot of a document for a newcomer: what the envelopes held here make, without own edits
// that are not signed yet, and without what was itself adopted and is not verified. It fails with [ErrUnknownDoc]
// or [ErrTooLarge]. It must not be called by an observer of the document.
func (j *Journal) Snapshot(doc DocID) ([]byte, error) {
	if !j.hasDoc(doc) {
		return nil, ErrUnknownDoc
	}
	j.mu.Lock()
	r, closed := j.replicas[doc], j.closed
	j.mu.Unlock()
	if r == nil { // made for this once, not opened
		r = &Replica{ID: doc, j: j, gate: newGate()}
	}
	c := snapshotCore{Project: j.project, Doc: doc}
	var err error
	ran := !closed && r.gate.alone(func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		err = j.fillSnapshot(r, &c)
	})
	j.deliver()
	switch {
	case !ran:
		return nil, ErrClosed
	case err != nil:
		return nil, fmt.Errorf("journal: snapshot: %w", err)
	case len(c.Heads) > maxSnapshotHeads || len(c.state) > MaxSnapshotState || len(c.Frontier) > MaxFrontier:
		return nil, fmt.Errorf("%w: the document is too large for a snapshot", ErrTooLarge)
	}
	key, err := j.snapshotEpoch(&c)
	if err != nil {
		return nil, fmt.Errorf("journal: snapshot: %w", err)
	}
	c.seal(key, j.self.Device)
	return signSnapshot(j.self.Keys.DK, c), nil
}

// snapshotEpoch chooses the epoch to seal a snapshot under, that of edits now, and returns its key.
func (j *Journal) snapshotEpoch(c *snapshotCore) (key [32]byte, err error) {
	usable := false
	j.view(func(r reading) {
		if e, ok := r.now.SendingEpoch(); ok {
			c.Epoch, usable = e.ID, true
		}
	})
	if usable {
		key, usable = j.gov.EpochKey(c.Epoch)
	}
	if !usable {
		return key, fmt.Errorf("%w: no key epoch is usable", errNotYet)
	}
	c.Nonce, err = seal.NewNonce(j.random)
	return key, err
}

// fillSnapshot puts a document into a snapshot: as it is shown if that is what its envelopes make, else made anew. The
// replica's gate and j.mu are held.
func (j *Journal) fillSnapshot(r *Replica, c *snapshotCore) (err error) {
	doc, in := r.CRDT(), r.content
	if doc == nil {
		if err := j.loadAdopted(r); err != nil {
			return err
		}
	}
	switch {
	case r.adopted != nil, len(j.holds.mutes) > 0: // whom this device has muted is not left out for others
		doc, in, err = j.anew(r, fromEnvelopes)
	case doc == nil || !j.settled(r):
		doc, in, err = j.anew(r, fromLocal)
	}
	if err != nil {
		return err
	}
	if c.state, err = doc.EncodeUpdate(nil); err != nil {
		return err
	}
	j.view(func(r reading) { c.Heads = r.log.Heads() })
	c.Frontier, err = j.frontierOf(in)
	return err
}

func (j *Journal) anew(r *Replica, begin from) (*crdt.Doc, content, error) {
	b, err := j.construct(r, begin, (*chain).offered)
	return b.doc, b.content, err
}

// frontierOf names the last envelope of each chain in a document.
func (j *Journal) frontierOf(in content) ([]place, error) {
	var out []place
	for key, x := range in.spans {
		if x.top == 0 {
			continue
		}
		id, err := j.idAt(j.chain(key), x.top)
		if err != nil {
			return nil, err
		}
		out = append(out, place{Device: key.device, ChainNo: key.no, Seq: x.top, ID: id})
	}
	slices.SortFunc(out, func(a, b place) int { return a.chain().compare(b.chain()) })
	return out, nil
}

// AdoptSnapshot shows a document from a snapshot that a device has served and signed. It stays unverified until all
// envelopes up to the snapshot's frontier are here and make the same document; if they make another, an alert names the
// device and the envelopes win. A snapshot that brings nothing new, or of a document that rests on one already, is
// ignored. The error wraps [ErrSnapshot], [ErrProject], [ErrCut], [ErrUnverifiable] or that of the signature.
func (j *Journal) AdoptSnapshot(ctx context.Context, raw []byte, giver identity.DeviceID) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("journal: adopt snapshot: %w", err)
	}
	var dev *governance.Device
	known := false
	j.view(func(r reading) { dev, known = r.now.Device(giver) })
	if !known || !dev.Live {
		return fmt.Errorf("%w: device %s is no member", ErrSnapshot, giver.Short())
	}
	c, err := parseSnapshot(raw, dev.Cert.DK)
	if err != nil {
		return err
	}
	if c.Project != j.project {
		return fmt.Errorf("%w: %w", ErrSnapshot, ErrProject)
	}
	key, ok := j.gov.EpochKey(c.Epoch)
	if !ok {
		return fmt.Errorf("%w: the key that the snapshot is sealed under is missing", ErrUnverifiable)
	}
	if err := c.open(key, giver); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.unlock()
	if j.closed {
		return ErrClosed
	}
	return j.adopt(c, raw, giver)
}

func (j *Journal) adopt(c *snapshotCore, raw []byte, giver identity.DeviceID) error {
	switch {
	case !j.knows(c.Heads):
		return fmt.Errorf("%w: the snapshot's governance heads are unknown", ErrUnverifiable)
	case !j.standsOn(c):
		return fmt.Errorf("%w: the snapshot holds envelopes that do not count, or are held back", ErrCut)
	case j.complete(c):
		return nil // nothing new
	}
	r, err := j.openReplica(c.Doc, "")
	if err != nil || r.adopted != nil {
		return err
	}
	if endOf([][]byte{c.state}, j.clientOf(r.no)) > r.signed[r.no] {
		return fmt.Errorf("%w: it holds edits of this session's own chain that this device never made", ErrSnapshot)
	}
	r.adopted, r.giver = c, giver
	r.todo = append(r.todo, edit{[][]byte{c.state}, Origin{Device: giver}})
	id, rec := c.Doc, adoptedRecord{Giver: giver}
	j.write(func(tx *store.Tx) error {
		if err := tx.Drop(adoptedLog(id)); err != nil {
			return err
		}
		return errors.Join(appendChunks(tx.Log(adoptedLog(id)), raw), put(tx, adoptedMap, id[:], rec))
	})
	return nil
}

// loadAdopted reads the snapshot that a document rests on, if there is one; j.mu is held.
func (j *Journal) loadAdopted(r *Replica) error {
	var rec adoptedRecord
	var raw []byte
	err := j.store.View(func(tx *store.Tx) error {
		b, ok, err := tx.Map(adoptedMap).Get(r.ID[:])
		if err != nil || !ok {
			return err
		}
		raw = joinChunks(tx.Log(adoptedLog(r.ID)))
		return unmarshal(b, &rec)
	})
	if err != nil || raw == nil {
		return err
	}
	c, err := parseSnapshot(raw, nil) // the signature was verified when it came
	if err != nil {
		return err
	}
	key, held := j.gov.EpochKey(c.Epoch)
	if held {
		err = c.open(key, rec.Giver)
	}
	r.adopted, r.giver = c, rec.Giver
	if !held || err != nil || !j.standsOn(c) { // its envelopes come by themselves
		j.dropAdopted(r)
	}
	return nil
}

// dropAdopted forgets the snapshot that a document rests on; j.mu is held.
func (j *Journal) dropAdopted(r *Replica) {
	id := r.ID
	r.adopted = nil
	j.write(func(tx *store.Tx) error {
		return errors.Join(tx.Drop(adoptedLog(id)), tx.Map(adoptedMap).Delete(id[:]))
	})
}

// standsOn reports whether everything up to a snapshot's frontier counts and is shown, as far as governance and mutes are
// concerned.
func (j *Journal) standsOn(c *snapshotCore) bool {
	return !slices.ContainsFunc(c.Frontier, func(p place) bool {
		at := j.chain(p.chain())
		return p.Seq > at.shown() || len(at.aims) > 0 && p.Seq <= at.head && !j.has(at, at.branch, p.Seq, p.ID)
	})
}

// complete reports whether everything up to a snapshot's frontier is held.
func (j *Journal) complete(c *snapshotCore) bool {
	return !slices.ContainsFunc(c.Frontier, func(p place) bool { return p.Seq > j.chain(p.chain()).head })
}

// verifyAdopted makes a document from the envelopes up to its snapshot's frontier and compares. The journal is not
// locked meanwhile: envelopes are only ever added.
func (j *Journal) verifyAdopted(r *Replica) bool {
	j.mu.Lock()
	c := r.adopted
	if c == nil {
		j.mu.Unlock()
		return false
	}
	upTo := map[chainKey]uint64{}
	by := j.routes()
	same := true
	for _, p := range c.Frontier {
		upTo[p.chain()] = p.Seq
		id, err := j.idAt(j.chain(p.chain()), p.Seq)
		same = same && err == nil && id == p.ID // else it rests on another branch: no lie, but not ours
	}
	j.mu.Unlock()
	equal, err := false, error(nil)
	if same {
		equal, err = j.matches(c, upTo, by)
	}
	j.mu.Lock()
	defer j.unlock()
	if r.adopted != c || j.closed {
		return false
	}
	if err != nil {
		j.log.Warn("journal: snapshot cannot be verified; the document is made from its envelopes", "err", err)
	}
	if !equal {
		if same && err == nil && j.standsOn(c) {
			j.alert(Alert{Kind: AlertSnapshot, Device: r.giver, Doc: r.ID, Err: fmt.Errorf("%w: its envelopes make another document", ErrSnapshot)})
		}
		r.stale = true
		j.poke(j.wakeBuild)
	}
	j.dropAdopted(r)
	return true
}

// matches reports whether the envelopes of a document up to a frontier make what a snapshot holds.
func (j *Journal) matches(c *snapshotCore, upTo map[chainKey]uint64, by routes) (bool, error) {
	built, claimed := crdt.New(), crdt.New()
	_, err := j.entries(c.Doc, 1, by, func(e *envelope.Envelope) error {
		if e.Seq > upTo[keyOf(e)] {
			return nil
		}
		updates, err := j.updates(e)
		if err != nil {
			return err
		}
		_, err = apply(built, edit{updates: updates})
		return err
	})
	if err != nil {
		return false, err
	}
	if _, err := claimed.ApplyUpdate(c.state); err != nil {
		return false, err
	}
	ours, err1 := structure(built)
	theirs, err2 := structure(claimed)
	return ours == theirs, errors.Join(err1, err2)
}
