package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/sync/envelope"
)

// held is a batch of own edits that is not signed yet.
type held struct {
	heldRecord
	no     uint64 // under which it is stored; 0 if it is not yet
	silent bool   // the document does not show it yet
}

// Append makes envelopes of own edits of a document: the updates that its [crdt.Doc] has emitted. They are sealed,
// chained, signed and queued to the store, and go to [Journal.OnOwn] once durable. What is returned may be more (the
// session's introduction, what was held back before) or less: while no key epoch is usable, or this device may not sign
// on its chain, edits are stored unsigned and signed later.
//
// An open document keeps what it has emitted until a call takes all of that, in order; updates then only says that there
// is something, and naming an update again does no harm. For a document that is not open, updates are taken as given.
//
// It fails with [ErrReadOnly] if this member may not write, and with [ErrTooLarge] or [ErrContent] for edits that no
// envelope can carry. What this call would have taken is then undone: the document is rebuilt without it.
func (j *Journal) Append(ctx context.Context, doc DocID, updates [][]byte) ([]*envelope.Envelope, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("journal: append: %w", err)
	}
	defer j.deliver() // when both locks are free: an observer may append
	j.appending.Lock()
	defer j.appending.Unlock()
	if err := j.nameDocument(doc); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, ErrClosed
	}
	if err := errors.Join(j.enqueue(j.index.ID, nil), j.enqueue(doc, updates)); err != nil {
		return nil, err
	}
	return j.flush(), nil
}

// enqueue takes own edits into the outbox; j.mu is held.
func (j *Journal) enqueue(doc DocID, updates [][]byte) error {
	r := j.replicas[doc]
	if r != nil {
		updates = r.take()
	}
	if len(updates) == 0 {
		return nil
	}
	err := j.mayWrite()
	if err == nil {
		err = j.hold(r, doc, updates)
	}
	if r != nil {
		r.past = nil // what the documents before the present one have emitted is taken now
	}
	if err != nil && r != nil {
		r.stale = true
		j.poke(j.wakeBuild)
	}
	return err
}

