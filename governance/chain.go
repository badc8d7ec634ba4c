package governance

import (
	"bytes"
	"maps"
	"slices"
	"sort"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Chain is a sequence of envelopes that one program on one device writes, under a client ID of its own.
type Chain struct {
	Device   identity.DeviceID
	No       uint32
	Opening  EventID   // lowest id of Openings
	Openings []EventID // events that open it, ascending; several if two hosts admitted the device at once
	ClientID uint32
	Owned    bool   // no other chain has a claim to the client ID
	Forked   uint64 // the first place of which a proof shows two envelopes; 0: none
	cut      *Cut
}

type chainKey struct {
	device identity.DeviceID
	no     uint32
}

// buildChains fills in the chains of a state, ascending by device and number.
func (s *State) buildChains(v view) {
	s.chains = map[chainKey]*Chain{}
	if s.reuse.from != nil {
		s.chains = make(map[chainKey]*Chain, len(s.reuse.from.chainList))
		for _, c := range s.reuse.from.chainList {
			if key := (chainKey{c.Device, c.No}); s.reuse.chain(key, v.h.devices[c.Device].member) {
				s.chains[key] = c
				s.chainList = append(s.chainList, c)
			}
		}
	}
	opened := v.openings(s.reuse)
	if len(opened) == 0 {
		return
	}
	bases := v.bases()
	byClient := map[uint32][]chainKey{} // of those that are new or another
	for key, at := range opened {
		c := &Chain{Device: key.device, No: key.no, ClientID: v.h.clientID(key)}
		for _, i := range at {
			c.Openings = append(c.Openings, v.h.entries[i].id)
		}
		wire.SortIDs(c.Openings)
		c.Opening = c.Openings[0]
		c.cut = v.cut(key, at, bases)
		if f, forked := v.forked(key); forked {
			c.Forked = f.seq
		}
		s.chains[key] = c
		s.chainList = append(s.chainList, c)
		byClient[c.ClientID] = nil
	}
	for _, c := range s.chainList {
		if _, asked := byClient[c.ClientID]; asked {
			byClient[c.ClientID] = append(byClient[c.ClientID], chainKey{c.Device, c.No})
		}
	}
	for client, keys := range byClient {
		for _, key := range keys {
			s.own(key, client != 0 && v.owns(key, keys, s.chains))
		}
	}
	slices.SortFunc(s.chainList, func(a, b *Chain) int {
		if c := bytes.Compare(a.Device[:], b.Device[:]); c != 0 {
			return c
		}
		return int(a.No) - int(b.No)
	})
}

// own says whether a chain owns its client ID, which a chain that lately came can have changed.
func (s *State) own(key chainKey, owned bool) {
	c := s.chains[key]
	if c.Owned == owned {
		return
	}
	changed := *c
	changed.Owned = owned
	s.chains[key] = &changed
	s.chainList[slices.Index(s.chainList, c)] = &changed
}

// clientID remembers the client IDs of chains, which are hashes.
func (h *history) clientID(key chainKey) uint32 {
	id, known := h.clients[key]
	if !known {
		id = identity.ClientID(h.project, key.device, key.no)
		h.clients[key] = id
	}
	return id
}

// openings returns the counting events that open each chain whose row is not taken over, in causal order.
func (v view) openings(but *reuse) map[chainKey][]int {
	out := map[chainKey][]int{}
	opens := func(d identity.DeviceID, such func(chainKey) bool) {
		for _, i := range v.h.opens[d] {
			if key := (chainKey{d, v.h.entries[i].body.(*ChainOpen).ChainNo}); v.counts(i) && such(key) {
				out[key] = append(out[key], i)
			}
		}
	}
	for key := range but.opens {
		if info := v.h.devices[key.device]; info != nil && but.member(info.member) && out[key] == nil {
			opens(key.device, func(k chainKey) bool { return k == key })
		}
	}
	for _, m := range v.h.members {
		if but.member(m) {
			continue
		}
		for _, d := range v.h.owned[m] {
			opens(d, func(chainKey) bool { return true })
		}
		for _, i := range v.acts(m) {
			for _, d := range v.h.devicesOf(v.h.entries[i], m) {
				key := chainKey{device: d}
				out[key] = append(out[key], i)
			}
		}
	}
	return out
}

// devicesOf returns the devices of a member that an act adds.
func (h *history) devicesOf(e *entry, m identity.MemberID) []identity.DeviceID {
	switch e.kind {
	case KindAdmit:
		return []identity.DeviceID{e.admission.device}
	case KindEndorse:
		var out []identity.DeviceID
		for _, i := range e.named {
			if a := h.entries[i]; a.kind == KindAdmit && a.subject == m {
				out = append(out, a.admission.device)
			}
		}
		return out
	}
	return nil
}

// owns reports whether a chain owns the client ID that all of keys share: every opening of another of them knew of
// this chain, or an earlier checkpoint settled this one.
func (v view) owns(key chainKey, keys []chainKey, chains map[chainKey]*Chain) bool {
	for _, other := range keys {
		if other == key {
			continue
		}
		for _, y := range chains[other].Openings {
			knew := func(x EventID) bool { return v.before(v.h.byID[x], v.h.byID[y]) }
			if !slices.ContainsFunc(chains[key].Openings, knew) {
				return false
			}
		}
	}
	return true
}

// cut returns where a chain ends, nil if it goes on. Each loss of write of its member or device ends it, unless all its
// openings know of the loss, and so does a proof that it was forked. The end is the furthest envelope that any act
// names for it, never before what was settled without knowledge of the loss; of a loss and a fork it is the lower one, or
// who has lost a chain could lengthen it again by forking it further on.
func (v view) cut(key chainKey, opened, bases []int) *Cut {
	best := Cut{Device: key.device, ChainNo: key.no}
	floor := func(i int) {
		if c := v.floor(key, i, bases); c.above(best) {
			best = c
		}
	}
	ends := false
	for _, i := range v.h.acts[v.h.devices[key.device].member] {
		if !v.counts(i) || !v.h.endsWrite(v.h.entries[i], key.device) {
			continue
		}
		if slices.ContainsFunc(opened, func(o int) bool { return !v.h.entries[o].past.has(i) }) {
			ends = true
			floor(i)
		}
		if c, listed := find(cutsOf(v.h.entries[i].body), best); listed && c.above(best) {
			best = c
		}
	}
	for _, i := range v.h.extends {
		if c, listed := find(v.h.entries[i].body.(*FrontierExtend).Cuts, best); listed && v.counts(i) && c.above(best) {
			best = c
		}
	}
	if f, forked := v.forked(key); forked {
		end, picked := v.forkCut(key, f, bases)
		if picked || !ends || best.Seq > end.Seq {
			return &end
		}
	}
	if !ends {
		return nil
	}
	return &best
}

// endsWrite reports whether an act takes from a device that it may write.
func (h *history) endsWrite(e *entry, d identity.DeviceID) bool {
	if b, ok := e.body.(*RoleDrop); ok {
		return b.Role < Editor
	}
	return h.takes(e, d)
}

func cutsOf(b body) []Cut {
	switch b := b.(type) {
	case *Revoke:
		return b.Cuts
	case *RoleDrop:
		return b.Cuts
	case *DeviceRemove:
		return b.Cuts
	case *Leave:
		return b.Cuts
	case *Carry:
		return b.Cuts
	}
	return nil
}

// find returns the cut of the same chain.
func find(cuts []Cut, of Cut) (Cut, bool) {
	k, listed := slices.BinarySearchFunc(cuts, of, compareCuts)
	if !listed {
		return Cut{}, false
	}
	return cuts[k], true
}

// floor returns how far settled checkpoints that do not know of an act have settled a chain. bases are the settled
// checkpoints, the oldest first; each knows all that the ones before it know.
func (v view) floor(key chainKey, act int, bases []int) Cut {
	best := Cut{Device: key.device, ChainNo: key.no}
	listed := v.h.contents[key]
	if len(listed) == 0 {
		return best
	}
	k := sort.Search(len(bases), func(k int) bool { return v.h.entries[bases[k]].past.has(act) })
	for _, b := range bases[:k] {
		if _, found := slices.BinarySearch(listed, b); !found {
			continue
		}
		if c, ok := find(v.h.checkpoint(b).Content, best); ok && c.above(best) {
			best = c
		}
	}
	return best
}

// buildContent notes how far settled checkpoints have settled each chain.
func (s *State) buildContent(v view) {
	bases := v.bases()
	if len(bases) == 0 {
		return
	}
	s.content = map[chainKey]Cut{}
	if from := s.reuse.from; from != nil { // what lies before the last one
		maps.Copy(s.content, from.content)
		bases = bases[len(bases)-1:]
	}
	for _, b := range bases {
		for _, c := range v.h.checkpoint(b).Content {
			if key := (chainKey{c.Device, c.ChainNo}); c.above(s.content[key]) {
				s.content[key] = c
			}
		}
	}
}

// SettledContent returns the furthest place of a chain that a settled checkpoint names; ok is false if none names it. What
// lies up to there is not undone by a loss of write that the checkpoint does not know of, nor by a fork.
func (s *State) SettledContent(device identity.DeviceID, no uint32) (cut Cut, ok bool) {
	cut, ok = s.content[chainKey{device, no}]
	return cut, ok
}

// bases returns the settled checkpoints, the oldest first. States are asked for along one line of them, mostly, which is kept:
// what it holds up to one of them is the line of that one.
func (v view) bases() []int {
	if v.base == none {
		return nil
	}
	k, kept := slices.BinarySearch(v.h.baseLine, v.base)
	if !kept {
		var line []int
		for b := v.base; b != none; b = v.h.entries[b].base {
			line = append(line, b)
		}
		slices.Reverse(line) // ascending, as an event stands after its past
		v.h.baseLine, k = line, len(line)-1
	}
	return v.h.baseLine[: k+1 : k+1]
}

// forked returns the earliest proof that a chain was forked; of several, the one with the lowest id.
func (v view) forked(key chainKey) (fork, bool) {
	var best fork
	found := false
	for _, f := range v.h.forks[key] {
		if v.in.has(f.idx) && (!found || f.seq < best.seq || f.seq == best.seq && v.h.lowest([]int{f.idx, best.idx}) == f.idx) {
			best, found = f, true
		}
	}
	return best, found
}

// forkCut ends a forked chain before the fork. What was settled stays, and the last FrontierExtend picks a branch; one that
// names no place beyond what was settled without it picks nothing.
func (v view) forkCut(key chainKey, f fork, bases []int) (end Cut, picked bool) {
	best := Cut{Device: key.device, ChainNo: key.no}
	if f.seq > 1 {
		best.Seq, best.Envelope = f.seq-1, f.prev
	}
	if c := v.floor(key, f.idx, bases); c.above(best) {
		best = c
	}
	var picks []int
	for _, i := range v.h.extends {
		if c, listed := find(v.h.entries[i].body.(*FrontierExtend).Cuts, best); listed && v.counts(i) && c.Seq >= f.seq && c.Seq > v.floor(key, i, bases).Seq {
			picks = append(picks, i)
		}
	}
	if i := v.h.lowest(v.last(picks)); i != none {
		c, _ := find(v.h.entries[i].body.(*FrontierExtend).Cuts, best)
		return c, true
	}
	return best, false
}

// above reports whether c lets more of a chain count than d; of two branches of a forked chain the lower id wins.
func (c Cut) above(d Cut) bool {
	if c.Seq != d.Seq {
		return c.Seq > d.Seq
	}
	return c.Seq > 0 && bytes.Compare(c.Envelope[:], d.Envelope[:]) < 0
}

// Chain returns a chain that was opened.
func (s *State) Chain(device identity.DeviceID, no uint32) (Chain, bool) {
	c, ok := s.chains[chainKey{device, no}]
	if !ok {
		return Chain{}, false
	}
	return *c, true
}

// Chains returns the chains that were opened, ascending by device and number.
func (s *State) Chains() []*Chain { return s.chainList }

// Cut returns where a chain ends: the named envelope and its ancestors count, nothing later, and nothing at all if
// Seq is 0. ok is false if the chain goes on or was never opened.
func (s *State) Cut(device identity.DeviceID, no uint32) (cut Cut, ok bool) {
	c := s.chains[chainKey{device, no}]
	if c == nil || c.cut == nil {
		return Cut{}, false
	}
	return *c.cut, true
}
