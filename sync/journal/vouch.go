package journal

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"github.com/studio-whip/collab/sync/envelope"
)

// What is held back of one member must not freeze another who has typed beside it. So whatever is shown and rests on a held
// edit vouches for its chain up to there: the edits are compared by what they refer to, not by when they came, so that it
// does not matter which of the two came first. Those in quarantine cannot release each other, as what they write
// meanwhile is not shown; but where somebody else has typed on it, it is, with what lies below.

// chainHold is what holds back a chain: point as in [holding], offered the same without mutes.
type chainHold struct {
	point   uint64
	offered uint64
	vouched uint64     // what is shown of others rests on what lies up to here
	lent    uint64     // the same of what is offered
	edits   []heldEdit // envelopes beyond the point, ascending

	// makes lists of each document the edits that make something there, ascending by both place and clock: one that is
	// followed by an edit of no later clock is left out, as whatever rests on it rests on that one too.
	makes map[DocID][]heldEdit
}

// heldEdit is an envelope beyond the point. from is the first clock that it makes in its document.
type heldEdit struct {
	seq  uint64
	doc  DocID
	from uint64
	size int
	all  int // size of all up to this one
}

// add notes the next envelope. makes says that it makes something in its document.
func (h *chainHold) add(e heldEdit, makes bool) {
	if e.all = e.size; len(h.edits) > 0 {
		e.all += h.edits[len(h.edits)-1].all
	}
	h.edits = append(h.edits, e)
	if !makes {
		return
	}
	if h.makes == nil {
		h.makes = map[DocID][]heldEdit{}
	}
	list := h.makes[e.doc]
	for len(list) > 0 && list[len(list)-1].from >= e.from {
		list = list[:len(list)-1]
	}
	h.makes[e.doc] = append(list, e)
}

// last returns the last envelope that makes something in a document before a clock; 0 if none does.
func (h *chainHold) last(doc DocID, end uint64) uint64 {
	list := h.makes[doc]
	n, _ := slices.BinarySearchFunc(list, end, func(e heldEdit, end uint64) int { return cmp.Compare(e.from, end) })
	if n == 0 {
		return 0
	}
	return list[n-1].seq
}

// beyond returns how many envelopes lie beyond a place, and their bytes.
func (h *chainHold) beyond(place uint64) (envelopes, bytes int) {
	at := sort.Search(len(h.edits), func(i int) bool { return h.edits[i].seq > place })
	if at == len(h.edits) {
		return 0, 0
	}
	first := h.edits[at]
	return len(h.edits) - at, h.edits[len(h.edits)-1].all - first.all + first.size
}

// bounds is up to where a chain was shown, and by what.
type bounds struct {
	shown uint64
	hold  *chainHold
}

// target is what an edit may rest on: what one client has made in a document.
type target struct {
	doc    DocID
	client uint64
}

// claim says that envelope seq of a chain rests on what a client has made at a clock.
type claim struct{ seq, clock uint64 }

// shown is the place up to which the chain is shown on this device, if it is held so far.
func (c *chain) shown() uint64 {
	if c.hold == nil {
		return c.limit
	}
	return min(c.limit, max(c.hold.point, c.hold.vouched))
}

// offered is the same for snapshots, which other devices get: mutes are left out.
func (c *chain) offered() uint64 {
	if c.hold == nil {
		return c.limit
	}
	return min(c.limit, max(c.hold.offered, c.hold.lent))
}

// listHeld lists the envelopes of a chain beyond its point. j.mu is held.
func (j *Journal) listHeld(c *chain) {
	c.hold.edits, c.hold.makes = nil, nil
	for seq := c.hold.point; seq < c.head; {
		seq++
		e, err := j.envelopeAt(c.key, seq)
		if err != nil {
			j.log.Warn("journal: held envelope", "err", err)
			c.hold.edits, c.hold.makes = nil, nil // documents are made anew when it is released
			return
		}
		it := judged{env: e}
		if e.Kind == envelope.KindUpdate {
			if it.updates, err = j.updates(e); err != nil {
				j.log.Warn("journal: held envelope", "err", err)
			}
		}
		j.addHeld(c, it)
	}
}