// appendAll takes all edits that were made of open documents before the call.
func (j *Journal) appendAll(ctx context.Context) error {
	j.mu.Lock()
	replicas := j.sortedReplicas()
	j.mu.Unlock()
	var errs []error
	for _, r := range replicas {
		err := r.gate.settle(ctx) // another goroutine may be about to tell of an edit that has returned
		if err == nil && len(r.unsent()) > 0 {
			_, err = j.Append(ctx, r.ID, nil)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// hold puts own edits into the outbox, at most MaxUpdate bytes to a batch.
func (j *Journal) hold(r *Replica, doc DocID, updates [][]byte) error {
	var parts []*held // of one update each
	for _, u := range updates {
		no := j.own.no
		if r != nil {
			var err error
			if u, err = reissueAll(u, r.moves); err != nil {
				return err
			}
			no = r.madeOn(u)
		}
		if err := createsOnly(u, j.clientOf(no)); err != nil {
			return err
		}
		cut, err := split(u, MaxUpdate)
		if err != nil {
			return err
		}
		for _, p := range cut {
			parts = append(parts, &held{heldRecord: heldRecord{Doc: doc, ChainNo: no, Updates: [][]byte{p}}})
		}
	}
	for _, p := range parts {
		if last := len(j.outbox) - 1; last >= 0 && j.outbox[last].joins(p) {
			j.outbox[last].Updates = append(j.outbox[last].Updates, p.Updates...)
		} else {
			j.outbox = append(j.outbox, p)
		}
	}
	return nil
}

// joins reports whether the next batch can be one with h, which is not stored yet.
func (h *held) joins(next *held) bool {
	size := 0
	for _, u := range append(h.Updates[:len(h.Updates):len(h.Updates)], next.Updates...) {
		size += len(u)
	}
	return h.no == 0 && h.Doc == next.Doc && h.ChainNo == next.ChainNo && size <= MaxUpdate && len(h.Updates) < maxBatch
}

// madeOn returns the own chain under whose client ID an update makes structs; the present one if it makes none.
func (r *Replica) madeOn(u []byte) uint32 {
	for _, no := range r.past {
		if _, makes := startOf([][]byte{u}, r.j.clientOf(no)); makes {
			return no
		}
	}
	return r.no
}

// mayWrite fails with ErrReadOnly unless this device may write in the present state.
func (j *Journal) mayWrite() (err error) {
	j.view(func(r reading) {
		if !r.now.May(j.self.Device, governance.ActWrite) {
			err = ErrReadOnly
		}
	})
	return err
}

// flush signs what the outbox holds, as far as that is possible now, and stores the rest unsigned. j.mu is held.
func (j *Journal) flush() (signed []*envelope.Envelope) {
	for len(j.outbox) > 0 {
		envs, err := j.sign(j.outbox[0])
		signed = append(signed, envs...)
		if err != nil {
			if !errors.Is(err, errNotYet) {
				j.cannotWrite(j.outbox[0].ChainNo, err)
			}
			break
		}
		j.outbox = j.outbox[1:]
	}
	for _, h := range j.outbox {
		j.keepHeld(h)
	}
	if len(j.outbox) > 0 {
		j.poke(j.wakeOpen)
	}
	if len(signed) > 0 {
		j.unsent = append(j.unsent, signed...)
		j.poke(j.wakeSend)
	}
	if len(j.outbox) != j.heldWas {
		j.heldWas = len(j.outbox)
		for _, fn := range j.onHeld {
			j.tell(fn)
		}
	}
	return signed
}

// errNotYet means that an edit has to wait for an epoch, its key, or a chain.
var errNotYet = errors.New("journal: cannot be signed yet")

// keepHeld stores a batch that could not be signed.
func (j *Journal) keepHeld(h *held) {
	if h.no > 0 {
		return
	}
	j.heldNo++
	h.no = j.heldNo
	no, rec := h.no, h.heldRecord
	j.write(func(tx *store.Tx) error { return put(tx, outboxMap, seqKey(no), rec) })
}

// standing is what an own envelope rests on.
type standing struct {
	heads []governance.EventID
	epoch governance.EpochID
	key   [32]byte
}

// stand chooses the governance heads and the epoch for own envelopes.
func (j *Journal) stand(c *chain) (s standing, err error) {
	sealed := false
	j.view(func(r reading) {
		s.heads = r.heads(c.heads)
		var then *governance.State
		if then, err = r.log.StateAt(s.heads); err != nil {
			return
		}
		if e, ok := then.SendingEpoch(); ok {
			s.epoch, sealed = e.ID, true
		}
		if !then.May(j.self.Device, governance.ActWrite) {
			err = fmt.Errorf("%w: %w", errNotYet, ErrReadOnly)
		}
	})
	if err != nil {
		return s, err
	}
	if sealed {
		s.key, sealed = j.gov.EpochKey(s.epoch)
	}
	if !sealed {
		return s, fmt.Errorf("%w: no key epoch is usable", errNotYet)
	}
	return s, nil
}

// sign makes an envelope of a batch, with the session's introduction before the first. What it returns is stored even
// if it fails.
func (j *Journal) sign(h *held) (envs []*envelope.Envelope, err error) {
	if !j.usable(h.ChainNo) {
		return nil, fmt.Errorf("%w: the chain is not open", errNotYet)
	}
	c := j.chain(chainKey{j.self.Device, h.ChainNo})
	s, err := j.stand(c)
	if err != nil {
		return nil, err
	}
	if !j.own.introduced[c.key.no] {
		e, err := j.introduce(c, s.heads)
		if err != nil {
			return nil, err
		}
		envs = append(envs, e)
	}
	e, err := j.next(c).Next(j.random, j.self.Keys.DK, envelope.Draft{
		Kind: envelope.KindUpdate, Doc: h.Doc, GovHeads: s.heads, Epoch: &s.epoch,
		Key:     epoch.ContentKey(s.key, s.epoch, c.key.device, c.key.no, h.Doc),
		Payload: (&envelope.Update{Updates: h.Updates}).Encode(),
	})
	if err != nil {
		return envs, err
	}
	item, err := j.judge(c, e, c.heads)
	if err != nil {
		return envs, fmt.Errorf("own envelope would not count: %w", err)
	}
	var also []func(*store.Tx) error
	if no := h.no; no > 0 {
		also = append(also, func(tx *store.Tx) error { return tx.Map(outboxMap).Delete(seqKey(no)) })
	}
	j.commit(c, []judged{item}, e.Sig, !h.silent, also...)
	return append(envs, e), nil
}

func (j *Journal) next(c *chain) *envelope.Chain {
	head := envelope.Beginning(j.project, c.key.device, c.key.no)
	if c.head > 0 {
		head.Seq, head.ID = c.head, c.headID
	}
	return envelope.NewChain(head)
}

// introduce begins the session on the own chain.
func (j *Journal) introduce(c *chain, heads []governance.EventID) (*envelope.Envelope, error) {
	e, err := j.next(c).Introduce(j.self.Keys.DK, j.self.Identity, heads)
	if err != nil {
		return nil, err
	}
	item, err := j.judge(c, e, c.heads)
	if err != nil {
		return nil, fmt.Errorf("own introduction would not count: %w", err)
	}
	j.commit(c, []judged{item}, e.Sig, true)
	j.own.introduced[c.key.no] = true
	return e, nil
}

// Introduce makes the session's introduction if there is none yet, so that others take what this device sends beside
// documents. It reports whether there is one now; without an open chain there is none.
func (j *Journal) Introduce(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("journal: introduce: %w", err)
	}
	defer j.deliver()
	j.appending.Lock()
	defer j.appending.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return false, ErrClosed
	case !j.usable(j.own.no):
		j.own.wanted = true
		j.poke(j.wakeOpen)
		return false, nil
	}
	return j.introduceNow()
}

// introduceNow makes the session's introduction unless there is one; the chain is usable and j.mu is held.
func (j *Journal) introduceNow() (bool, error) {
	if j.own.introduced[j.own.no] {
		return true, nil
	}
	c := j.chain(chainKey{j.self.Device, j.own.no})
	var heads []governance.EventID
	j.view(func(r reading) { heads = r.heads(c.heads) })
	e, err := j.introduce(c, heads)
	if err != nil {
		return false, err
	}
	j.unsent = append(j.unsent, e)
	j.poke(j.wakeSend)
	return true, nil
}

// Chain returns the place of the own chain's newest envelope, and false while this device may not sign on it.
func (j *Journal) Chain() (envelope.ChainHead, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.chain(chainKey{j.self.Device, j.own.no})
	return j.next(c).Head(), j.usable(j.own.no)
}
