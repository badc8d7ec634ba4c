package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

// Head is how far a chain is held and counts: what anti-entropy compares.
type Head struct {
	Device  identity.DeviceID
	ChainNo uint32
	Seq     uint64
	ID      wire.ID // of envelope Seq
}

// Frontier returns the heads of all chains of which something counts, in a fixed order.
func (j *Journal) Frontier() []Head {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []Head
	for _, c := range j.sortedChains() {
		if id, err := j.countedID(c); err == nil && c.counted() > 0 {
			out = append(out, Head{c.key.device, c.key.no, c.counted(), id})
		}
	}
	return out
}

// countedID returns the id of the last envelope of a chain that counts.
func (j *Journal) countedID(c *chain) (wire.ID, error) {
	switch n := c.counted(); {
	case n == 0:
		return wire.ID{}, nil
	case n == c.head:
		return c.headID, nil
	case c.limitID.IsZero():
		id, err := j.idAt(c, n)
		if err != nil {
			return wire.ID{}, err
		}
		c.limitID = id
	}
	return c.limitID, nil
}

// After says which envelopes of a chain a device lacks that claims to stand at h: those after the place returned. It is
// 0 if the two disagree about what lies there.
func (j *Journal) After(h Head) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.chains[chainKey{h.Device, h.ChainNo}]
	if c == nil || h.Seq == 0 {
		return 0
	}
	if h.Seq > c.head {
		return h.Seq
	}
	if id, err := j.idAt(c, h.Seq); err != nil || id != h.ID {
		return 0
	}
	return h.Seq
}

// Run returns a run of the chain's envelopes that begins after the given place, and the place of its last envelope; nil
// if there is nothing. It has at most [envelope.MaxRun] envelopes and [envelope.MaxRunBytes] bytes. It may end beyond what counts, where a
// signature is; what lies there is for whoever judges it.
func (j *Journal) Run(device identity.DeviceID, chainNo uint32, after uint64) (run []byte, last uint64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.chains[chainKey{device, chainNo}]
	if c == nil || after >= c.counted() {
		return nil, 0, nil
	}
	return j.run(c, after, c.counted())
}

// Runs returns runs that follow one another from after on, about maxBytes bytes together, at least one if there is
// anything.
func (j *Journal) Runs(device identity.DeviceID, chainNo uint32, after uint64, maxBytes int) (runs [][]byte, err error) {
	for size := 0; size < maxBytes; {
		run, last, err := j.Run(device, chainNo, after)
		if err != nil || run == nil {
			return runs, err
		}
		runs, size, after = append(runs, run), size+len(run), last
	}
	return runs, nil
}

// run encodes the longest run after a place that ends with a stored signature, no further than the first one at or
// beyond enough.
func (j *Journal) run(c *chain, after, enough uint64) (raw []byte, last uint64, err error) {
	var envs []*envelope.Envelope
	end, size := 0, 0
	err = j.store.View(func(tx *store.Tx) error {
		for seq := after + 1; seq <= c.head; seq++ {
			b := c.at(c.branch, seq)
			rec, err := tx.Log(chainLog(c.key, b.no)).Get(seq - b.from + 1)
			if err != nil {
				return err
			}
			e, err := envelope.ParseStored(rec)
			if err != nil {
				return err
			}
			if size += e.Size(); !envelope.FitsRun(len(envs)+1, size) {
				break
			}
			envs = append(envs, e)
			sig, ok, err := tx.Map(sigsMap(c.key, b.no)).Get(seqKey(e.Seq))
			if err != nil {
				return err
			}
			if ok {
				e.Sig, end = sig, len(envs)
				if e.Seq >= enough {
					break
				}
			}
		}
		return nil
	})
	if err != nil || end == 0 {
		return nil, 0, errors.Join(err, tooSparse(err == nil))
	}
	raw, err = envelope.EncodeRun(envs[:end])
	return raw, after + uint64(end), err
}

