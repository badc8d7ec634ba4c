package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/sync/envelope"
)

// built is a document made from what is stored.
type built struct {
	content
	doc     *crdt.Doc
	starved bool
}

// from says where a build begins.
type from uint8

const (
	fromLocal     from = iota // with this device's own snapshot, if it still holds, else as fromAdopted
	fromAdopted               // with the snapshot that was adopted, if any
	fromEnvelopes             // with nothing
)

// construct makes a document from the envelopes of each chain up to a place; j.mu is held. Edits that are not signed are
// not in it.
func (j *Journal) construct(r *Replica, begin from, upTo func(*chain) uint64) (b built, err error) {
	b.doc = crdt.New()
	if begin == fromLocal {
		local, err := j.loadLocal(r.ID, b.doc)
		if err != nil {
			return b, err
		}
		if local != nil {
			b.content = *local
		}
	}
	if begin != fromEnvelopes && r.adopted != nil {
		if _, err := b.doc.ApplyUpdate(r.adopted.state); err != nil {
			return b, fmt.Errorf("journal: adopted snapshot: %w", err)
		}
	}
	b.entries, err = j.entries(r.ID, b.entries+1, j.routes(), func(e *envelope.Envelope) error {
		c := j.chain(keyOf(e))
		if !b.add(c.key, e.Seq, upTo(c), e.Size()) {
			return nil
		}
		updates, err := j.updates(e)
		if err != nil {
			return err
		}
		dropped, err := apply(b.doc, edit{updates, Origin{c.key.device, c.key.no, e.Seq}})
		if err != nil {
			j.alert(Alert{Kind: AlertUnapplied, Device: c.key.device, ChainNo: c.key.no, Seq: e.Seq, Doc: r.ID, Err: err})
		}
		b.starved = b.starved || dropped || err != nil
		return nil
	})
	return b, err
}

// entries calls fn with the envelopes of a document from the nth accepted on, in the order of acceptance, but for those of
// branches that are not held now. It returns how many there are, with those.
func (j *Journal) entries(id DocID, n uint64, by routes, fn func(*envelope.Envelope) error) (uint64, error) {
	const batch = 128
	for {
		var envs []*envelope.Envelope
		begin := n
		err := j.store.View(func(tx *store.Tx) error {
			for _, raw := range tx.Log(docLog(id)).From(n) {
				e, err := decodeEntry(raw)
				if err != nil {
					return err
				}
				n++
				at, ok := by.record(e)
				if !ok {
					continue
				}
				rec, err := tx.Log(chainLog(e.chain(), e.Branch)).Get(at)
				if err != nil {
					return err
				}
				env, err := envelope.ParseStored(rec)
				if err != nil {
					return err
				}
				if envs = append(envs, env); len(envs) == batch {
					break
				}
			}
			return nil
		})
		if err != nil {
			return begin - 1, fmt.Errorf("journal: envelopes of a document: %w", err)
		}
		for _, e := range envs {
			if err := fn(e); err != nil {
				return begin - 1, err
			}
		}
		if len(envs) < batch {
			return n - 1, nil
		}
	}
}

// finish makes a document that was constructed the replica's, with the own edits that are not signed, and a client ID
// to go on with. j.mu is held.
func (j *Journal) finish(r *Replica, b built) error {
	signed := j.signedIn(b.doc)
	for _, e := range j.unsigned(r) {
		if _, err := apply(b.doc, e); err != nil {
			return fmt.Errorf("journal: own unsigned edit: %w", err)
		}
	}
	waits := b.doc.Pending()
	blocked := func(no uint32) bool {
		return slices.ContainsFunc(waits, func(w crdt.Range) bool { return w.Client == j.clientOf(no) })
	}
	for blocked(r.no) {
		j.divert(r, blocked)
	}
	if err := b.doc.SetClientID(j.clientOf(r.no)); err != nil {
		return err
	}
	r.content, r.signed, r.stale, r.todo = b.content, signed, false, nil
	r.starved = b.starved && len(b.doc.Missing()) > 0
	r.use(b.doc)
	return nil
}

