package journal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

// branch is one history of a chain from a place on. All chains have number 0, which begins at 1. A second one is kept when
// governance has picked another branch of a forked chain than the one that is held:
//
//	0: 1 ─ 2 ─ 3 ─ 4 ─ 5 ─ 6
//	           └── 1: 4 ─ 5          number 1 parts from 0 at 4
//
// Nothing that was held is thrown away then, as another pick may bring it back.
type branch struct {
	no   uint32
	from uint64 // its first place
	on   uint32 // the branch that holds what lies before

	head   uint64 // the last place that is held
	headID wire.ID
	heads  []governance.EventID // that the envelope there names
	signed signatures
}

// path is the branches that make the held history of a chain, the last first: each from its first place to the one before
// the next's.
func (c *chain) path(b *branch) []*branch {
	out := []*branch{b}
	for b.from > 1 {
		b = c.branches[slices.IndexFunc(c.branches, func(o *branch) bool { return o.no == b.on })]
		out = append(out, b)
	}
	return out
}

// at returns the branch that holds a place in the history that ends with b.
func (c *chain) at(b *branch, seq uint64) *branch {
	for _, o := range c.path(b) {
		if seq >= o.from {
			return o
		}
	}
	return b
}

// stretch says that some places of a chain are those of a branch.
type stretch struct {
	branch   uint32
	from, to uint64
	first    uint64 // the branch's first place, which is record 1 of its log
}

// stretches lists the held history of a chain, the last places first.
func (c *chain) stretches() []stretch {
	to := uint64(math.MaxUint64)
	var out []stretch
	for _, b := range c.path(c.branch) {
		out = append(out, stretch{branch: b.no, from: b.from, to: to, first: b.from})
		to = b.from - 1
	}
	return out
}

// routes is how the held histories of forked chains go. Of a chain that is not named, all is in branch 0.
type routes map[chainKey][]stretch

// routes returns them as they are now; j.mu is held.
func (j *Journal) routes() routes {
	out := routes{}
	for key, c := range j.chains {
		if len(c.branches) > 1 {
			out[key] = c.stretches()
		}
	}
	return out
}

// record returns the number of an envelope in its branch's log; ok is false if it is not of the held history.
func (r routes) record(e entry) (n uint64, ok bool) {
	list, forked := r[e.chain()]
	if !forked {
		return e.Seq, e.Branch == 0
	}
	for _, s := range list {
		if s.branch == e.Branch {
			return e.Seq - s.first + 1, s.from <= e.Seq && e.Seq <= s.to
		}
	}
	return 0, false
}