func tooSparse(is bool) error {
	if is {
		return errors.New("journal: stored chain has no signature within a run; it cannot be served")
	}
	return nil
}

// AcceptRun takes a run that a device has sent: all of it or nothing. It returns nil also if all of it was held
// already. The error is a *[RefusedError] if it is refused, wraps [ErrUnverifiable] if something is missing to judge it
// (it is not kept), or is the store's.
func (j *Journal) AcceptRun(ctx context.Context, raw []byte, from identity.DeviceID) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("journal: accept run: %w", err)
	}
	run, err := envelope.DecodeRun(raw)
	if err != nil {
		return &RefusedError{Device: from, Err: err}
	}
	j.mu.Lock()
	defer j.unlock()
	if j.closed {
		return ErrClosed
	}
	c := j.chain(keyOf(run.Envelopes[0]))
	if err := j.acceptRun(c, run, from); err != nil {
		return err
	}
	j.retryChain(c.key)
	return nil
}

// acceptRun judges a run; j.mu is held.
func (j *Journal) acceptRun(c *chain, run *envelope.Run, from identity.DeviceID) error {
	first, last := run.Envelopes[0], run.Envelopes[len(run.Envelopes)-1]
	if first.Project != j.project {
		return refuse(first, ErrProject)
	}
	switch known, err := j.verify(last); {
	case err != nil:
		return refuse(last, err)
	case !known && j.knows(last.GovHeads):
		return refuse(last, ErrAuthor)
	case !known:
		j.gap(Gap{From: from, Device: first.Device, ChainNo: first.ChainNo, Heads: first.GovHeads})
		return fmt.Errorf("%w: the author of the run is unknown", ErrUnverifiable)
	}
	j.follow(c, first)
	if first.Seq > c.head+1 {
		j.gap(Gap{From: from, Device: first.Device, ChainNo: first.ChainNo, After: c.head})
		return fmt.Errorf("%w: the run begins at %d, %d is held", ErrUnverifiable, first.Seq, c.head)
	}
	prev, err := j.previous(c, first.Seq)
	if err != nil {
		return err
	}
	if first.Prev != prev {
		j.gap(Gap{From: from, Device: first.Device, ChainNo: first.ChainNo})
		return refuse(first, ErrFork)
	}
	fresh, err := j.fresh(c, run.Envelopes, last.Sig)
	if err != nil || len(fresh) == 0 {
		return err
	}
	items, err := j.judgeAll(c, fresh, from)
	if err != nil {
		return err
	}
	size := 0
	for _, it := range items {
		size += it.env.Size()
	}
	if j.tooMuchHeld(c, size) {
		return errFull
	}
	j.noticeOwn(c, last)
	j.commit(c, items, last.Sig, false)
	j.arrived(c)
	return nil
}

// follow goes over to the branch of a chain that an envelope continues, if the picked one is looked for and the held one is
// not what it continues.
func (j *Journal) follow(c *chain, first *envelope.Envelope) {
	continues := func(b *branch) bool {
		return first.Seq > 1 && j.has(c, b, first.Seq-1, first.Prev)
	}
	if !c.astray() || len(c.branches) == 0 || continues(c.branch) {
		return
	}
	for _, b := range c.branches {
		if continues(b) && j.reached(c, b) >= c.reached {
			j.turn(c, b)
			return
		}
	}
}

// arrived looks whether what was just taken of a chain is what governance has picked.
func (j *Journal) arrived(c *chain) {
	if len(c.aims) > 0 && j.reckon(c) {
		j.revouch()
		j.markStale()
		j.renumber()
	}
}