// unsigned lists the own edits of a document that are not in envelopes. What cannot be re-issued is left out.
func (j *Journal) unsigned(r *Replica) (out []edit) {
	for _, h := range j.outbox {
		if h.Doc == r.ID {
			out = append(out, edit{updates: h.Updates})
		}
	}
	for _, u := range r.unsent() {
		if moved, err := reissueAll(u, r.moves); err == nil {
			out = append(out, edit{updates: [][]byte{moved}})
		}
	}
	return out
}

// signedIn returns, for each own chain, the clock after the last edit in a document that was just constructed.
func (j *Journal) signedIn(doc *crdt.Doc) map[uint32]uint64 {
	out := map[uint32]uint64{}
	for key, c := range j.chains {
		if key.device == j.self.Device {
			out[key.no] = clockOf(doc, c.client)
			for _, w := range doc.Pending() {
				if w.Client == c.client {
					out[key.no] = max(out[key.no], w.To)
				}
			}
		}
	}
	return out
}

// openReplica opens a document; j.mu is held.
func (j *Journal) openReplica(id DocID, name string) (*Replica, error) {
	if r := j.replicas[id]; r != nil {
		if r.Name == "" {
			r.Name = name
		}
		return r, nil
	}
	r := &Replica{ID: id, Name: name, j: j, gate: newGate(), no: j.own.no}
	if err := j.loadAdopted(r); err != nil {
		return nil, err
	}
	b, err := j.construct(r, fromLocal, (*chain).shown)
	if err != nil {
		return nil, err
	}
	if r.adopted == nil && (b.tail > tailEnvelopes || b.bytes > tailBytes) {
		j.saveLocal(r.ID, &b.content, b.doc)
	}
	if err := j.finish(r, b); err != nil {
		return nil, err
	}
	j.replicas[id] = r
	return r, nil
}

// markStale finds the open documents that have other envelopes in them than those that are shown now. j.mu is held.
func (j *Journal) markStale() {
	for _, r := range j.replicas {
		if !r.content.current(j) || r.adopted != nil && !j.standsOn(r.adopted) {
			r.stale = true
			j.poke(j.wakeBuild)
		}
	}
}

// build rebuilds, verifies and saves documents whenever there is reason to.
func (j *Journal) build(ctx context.Context) error {
	for {
		select {
		case <-j.wakeBuild:
		case <-ctx.Done():
			return nil
		}
		for ctx.Err() == nil && j.buildNext() {
			j.deliver()
		}
		j.mu.Lock()
		j.idle.Broadcast()
		j.mu.Unlock()
	}
}

// buildNext does what is due, document by document, and reports whether it did anything.
func (j *Journal) buildNext() (done bool) {
	j.mu.Lock()
	replicas := j.sortedReplicas()
	j.mu.Unlock()
	for _, r := range replicas {
		j.mu.Lock()
		do := j.due(r)
		j.mu.Unlock()
		if do != nil && do(r) {
			done = true
		}
	}
	return done
}

// due returns what has to be done to a document, nil if nothing; j.mu is held.
func (j *Journal) due(r *Replica) func(*Replica) bool {
	switch {
	case j.closed:
		return nil
	case r.stale:
		return j.rebuild
	case r.adopted != nil && j.complete(r.adopted):
		return j.verifyAdopted
	case r.adopted == nil && (r.tail > tailEnvelopes || r.bytes > tailBytes) && j.settled(r):
		return j.saveOpen
	}
	return nil
}

// settled reports whether a document holds nothing but what is signed and accepted, and all of that.
func (j *Journal) settled(r *Replica) bool {
	waits := slices.ContainsFunc(j.outbox, func(h *held) bool { return h.Doc == r.ID })
	return !waits && len(r.todo) == 0 && !r.applying && !r.stale && len(r.unsent()) == 0
}

