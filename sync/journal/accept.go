package journal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/sync/envelope"
)

// Verdict says what became of an envelope or a run.
type Verdict uint8

const (
	// Refused: nothing was stored or applied; the error says why.
	Refused Verdict = iota
	// Accepted: stored, and applied to its document if that is open.
	Accepted
	// Duplicate: held already.
	Duplicate
	// Waiting: it cannot be judged yet. A single envelope is kept for MaxWait and judged again when what was missing
	// arrives; a run is not kept. The error says what is missing.
	Waiting
)

// String returns the verdict's name.
func (v Verdict) String() string {
	return [...]string{"refused", "accepted", "duplicate", "waiting"}[v&3]
}

// Accept judges an envelope that a device has sent, its author or another, and takes it if it counts. The error is a
// *[RefusedError] if it is refused, wraps [ErrUnverifiable] if it waits, or is the store's.
func (j *Journal) Accept(ctx context.Context, env *envelope.Envelope, from identity.DeviceID) (Verdict, error) {
	if err := ctx.Err(); err != nil {
		return Refused, fmt.Errorf("journal: accept: %w", err)
	}
	j.mu.Lock()
	defer j.unlock()
	if j.closed {
		return Refused, ErrClosed
	}
	now := j.clock()
	j.waiting.expire(now)
	v, err := j.accept(&waiter{env: env, from: from, since: now})
	if v == Accepted {
		j.retryChain(keyOf(env))
	}
	return v, err
}

func keyOf(e *envelope.Envelope) chainKey { return chainKey{e.Device, e.ChainNo} }

func sortWaiters(ws []*waiter) {
	slices.SortFunc(ws, func(a, b *waiter) int {
		return cmp.Or(keyOf(a.env).compare(keyOf(b.env)), cmp.Compare(a.env.Seq, b.env.Seq), bytes.Compare(a.env.ID[:], b.env.ID[:]))
	})
}

// accept judges one envelope; j.mu is held.
func (j *Journal) accept(w *waiter) (Verdict, error) {
	e := w.env
	if e.Project != j.project {
		return Refused, refuse(e, ErrProject)
	}
	c := j.chain(keyOf(e))
	if e.Seq <= c.head {
		return j.acceptOld(c, w)
	}
	if !w.verified {
		switch known, err := j.verify(e); {
		case err != nil:
			return Refused, refuse(e, err)
		case !known && j.knows(e.GovHeads):
			return Refused, refuse(e, ErrAuthor)
		case !known:
			return j.wait(w, w.from, Gap{Heads: e.GovHeads}, "its author is unknown, and so are governance events that it names")
		}
		w.verified = true
	}
	if e.Seq > c.head+1 {
		j.noticeOwn(c, e)
		return j.wait(w, e.Device, Gap{After: c.head}, "earlier envelopes of its chain are missing")
	}
	return j.acceptNext(c, w)
}

// acceptNext judges the envelope that follows the chain's head; its signature has been verified.
func (j *Journal) acceptNext(c *chain, w *waiter) (Verdict, error) {
	e := w.env
	prev, err := j.previous(c, e.Seq)
	if err != nil {
		return Refused, err
	}
	if e.Prev != prev {
		j.gap(Gap{From: w.from, Device: e.Device, ChainNo: e.ChainNo})
		return Refused, refuse(e, ErrFork)
	}
	item, err := j.judge(c, e, c.heads)
	var missing *missingError
	switch {
	case errors.As(err, &missing):
		return j.wait(w, e.Device, missing.gap(c), missing.what)
	case err != nil:
		return Refused, refuse(e, err)
	}
	if j.tooMuchHeld(c, e.Size()) {
		return Waiting, errFull
	}
	j.noticeOwn(c, e)
	j.commit(c, []judged{item}, e.Sig, false)
	j.arrived(c)
	return Accepted, nil
}

// errFull means that enough is kept of what a member in quarantine writes. Anti-entropy brings the rest once it is over.
var errFull = fmt.Errorf("%w: the author is in quarantine and too much of what he wrote is held back already", ErrUnverifiable)

// acceptOld judges an envelope of a place that is held already: the same one, or proof that its author has written two.
func (j *Journal) acceptOld(c *chain, w *waiter) (Verdict, error) {
	held, err := j.idAt(c, w.env.Seq)
	if err != nil {
		return Refused, err
	}
	if held == w.env.ID {
		return Duplicate, nil
	}
	switch known, err := j.verify(w.env); {
	case err != nil:
		return Refused, refuse(w.env, err)
	case !known:
		return Refused, refuse(w.env, ErrAuthor)
	}
	prev, err := j.previous(c, w.env.Seq)
	if err != nil {
		return Refused, err
	}
	if w.env.Prev != prev { // the branches part before it: fetch the other one
		j.gap(Gap{From: w.from, Device: w.env.Device, ChainNo: w.env.ChainNo})
		return Refused, refuse(w.env, ErrFork)
	}
	return Refused, j.contradicted(c, w.env.Seq, []*envelope.Envelope{w.env})
}