// envelopeOn returns an envelope of the history that ends with b.
func (j *Journal) envelopeOn(c *chain, b *branch, seq uint64) (e *envelope.Envelope, err error) {
	o := c.at(b, seq)
	err = j.store.View(func(tx *store.Tx) error {
		raw, err := tx.Log(chainLog(c.key, o.no)).Get(seq - o.from + 1)
		if err != nil {
			return err
		}
		e, err = envelope.ParseStored(raw)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("journal: held envelope %d of chain %d of device %s: %w", seq, c.key.no, c.key.device.Short(), err)
	}
	return e, nil
}

// has reports whether a history holds exactly the envelope of this id at a place.
func (j *Journal) has(c *chain, b *branch, seq uint64, id wire.ID) bool {
	if seq > b.head || seq == 0 {
		return false
	}
	if seq == b.head {
		return b.headID == id
	}
	e, err := j.envelopeOn(c, b, seq)
	return err == nil && e.ID == id
}

// reached is how many of the envelopes that the chain has to go through a history holds, from the first on.
func (j *Journal) reached(c *chain, b *branch) int {
	for i, aim := range c.aims {
		if !j.has(c, b, aim.Seq, aim.Envelope) {
			return i
		}
	}
	return len(c.aims)
}

// astray reports whether a chain has to go through an envelope that is not held.
func (c *chain) astray() bool { return c.reached < len(c.aims) }

// fixed is the place up to which the held history is the right one for good, or until governance picks another.
func (c *chain) fixed() uint64 {
	if c.reached == 0 {
		return 0
	}
	return c.aims[c.reached-1].Seq
}

// reckon says anew where a chain ends, after governance or what is held of it has changed, and takes another of its
// branches if that is the one that was picked. It reports whether the end has moved.
func (j *Journal) reckon(c *chain) (moved bool) {
	j.view(func(r reading) { c.ends = r.endsOf(c) })
	c.reached = j.reached(c, c.branch)
	for _, b := range c.branches {
		if n := j.reached(c, b); n > c.reached {
			j.turn(c, b)
		}
	}
	limit := c.plain
	for _, aim := range c.aims[:c.reached] {
		limit = min(c.most, aim.Seq)
	}
	if moved = limit != c.limit; moved {
		c.limit, c.limitID = limit, wire.ID{}
	}
	return moved
}

// turn makes another branch the held history of a chain.
func (j *Journal) turn(c *chain, to *branch) {
	place := parting(c.path(c.branch), c.path(to))
	c.branch = to
	c.reached = j.reached(c, to)
	c.limitID = wire.ID{}
	key, now := c.key, currentRecord{to.no, c.newest()}
	j.write(func(tx *store.Tx) error {
		return errors.Join(put(tx, branchesMap, key.bytes(), now), j.dropLocals(tx, key, place))
	})
	for _, r := range j.replicas {
		if x, in := r.spans[key]; in && (x.top >= place || x.skipped >= place) {
			r.stale = true
			j.poke(j.wakeBuild)
		}
	}
	clear(j.holds.claims) // what rests on what may be said by other envelopes now
	for _, o := range j.chains {
		o.hold = nil
	}
	j.applyHolds()
}

// parting returns the first place where two histories differ.
func parting(a, b []*branch) uint64 {
	place := uint64(math.MaxUint64)
	for _, x := range a {
		if !slices.Contains(b, x) {
			place = min(place, x.from)
		}
	}
	for _, x := range b {
		if !slices.Contains(a, x) {
			place = min(place, x.from)
		}
	}
	return place
}

// part goes over to the branch that begins with an envelope in the place of one that is held: one that is known, or a new
// one. It reports false if the envelopes bring nothing new.
func (j *Journal) part(c *chain, envs []*envelope.Envelope) bool {
	first, last := envs[0], envs[len(envs)-1]
	for _, b := range c.branches {
		if b != c.branch && j.has(c, b, first.Seq, first.ID) {
			news := !j.has(c, b, last.Seq, last.ID)
			if news {
				j.turn(c, b)
			}
			return news
		}
	}
	if len(c.branches) == 0 {
		c.branches = []*branch{c.branch}
	}
	b := &branch{no: c.newest() + 1, from: first.Seq, head: first.Seq - 1}
	if b.head > 0 {
		before, err := j.envelopeOn(c, c.branch, b.head)
		if err != nil {
			j.log.Warn("journal: branch of a chain", "err", err)
			return false
		}
		b.headID, b.heads = before.ID, before.GovHeads
	}
	base := c.at(c.branch, b.head)
	b.on = base.no
	var err error
	if b.signed, err = j.signedBefore(c, first.Seq); err != nil {
		j.log.Warn("journal: branch of a chain", "err", err)
		return false
	}
	c.last = b.no
	if b.from > 1 && c.depth(base) >= MaxBranches {
		if err := j.merge(c, b, base); err != nil {
			j.log.Warn("journal: branch of a chain", "err", err)
			return false
		}
	}
	c.branches = append(c.branches, b)
	key, stored := c.key, b.stored()
	j.write(func(tx *store.Tx) error { return put(tx, branchesMap, branchKey(key, b.no), stored) })
	j.turn(c, b)
	for len(c.branches) > MaxBranches && j.forget(c) {
	}
	return true
}

// newest is the greatest number that a branch of the chain ever had: those that were forgotten are still named by documents.
func (c *chain) newest() uint32 {
	if n := len(c.branches); n > 0 {
		return max(c.last, c.branches[n-1].no)
	}
	return c.last
}

// depth is how many branches have to stay if one stays: those before it, and the first.
func (c *chain) depth(b *branch) int {
	path := c.path(b)
	if path[len(path)-1].no != 0 {
		return len(path) + 1
	}
	return len(path)
}

// merge makes a new branch begin where the one begins that it parts from, with copies of what lies between: else whoever makes
// branches on branches would leave no room for another.
func (j *Journal) merge(c *chain, b, base *branch) error {
	b.from, b.on = base.from, base.on
	key, to, held := c.key, *b, c.branch.no
	j.write(func(tx *store.Tx) error { return put(tx, branchesMap, key.bytes(), currentRecord{held, to.no}) }) // the number is used
	for seq := b.from; seq <= b.head; {
		var items []judged
		sigs := map[uint64][]byte{}
		for size := 0; seq <= b.head && envelope.FitsRun(len(items)+1, size); seq++ {
			e, err := j.envelopeOn(c, base, seq)
			if err != nil {
				return err
			}
			items, size = append(items, judged{env: e}), size+e.Size()
			if sig, ok, err := j.signatureAt(key, base, seq); err != nil {
				return err
			} else if ok {
				sigs[seq] = sig
			}
		}
		j.write(func(tx *store.Tx) error {
			if err := storeEnvelopes(tx, key, &to, items); err != nil {
				return err
			}
			for at, sig := range sigs {
				if err := tx.Map(sigsMap(key, to.no)).Put(seqKey(at), sig); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return nil
}

// signatureAt returns the signature that is stored of a branch's place; ok is false if there is none.
func (j *Journal) signatureAt(key chainKey, b *branch, seq uint64) (sig []byte, ok bool, err error) {
	err = j.store.View(func(tx *store.Tx) error {
		sig, ok, err = tx.Map(sigsMap(key, b.no)).Get(seqKey(seq))
		return err
	})
	return sig, ok, err
}

// forget drops the branch of a chain of which least is held, to make room. The first one, those that others part from, and
// the held one with what lies before it stay.
func (j *Journal) forget(c *chain) bool {
	var least *branch
	path := c.path(c.branch)
	for _, b := range c.branches {
		needed := b.no == 0 || slices.Contains(path, b) || slices.ContainsFunc(c.branches, func(o *branch) bool { return o.from > 1 && o.on == b.no })
		if !needed && (least == nil || cmp.Compare(b.head, least.head) < 0) {
			least = b
		}
	}
	if least == nil {
		return false
	}
	c.branches = slices.DeleteFunc(c.branches, func(b *branch) bool { return b == least })
	key, no := c.key, least.no
	j.write(func(tx *store.Tx) error {
		return errors.Join(tx.Drop(chainLog(key, no)), tx.Drop(sigsMap(key, no)), tx.Map(branchesMap).Delete(branchKey(key, no)))
	})
	return true
}

// signedBefore returns what a branch that begins at a place rests on: the last stored signature before it, and how many
// bytes of envelopes lie between.
func (j *Journal) signedBefore(c *chain, place uint64) (s signatures, err error) {
	err = j.store.View(func(tx *store.Tx) error {
		for seq := place - 1; seq > 0; seq-- {
			b := c.at(c.branch, seq)
			_, found, err := tx.Map(sigsMap(c.key, b.no)).Get(seqKey(seq))
			if err != nil || found {
				s.newest, s.kept = seq, seq
				return err
			}
			raw, err := tx.Log(chainLog(c.key, b.no)).Get(seq - b.from + 1)
			if err != nil {
				return err
			}
			s.bytes += uint64(len(raw))
		}
		return nil
	})
	return s, err
}

// Astray reports whether governance has picked a branch of a chain that is not held here, and behind which place to look
// for it.
func (j *Journal) Astray(h Head) (after uint64, is bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.chains[chainKey{h.Device, h.ChainNo}]
	if c == nil || !c.astray() {
		return 0, false
	}
	s, err := j.signedBefore(c, max(1, min(c.head+1, max(c.plain, c.fixed())+1)))
	if err != nil {
		j.log.Warn("journal: branch of a chain", "err", err)
	}
	return s.kept, err == nil
}

// seek looks for the picked branches of chains in what proves that they are forked, which is held already.
func (j *Journal) seek() {
	if len(j.forks) == 0 {
		return
	}
	for _, c := range j.sortedChains() {
		if !c.astray() || j.forks[c.key] == 0 {
			continue
		}
		f, err := j.fork(c.key)
		if err != nil {
			j.log.Warn("journal: proof of a fork", "err", err)
			continue
		}
		for _, raw := range [][]byte{f.A, f.B} {
			run, err := envelope.DecodeRun(raw)
			if err == nil && c.astray() && !j.known(c, run) {
				err = j.acceptRun(c, run, j.self.Device)
			}
			if err != nil {
				j.log.Debug("journal: branch that a proof shows", "err", err)
			}
		}
	}
}

// known reports whether a branch of a chain holds all of a run.
func (j *Journal) known(c *chain, run *envelope.Run) bool {
	last := run.Envelopes[len(run.Envelopes)-1]
	has := func(b *branch) bool { return j.has(c, b, last.Seq, last.ID) }
	return has(c.branch) || slices.ContainsFunc(c.branches, has)
}

// fork reads the proof that a chain is forked.
func (j *Journal) fork(key chainKey) (f forkRecord, err error) {
	err = j.store.View(func(tx *store.Tx) error {
		raw, _, err := tx.Map(forksMap).Get(key.bytes())
		if err != nil {
			return err
		}
		return unmarshal(raw, &f)
	})
	return f, err
}

func branchKey(key chainKey, no uint32) []byte { return binary.BigEndian.AppendUint32(key.bytes(), no) }