// rebuild replaces an open document by one made from what counts. It reports whether it could.
func (j *Journal) rebuild(r *Replica) bool {
	var err error
	ran := r.gate.alone(func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.claimUnsent(r) { // what the owner has written beside held edits must not be lost with them
			j.revouch()
		}
		begin := fromLocal
		if r.starved {
			begin = fromAdopted
		}
		err = j.replace(r, begin)
		if err != nil {
			r.stale, r.starved = false, false // not again and again; the alert says that it is not right
			j.alert(Alert{Kind: AlertUnapplied, Doc: r.ID, Err: fmt.Errorf("journal: rebuild: %w", err)})
		}
	})
	return ran
}

// replace makes a document anew and puts it in the place of the old one. The replica's gate and j.mu are held.
func (j *Journal) replace(r *Replica, begin from) error {
	if r.adopted != nil && !j.standsOn(r.adopted) {
		j.dropAdopted(r)
	}
	b, err := j.construct(r, begin, (*chain).shown)
	if err != nil {
		return err
	}
	before := r.CRDT()
	if err := j.finish(r, b); err != nil {
		return err
	}
	for _, fn := range r.onReplaced {
		j.tell(func() { fn(before, b.doc) })
	}
	return nil
}

// Rebuild makes an open document again from the envelopes that count and compares. If the two differ, which they never
// should, the rebuilt one takes the other's place and Rebuild reports true. It must not be called by an observer of the
// document.
func (j *Journal) Rebuild(ctx context.Context, doc DocID) (differed bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("journal: rebuild: %w", err)
	}
	j.mu.Lock()
	r := j.replicas[doc]
	j.unlock()
	if r == nil {
		return false, ErrUnknownDoc
	}
	ran := r.gate.alone(func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		differed, err = j.compare(r)
	})
	if !ran {
		return false, ErrClosed
	}
	j.deliver()
	return differed, err
}

// compare rebuilds a document and keeps the result if it differs; the replica's gate and j.mu are held.
func (j *Journal) compare(r *Replica) (bool, error) {
	b, err := j.construct(r, fromAdopted, (*chain).shown)
	if err != nil {
		return false, err
	}
	if b.doc, err = shadow(b.doc, j.unsigned(r)); err != nil {
		return false, err
	}
	shown, err := shadow(r.CRDT(), r.todo)
	if err != nil {
		return false, err
	}
	ours, err1 := structure(shown)
	theirs, err2 := structure(b.doc)
	if err := errors.Join(err1, err2); err != nil || ours == theirs {
		return false, err
	}
	return true, j.replace(r, fromAdopted)
}

// shadow returns a copy of a document with further edits applied, which nobody observes.
func shadow(doc *crdt.Doc, todo []edit) (*crdt.Doc, error) {
	state, err := doc.EncodeUpdate(nil)
	if err != nil {
		return nil, err
	}
	out := crdt.New()
	if _, err := out.ApplyUpdate(state); err != nil {
		return nil, err
	}
	for _, e := range todo {
		if _, err := apply(out, e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Settled returns when open documents show what counts now and no own envelope waits to be published.
func (j *Journal) Settled(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.idle.Broadcast()
	})
	defer stop()
	j.mu.Lock()
	defer j.mu.Unlock()
	for !j.closed && ctx.Err() == nil && j.busy() {
		j.idle.Wait()
	}
	if j.closed {
		return ErrClosed
	}
	return ctx.Err()
}

func (j *Journal) busy() bool {
	if len(j.unsent) > 0 || j.sending || len(j.told) > 0 || j.telling {
		return true
	}
	for _, r := range j.replicas {
		if len(r.todo) > 0 || r.applying {
			return true
		}
	}
	return j.anyDue()
}

// anyDue reports whether a document has to be rebuilt, verified or saved; j.mu is held.
func (j *Journal) anyDue() bool {
	for _, r := range j.replicas {
		if j.due(r) != nil {
			return true
		}
	}
	return false
}