// fresh returns the envelopes of a run that are not held. If one contradicts what is held, that is recorded and
// refused.
func (j *Journal) fresh(c *chain, envs []*envelope.Envelope, sig []byte) ([]*envelope.Envelope, error) {
	for i, e := range envs {
		if e.Seq > c.head {
			return envs[i:], nil
		}
		held, err := j.idAt(c, e.Seq)
		if err != nil {
			return nil, err
		}
		if held != e.ID {
			refusal := j.contradicted(c, e.Seq, envs[i:])
			if c.astray() && e.Seq > c.fixed() && errors.Is(refusal, ErrFork) && j.part(c, envs[i:]) {
				return j.fresh(c, envs[i:], sig)
			}
			return nil, refusal
		}
	}
	return nil, nil
}

func (j *Journal) judgeAll(c *chain, envs []*envelope.Envelope, from identity.DeviceID) (items []judged, err error) {
	before := c.heads
	for _, e := range envs {
		item, err := j.judge(c, e, before)
		var missing *missingError
		switch {
		case errors.As(err, &missing):
			g := missing.gap(c)
			g.From, g.Device, g.ChainNo = from, e.Device, e.ChainNo
			j.gap(g)
			return nil, fmt.Errorf("%w: %s", ErrUnverifiable, missing.what)
		case err != nil:
			return nil, refuse(e, err)
		}
		items, before = append(items, item), e.GovHeads
	}
	return items, nil
}

// idAt returns the id of a held envelope.
func (j *Journal) idAt(c *chain, seq uint64) (wire.ID, error) {
	if seq == c.head {
		return c.headID, nil
	}
	e, err := j.envelopeOn(c, c.branch, seq)
	if err != nil {
		return wire.ID{}, err
	}
	return e.ID, nil
}

func (j *Journal) envelopeAt(key chainKey, seq uint64) (*envelope.Envelope, error) {
	c := j.chain(key)
	return j.envelopeOn(c, c.branch, seq)
}

// contradicted records that the author of a chain has written two envelopes of one place: ours, and the first of
// other, whose signature and link to the common part have been verified. It returns the refusal.
func (j *Journal) contradicted(c *chain, seq uint64, other []*envelope.Envelope) error {
	refusal := refuse(other[0], ErrFork)
	if c.forkedAt > 0 && c.forkedAt <= seq {
		return refusal
	}
	ours, _, err := j.run(c, seq-1, seq)
	if err != nil {
		return err
	}
	theirs, err := envelope.EncodeRun(other)
	if err != nil {
		return err
	}
	f := forkRecord{Seq: seq, A: ours, B: theirs}
	j.forks[c.key] = seq
	c.forkedAt = seq
	j.write(func(tx *store.Tx) error { return put(tx, forksMap, c.key.bytes(), f) })
	j.reckon(c)
	j.alert(Alert{Kind: AlertFork, Device: c.key.device, ChainNo: c.key.no, Seq: seq, Err: ErrFork})
	j.revouch() // what does not count any more releases nothing
	j.markStale()
	j.renumber()
	return refusal
}

// Contradictions lists the chains of which [Journal.EvidenceOf] proves contradictions, and the first place of each with two
// envelopes, in a fixed order. Unlike the runs it is small.
func (j *Journal) Contradictions() []Head {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Head, 0, len(j.forks))
	for key, seq := range j.forks {
		out = append(out, Head{Device: key.device, ChainNo: key.no, Seq: seq})
	}
	slices.SortFunc(out, func(a, b Head) int {
		return chainKey{a.Device, a.ChainNo}.compare(chainKey{b.Device, b.ChainNo})
	})
	return out
}

// EvidenceOf returns the pair of runs that proves a contradiction in one chain; nil if there is none. Whoever accepts both ends the
// chain before them, as this device has done; they are to be sent to every device that may not know of it.
func (j *Journal) EvidenceOf(device identity.DeviceID, chainNo uint32) (runs [][]byte, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := chainKey{device, chainNo}
	if j.forks[key] == 0 {
		return nil, nil
	}
	f, err := j.fork(key)
	if err != nil {
		return nil, fmt.Errorf("journal: evidence: %w", err)
	}
	return [][]byte{f.A, f.B}, nil
}