// addHeld notes an envelope beyond the point of a chain.
func (j *Journal) addHeld(c *chain, it judged) {
	e := heldEdit{seq: it.env.Seq, doc: it.env.Doc, size: it.env.Size()}
	from, makes := startOf(it.updates, c.client)
	if makes {
		j.watch(target{e.doc, c.client})
	}
	e.from = from
	c.hold.add(e, makes)
}

// watch begins to note what rests on a target: from now on as it comes, and what has come already.
func (j *Journal) watch(t target) {
	if j.holds.claims[t] != nil {
		return
	}
	j.holds.claims[t] = map[chainKey][]claim{}
	_, err := j.entries(t.doc, 1, j.routes(), func(e *envelope.Envelope) error {
		if updates, err := j.updates(e); err == nil {
			j.addClaims(keyOf(e), e.Seq, e.Doc, updates)
		}
		return nil
	})
	if err != nil {
		j.log.Warn("journal: what rests on held edits", "err", err)
	}
	for _, h := range j.outbox {
		if h.Doc == t.doc {
			j.addClaims(j.unsignedKey(), 0, t.doc, h.Updates)
		}
	}
	if r := j.replicas[t.doc]; r != nil {
		j.claimUnsent(r)
	}
}

// claimUnsent notes what own edits rest on that are in no envelope yet. It reports whether that is news.
func (j *Journal) claimUnsent(r *Replica) bool {
	return j.addClaims(j.unsignedKey(), 0, r.ID, r.unsent())
}

// unsignedKey stands for the chain of own edits that are in no envelope yet.
func (j *Journal) unsignedKey() chainKey { return chainKey{j.self.Device, math.MaxUint32} }

// addClaims notes what of the targets an envelope rests on. It reports whether that is news.
func (j *Journal) addClaims(by chainKey, seq uint64, doc DocID, updates [][]byte) (news bool) {
	if len(j.holds.claims) == 0 {
		return false
	}
	for _, u := range updates {
		c, err := parseChanges(u)
		if err != nil {
			continue // it has been accepted: crdt will say what is wrong with it
		}
		for i := range c.structs {
			p := &c.structs[i]
			for _, on := range []*ident{p.origin, p.right, p.parent} {
				if on != nil && on.client != p.client {
					news = j.addClaim(by, seq, target{doc, on.client}, on.clock) || news
				}
			}
		}
	}
	return news
}

func (j *Journal) addClaim(by chainKey, seq uint64, on target, clock uint64) bool {
	claims := j.holds.claims[on]
	if claims == nil {
		return false
	}
	list := claims[by]
	if n := len(list); n > 0 && (list[n-1].clock >= clock || list[n-1].seq > seq) {
		return false // says less, or was noted before
	}
	claims[by] = append(list, claim{seq, clock})
	return true
}

// pruneClaims forgets what rests on clients of whom nothing is held any more.
func (j *Journal) pruneClaims() {
	held := map[uint64]bool{}
	for _, c := range j.chains {
		if c.hold != nil {
			held[c.client] = true
		}
	}
	for t := range j.holds.claims {
		if !held[t.client] {
			delete(j.holds.claims, t)
		}
	}
}

// vouch says of every held chain up to where others rest on it. j.mu is held.
func (j *Journal) vouch() {
	var held []*chain
	for _, c := range j.chains {
		if c.hold != nil {
			c.hold.vouched, c.hold.lent = 0, 0
			held = append(held, c)
		}
	}
	slices.SortFunc(held, func(a, b *chain) int { return a.key.compare(b.key) })
	j.vouchFor(held, (*chain).shown, func(h *chainHold) *uint64 { return &h.vouched })
	j.vouchFor(held, (*chain).offered, func(h *chainHold) *uint64 { return &h.lent })
}

