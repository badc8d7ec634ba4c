package journal

import (
	"cmp"
	"math"
	"slices"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

// chainKey names a chain: one writer of one device.
type chainKey struct {
	device identity.DeviceID
	no     uint32
}

// unlimited is the limit of a chain that nothing has cut.
const unlimited = math.MaxUint64

// chain is what the journal knows of one chain. Held are envelopes 1 to head without a gap; those up to limit count. Of
// these, this device may show fewer: see [holding].
//
//	1 ─ 2 ─ … ─ limit ─ … ─ head
//	└── counts ────┘ └─ held, not shown
type chain struct {
	key    chainKey
	client uint64 // the client ID it writes under

	*branch            // the one that is held as the chain
	branches []*branch // all, ascending by number, if there were ever several
	last     uint32    // the greatest number that one of them ever had

	limitID  wire.ID    // of envelope limit, if it is below head and has been looked up
	limit    uint64     // by the present governance state and fork
	ends                // what that follows from
	reached  int        // how many of its aims are held
	forkedAt uint64     // place of a proven contradiction; 0: none
	hold     *chainHold // nil: all that counts is shown
}

// ends is where a chain ends by governance and what proves that it is forked.
type ends struct {
	plain uint64           // whatever is held of it
	most  uint64           // at most, if the envelopes that it must go through are held
	aims  []governance.Cut // envelopes beyond a fork that it must go through, ascending
}

// bound is the place up to which envelopes are taken: of a forked chain also what may be on the way to its end.
func (c *chain) bound() uint64 {
	if c.astray() {
		return min(c.most, c.aims[len(c.aims)-1].Seq)
	}
	return c.limit
}

// counted is the place up to which the chain is held and counts.
func (c *chain) counted() uint64 { return min(c.head, c.limit) }

// signatures says which envelopes of a chain are stored with their signature. A signature attests all that lies
// before it in its chain, so a few are enough: the newest one, and behind it one in every stretch that fits a run.
type signatures struct {
	newest uint64
	kept   uint64 // the last one before newest that stays
	bytes  uint64 // size of the envelopes after kept
}

// extend notes that envelopes up to seq, n of them with size bytes together, came with a signature on the last. It
// returns the place whose signature is not needed any more, or 0.
func (s *signatures) extend(seq, n, size uint64) (drop uint64) {
	defer func() { s.newest = seq }()
	if !envelope.FitsRun(int(seq-s.kept), int(s.bytes+size)) {
		s.kept, s.bytes = s.newest, size
		return 0
	}
	s.bytes += size
	if s.newest == s.kept {
		return 0
	}
	return s.newest
}

// endsOf says up to where a chain counts in the present state. What was settled is not undone by a second envelope that
// its device signs for an old place; beyond that governance says which branch counts, once it knows of the fork.
func (r reading) endsOf(c *chain) (e ends) {
	opened, ok := r.now.Chain(c.key.device, c.key.no)
	if !ok || !opened.Owned {
		return e
	}
	e.plain = unlimited
	cut, ends := r.now.Cut(c.key.device, c.key.no)
	if ends {
		e.plain = cut.Seq
	}
	e.most = e.plain
	at := c.forkedAt
	if opened.Forked > 0 && (at == 0 || opened.Forked < at) {
		at = opened.Forked
	}
	if at == 0 {
		return e
	}
	e.plain = min(e.plain, at-1)
	settled, ok := r.now.SettledContent(c.key.device, c.key.no)
	if ok = ok && settled.Seq >= at; ok {
		e.aims = append(e.aims, settled)
	}
	// A pick also holds while a fork further down is not known to all: it names what lies before it.
	if ends && opened.Forked > 0 && cut.Seq >= opened.Forked && (!ok || cut.Seq > settled.Seq) {
		e.aims = append(e.aims, cut)
	}
	return e
}

// chain returns the chain of key, making an empty one if nothing of it is held. j.mu is held.
func (j *Journal) chain(key chainKey) *chain {
	c := j.chains[key]
	if c == nil {
		c = &chain{
			key: key, branch: &branch{from: 1}, client: uint64(identity.ClientID([32]byte(j.project), key.device, key.no)),
		}
		j.reckon(c)
		j.view(func(r reading) { j.setHold(r, c) })
	}
	return c
}

// Cuts names, for the removal or the quarantine of a member, the last envelope of each of the member's chains that counts
// here and is not held back by quarantine, in the order in which a removal lists them. Of more chains than it can list,
// those of which most counts are named.
func (j *Journal) Cuts(member identity.MemberID) ([]governance.Cut, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	owned := map[identity.DeviceID]bool{}
	j.view(func(r reading) {
		for _, c := range r.now.Chains() {
			d, ok := r.now.Device(c.Device)
			owned[c.Device] = ok && d.Member == member
		}
	})
	var out []governance.Cut
	for _, c := range j.sortedChains() {
		seq := min(c.head, c.offered())
		if !owned[c.key.device] || seq == 0 {
			continue
		}
		id, err := j.idAt(c, seq)
		if err != nil {
			return nil, err
		}
		out = append(out, governance.Cut{Device: c.key.device, ChainNo: c.key.no, Seq: seq, Envelope: id})
	}
	if len(out) > governance.MaxCuts {
		slices.SortStableFunc(out, func(a, b governance.Cut) int { return cmp.Compare(b.Seq, a.Seq) })
		out = out[:governance.MaxCuts]
		slices.SortFunc(out, func(a, b governance.Cut) int {
			return chainKey{a.Device, a.ChainNo}.compare(chainKey{b.Device, b.ChainNo})
		})
	}
	return out, nil
}

// previous is what envelope seq of the chain must name as its predecessor, if the chain is held up to there.
func (j *Journal) previous(c *chain, seq uint64) (wire.ID, error) {
	switch seq {
	case 1:
		return identity.ChainRoot([32]byte(j.project), c.key.device, c.key.no), nil
	case c.head + 1:
		return c.headID, nil
	}
	return j.idAt(c, seq-1)
}

// sortedChains lists the chains in a fixed order.
func (j *Journal) sortedChains() []*chain {
	out := make([]*chain, 0, len(j.chains))
	for _, c := range j.chains {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *chain) int { return a.key.compare(b.key) })
	return out
}
