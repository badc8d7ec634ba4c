package governance

import (
	"bytes"
	"slices"

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
	Owned    bool // no other chain has a claim to the client ID
	cut      *Cut
}

type chainKey struct {
	device identity.DeviceID
	no     uint32
}

// buildChains fills in the chains of a state, ascending by device and number.
func (s *State) buildChains(v view) {
	opened := v.openings()
	s.chains = make(map[chainKey]*Chain, len(opened))
	byClient := map[uint32][]chainKey{}
	for key, at := range opened {
		c := &Chain{Device: key.device, No: key.no, ClientID: identity.ClientID(v.h.project, key.device, key.no)}
		for _, i := range at {
			c.Openings = append(c.Openings, v.h.entries[i].id)
		}
		wire.SortIDs(c.Openings)
		c.Opening = c.Openings[0]
		c.cut = v.cut(key, at)
		s.chains[key] = c
		s.chainList = append(s.chainList, c)
		byClient[c.ClientID] = append(byClient[c.ClientID], key)
	}
	for client, keys := range byClient {
		for _, key := range keys {
			s.chains[key].Owned = client != 0 && v.owns(key, keys, opened)
		}
	}
	slices.SortFunc(s.chainList, func(a, b *Chain) int {
		if c := bytes.Compare(a.Device[:], b.Device[:]); c != 0 {
			return c
		}
		return int(a.No) - int(b.No)
	})
}

// openings returns the counting events that open each chain, in causal order.
func (v view) openings() map[chainKey][]int {
	out := map[chainKey][]int{}
	for _, m := range v.h.members {
		for _, i := range v.acts(m) {
			if e := v.h.entries[i]; e.kind == KindAdmit {
				key := chainKey{device: e.admission.device}
				out[key] = append(out[key], i)
			}
		}
	}
	for d, authored := range v.h.authored {
		for _, i := range authored {
			if e := v.h.entries[i]; e.kind == KindChainOpen && v.counts(i) {
				key := chainKey{d, e.body.(*ChainOpen).ChainNo}
				out[key] = append(out[key], i)
			}
		}
	}
	return out
}

// owns reports whether a chain owns the client ID that all of keys share: every opening of another of them knew of
// this chain.
func (v view) owns(key chainKey, keys []chainKey, opened map[chainKey][]int) bool {
	for _, other := range keys {
		if other == key {
			continue
		}
		for _, y := range opened[other] {
			knew := func(x int) bool { return v.h.entries[y].past.has(x) }
			if !slices.ContainsFunc(opened[key], knew) {
				return false
			}
		}
	}
	return true
}

// cut returns where a chain ends, nil if it goes on: each removal of its member ends it unless all its openings
// know of the removal. The highest envelope that a removal names for it is the last that counts.
func (v view) cut(key chainKey, opened []int) *Cut {
	var ends bool
	best := Cut{Device: key.device, ChainNo: key.no}
	for _, i := range v.h.acts[v.h.devices[key.device].member] {
		r, ok := v.h.entries[i].body.(*Revoke)
		if !ok || !v.counts(i) {
			continue
		}
		if slices.ContainsFunc(opened, func(o int) bool { return !v.h.entries[o].past.has(i) }) {
			ends = true
		}
		k, listed := slices.BinarySearchFunc(r.Cuts, best, compareCuts)
		if listed && r.Cuts[k].above(best) {
			best = r.Cuts[k]
		}
	}
	if !ends {
		return nil
	}
	return &best
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