// wait keeps an envelope for later and says what is missing.
func (j *Journal) wait(w *waiter, charged identity.DeviceID, g Gap, what string) (Verdict, error) {
	g.From, g.Device, g.ChainNo = w.from, w.env.Device, w.env.ChainNo
	if !j.retrying {
		j.gap(g)
	}
	err := fmt.Errorf("%w: %s", ErrUnverifiable, what)
	if !j.waiting.add(charged, w) {
		err = fmt.Errorf("%w; too much waits already, it was not kept", err)
	}
	return Waiting, err
}

func refuse(e *envelope.Envelope, err error) error {
	return &RefusedError{Device: e.Device, ChainNo: e.ChainNo, Seq: e.Seq, Err: err}
}

// verify checks an envelope's signature, by the author's certificate in the present state. known is false if the
// author is not in it.
func (j *Journal) verify(e *envelope.Envelope) (known bool, err error) {
	var dev *governance.Device
	j.view(func(r reading) { dev, known = r.now.Device(e.Device) })
	if !known {
		return false, nil
	}
	return true, e.Verify(dev.Cert.DK)
}

// judged is an envelope that counts as far as its own past can say, with the edits that it carries.
type judged struct {
	env     *envelope.Envelope
	updates [][]byte // nil unless it edits a document
}

// missingError says what an envelope waits for.
type missingError struct {
	what  string
	heads []governance.EventID
}

func (e *missingError) Error() string { return "journal: " + e.what }

func (e *missingError) Unwrap() error { return ErrUnverifiable }

func (e *missingError) gap(c *chain) Gap { return Gap{After: c.head, Heads: e.heads} }

// judge decides whether an envelope may follow what is held of its chain. But for the end that is set to the chain, the
// outcome is the same on every device and at every time. before is what the previous envelope of the chain named as its
// heads. An envelope in a run may lie beyond the end, if the run begins before it: it is held for the signature's sake.
func (j *Journal) judge(c *chain, e *envelope.Envelope, before []governance.EventID) (judged, error) {
	var err error
	j.view(func(r reading) { err = r.judge(c, e, before) })
	if err == nil && c.head >= c.bound() {
		err = ErrCut
	}
	if err != nil {
		return judged{}, err
	}
	if e.Kind == envelope.KindIntroduction {
		return judged{env: e}, nil
	}
	if e.Seq == 1 {
		return judged{}, ErrIntroduction
	}
	if e.Kind != envelope.KindUpdate {
		return judged{env: e}, nil // stored and chained, without effect here
	}
	updates, err := j.updates(e)
	if err != nil {
		return judged{}, err
	}
	for _, u := range updates {
		if err := createsOnly(u, c.client); err != nil {
			return judged{}, err
		}
	}
	return judged{env: e, updates: updates}, nil
}

// judge decides what governance has to say about an envelope.
func (r reading) judge(c *chain, e *envelope.Envelope, before []governance.EventID) error {
	if !r.knows(e.GovHeads) {
		return &missingError{what: "governance events that it names are missing", heads: e.GovHeads}
	}
	opened, ok := r.now.Chain(e.Device, e.ChainNo)
	if !ok || !opened.Owned || !r.opened(e.GovHeads, opened) {
		return ErrChain
	}
	if len(before) > 0 && !r.includes(e.GovHeads, before) {
		return ErrHeads
	}
	then, err := r.log.StateAt(e.GovHeads)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrHeads, err)
	}
	if e.Kind == envelope.KindIntroduction {
		return judgeIntroduction(then, e)
	}
	if !then.May(e.Device, governance.ActWrite) {
		return ErrAuthor
	}
	if e.Sealed() && !then.Usable(*e.Epoch) {
		return ErrEpoch
	}
	return nil
}

// judgeIntroduction checks that an introduction names the author's certificate and may be made.
func judgeIntroduction(then *governance.State, e *envelope.Envelope) error {
	if !then.May(e.Device, governance.ActPresence) {
		return ErrAuthor
	}
	in, err := e.Introduction()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrIntroduction, err)
	}
	dev, _ := then.Device(e.Device)
	if m, ok := then.Member(dev.Member); !ok || m.Cert.ID != in.Identity {
		return fmt.Errorf("%w: it names another identity certificate", ErrIntroduction)
	}
	return nil
}

// updates opens an envelope that edits a document.
func (j *Journal) updates(e *envelope.Envelope) ([][]byte, error) {
	key, ok := j.gov.EpochKey(*e.Epoch)
	if !ok {
		return nil, &missingError{what: "the key of its epoch is missing"}
	}
	payload, err := e.Open(epoch.ContentKey(key, *e.Epoch, e.Device, e.ChainNo, e.Doc))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEpoch, err)
	}
	u, err := envelope.ParseUpdate(payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContent, err)
	}
	return u.Updates, nil
}

// createsOnly checks that an update is well formed and makes structs of one client only.
func createsOnly(update []byte, client uint64) error {
	created, _, err := crdt.Inspect(update)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrContent, err)
	}
	for _, r := range created {
		if r.Client != client {
			return fmt.Errorf("%w: creates structs of client %d, the chain's is %d", ErrContent, r.Client, client)
		}
	}
	return nil
}