// vouchFor raises the places of held chains until nothing that upTo shows rests on what it does not. What rests on something
// came after it, so that no way back leads through a chain twice, unless somebody has forged it: such a one is not followed.
func (j *Journal) vouchFor(held []*chain, upTo func(*chain) uint64, place func(*chainHold) *uint64) {
	for range held {
		risen := false
		for _, c := range held {
			if to, at := j.vouchedFor(c, upTo), place(c.hold); to > *at {
				*at, risen = to, true
			}
		}
		if !risen {
			return
		}
	}
}

func (j *Journal) vouchedFor(c *chain, upTo func(*chain) uint64) (to uint64) {
	for doc := range c.hold.makes {
		to = max(to, c.hold.last(doc, j.reach(target{doc, c.client}, upTo)))
	}
	return to
}

// reach returns the clock after the last one of a target that something shown rests on.
func (j *Journal) reach(t target, upTo func(*chain) uint64) (end uint64) {
	for by, list := range j.holds.claims[t] {
		limit := uint64(0) // of edits that are not signed
		if c := j.chains[by]; c != nil {
			limit = upTo(c)
		}
		n, _ := slices.BinarySearchFunc(list, limit, func(cl claim, limit uint64) int { // the first beyond
			if cl.seq > limit {
				return 1
			}
			return -1
		})
		if n > 0 {
			end = max(end, list[n-1].clock+1)
		}
	}
	return end
}

// noteHeld takes in what was just accepted of a chain, after it has been noted by its documents and queued to the store.
func (j *Journal) noteHeld(c *chain, items []judged) {
	news := false
	for _, it := range items {
		if c.hold != nil && it.env.Seq > c.hold.point {
			j.addHeld(c, it)
			news = true
		}
		if it.updates != nil {
			news = j.addClaims(c.key, it.env.Seq, it.env.Doc, it.updates) || news
		}
	}
	if news {
		j.revouch()
	}
}

// revouch releases what others rest on now. j.mu is held.
func (j *Journal) revouch() {
	was := map[chainKey]bounds{}
	for _, c := range j.chains {
		if c.hold != nil {
			was[c.key] = bounds{c.shown(), c.hold}
		}
	}
	j.vouch()
	for key, b := range was {
		j.reshow(j.chains[key], b)
	}
}

// reshow brings open documents up to date when a chain is shown up to another place than before. What is released is
// applied if that is little; else, and if something is taken away, the documents are made anew.
func (j *Journal) reshow(c *chain, was bounds) {
	to := c.shown()
	if to == was.shown {
		return
	}
	for _, r := range j.sortedReplicas() {
		x, in := r.spans[c.key]
		if !in || r.stale || x.top <= to && (x.skipped == 0 || x.skipped > to) {
			continue
		}
		if x.top > to || was.hold == nil || !j.release(r, c, was, to) {
			r.stale = true
			j.poke(j.wakeBuild)
		}
	}
}

// release hands a document the envelopes of a chain that are shown from now on. It reports false if they are many.
func (j *Journal) release(r *Replica, c *chain, was bounds, to uint64) bool {
	x := r.spans[c.key]
	at, _ := slices.BinarySearchFunc(was.hold.edits, x.skipped, func(e heldEdit, seq uint64) int { return cmp.Compare(e.seq, seq) })
	if at == len(was.hold.edits) || was.hold.edits[at].seq != x.skipped {
		return false // it was left out for another reason
	}
	var edits []edit
	size := 0
	x.skipped = 0
	for _, e := range was.hold.edits[at:] {
		if e.doc != r.ID {
			continue
		}
		if e.seq > to {
			x.skipped = e.seq
			break
		}
		env, err := j.envelopeAt(c.key, e.seq)
		if err != nil || env.Kind != envelope.KindUpdate {
			return false
		}
		updates, err := j.updates(env)
		if size += e.size; err != nil || len(edits) == tailEnvelopes || size > tailBytes {
			return false
		}
		edits = append(edits, edit{updates, Origin{c.key.device, c.key.no, e.seq}})
		x.top = e.seq
	}
	r.spans[c.key] = x
	r.todo = append(r.todo, edits...)
	return true
}
