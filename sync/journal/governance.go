package journal

import (
	"context"
	"slices"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

// Governance is what a journal asks of its project: who may do what, and under which key. It may be called with the
// journal locked, so none of it may call back into the journal or wait for the network, but for OpenChain.
type Governance interface {
	ID() genesis.ProjectID
	// View runs fn with the log locked.
	View(fn func(*governance.Log))
	// EpochKey returns the key of an epoch, or false if this device does not have it (yet).
	EpochKey(id governance.EpochID) ([32]byte, bool)
	// OpenChain opens this device's next chain and returns its number once the event is durable.
	OpenChain(ctx context.Context) (uint32, error)
}

// reading is the log as one locked view sees it.
type reading struct {
	log *governance.Log
	now *governance.State // the present one
}

func (j *Journal) view(fn func(reading)) {
	j.gov.View(func(log *governance.Log) { fn(reading{log: log, now: log.State()}) })
}

// knows reports whether the log holds all of heads.
func (r reading) knows(heads []governance.EventID) bool {
	return !slices.ContainsFunc(heads, func(h governance.EventID) bool { return !r.log.Has(h) })
}

// includes reports whether the closure of outer contains that of inner, all of which the log holds.
func (r reading) includes(outer, inner []governance.EventID) bool {
	ok, err := r.log.Includes(outer, inner)
	return ok && err == nil
}

// opened reports whether an event that opened a chain lies in the closure of heads.
func (r reading) opened(heads []governance.EventID, c governance.Chain) bool {
	return slices.ContainsFunc(c.Openings, func(id governance.EventID) bool { return r.includes(heads, []governance.EventID{id}) })
}

// heads chooses at most [envelope.MaxHeads] of the log's heads for an own envelope, so that their closure contains that of the
// chain's previous ones: for each of those a head above it, then others while there is room.
func (r reading) heads(previous []governance.EventID) []governance.EventID {
	all := r.log.Heads()
	if len(all) <= envelope.MaxHeads {
		return all
	}
	var chosen []governance.EventID
	for _, p := range previous {
		i := slices.IndexFunc(all, func(h governance.EventID) bool {
			return r.includes([]governance.EventID{h}, []governance.EventID{p})
		})
		if i >= 0 && !slices.Contains(chosen, all[i]) {
			chosen = append(chosen, all[i])
		}
	}
	for _, h := range all {
		if len(chosen) < envelope.MaxHeads && !slices.Contains(chosen, h) {
			chosen = append(chosen, h)
		}
	}
	return wire.SortIDs(chosen)
}
