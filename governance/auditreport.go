package governance

import (
	"slices"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// AuditReport is what a verified audit file says.
type AuditReport struct {
	Project      genesis.ProjectID
	Root         genesis.RootID // record that counts
	RootVersion  uint32         // its version
	Events       int
	Void         int
	Contested    int
	Attested     int // of the events, those without signatures: a settled checkpoint attests that they were good
	Settled      Settled
	Members      []AuditMember // everybody who is or was a member, ascending by id
	Suspended    []identity.DeviceID
	Equivocation []EventID // events that show that a device signed two of one number, ascending

	Migrations   []Migration        // versions of the root after the first, in order
	Fork         *genesis.Fork      // records that claim to be the next version, none of which counts; nil if there are none
	LateForks    []genesis.LateFork // valid records in the place of settled versions, which never count
	RootSettled  uint32             // versions that whoever wrote the file has settled, at least the first: his word
	RootProved   uint32             // how many of these the managers' last settled checkpoint settles, at least the first
	RootDisputed []genesis.RootID   // rivals of what the writer has settled that a checkpoint of enough managers speaks for, ascending
	RootAwaits   genesis.RootID     // settled record that the writer did not hold, so that only version 1 counts; zero if there is none

	Log *Log // for questions: who did what, and why it counts or not
}

// AuditMember is a member in a report.
type AuditMember struct {
	ID   identity.MemberID
	Name string // self-chosen, proves nothing
	Role Role   // None if he is no member any more
}

// Migration is one move of the root, from a version to the next.
type Migration struct {
	Version  uint32 // the new one
	From, To genesis.RootID
	Reason   string
	Old, New RootHolders
	Counts   bool // all events that its record names are there; until then the version before it counts
	After    int  // it counts from this many events on, in the order of the file; 0 if it does not count or names no event
	Knows    int  // events that its record knew of: acts on the version before it that are none of these have no force
}

// RootHolders says who holds a version of the root.
type RootHolders struct {
	Members   []identity.MemberID // ascending
	Threshold int                 // how many of them must sign
}

func (a *audit) report() *AuditReport {
	s, root := a.log.State(), a.log.Root()
	r := &AuditReport{
		Project: a.log.root.Project, Root: root.ID, RootVersion: root.N, Events: a.log.Len(), Settled: s.Settled(), Log: a.log,
	}
	r.Attested = a.log.Attested()
	for e := range a.log.Audit(EventID{}) {
		if !e.Counts {
			r.Void++
		}
		if e.Contested {
			r.Contested++
		}
	}
	for _, m := range s.Members() {
		r.Members = append(r.Members, AuditMember{ID: m.ID, Name: m.Cert.Display, Role: m.Role})
	}
	for _, d := range s.Devices() {
		if d.Suspended {
			r.Suspended = append(r.Suspended, d.ID)
		}
	}
	r.Equivocation = a.log.h.equivocations()
	a.reportRoots(r)
	return r
}

// equivocations returns the events that show that a device signed two of one number, ascending.
func (h *history) equivocations() []EventID {
	shown := map[EventID]bool{}
	var out []EventID
	for _, list := range h.evidence {
		for _, ev := range list {
			for _, i := range ev.events {
				if !shown[h.entries[i].id] {
					shown[h.entries[i].id] = true
					out = append(out, h.entries[i].id)
				}
			}
		}
	}
	return wire.SortIDs(out)
}

// reportRoots adds how the root has moved.
func (a *audit) reportRoots(r *AuditReport) {
	view := a.log.view
	r.Migrations = a.log.migrations()
	r.Fork, r.LateForks, r.RootSettled, r.RootProved, r.RootAwaits = view.Fork, view.Late, view.Settled, 1, view.Awaits
	if id, ok := a.log.SettledBy(r.Settled.Event); ok && a.chain.Includes(view.Pin, id) {
		r.RootProved = a.chain.Get(id).N
	}
	for _, e := range a.log.h.entries {
		if e.kind != KindCheckpoint || slices.Contains(r.RootDisputed, e.root) || !a.rivals(view.Pin, e.root) {
			continue
		}
		if _, ok := a.log.SettledBy(e.id); ok {
			r.RootDisputed = append(r.RootDisputed, e.root)
		}
	}
	wire.SortIDs(r.RootDisputed)
}

// rivals reports whether two records that are held lie on branches of which but one can be in force.
func (a *audit) rivals(x, y genesis.RootID) bool {
	return a.chain.Get(x) != nil && a.chain.Get(y) != nil && !a.chain.Includes(x, y) && !a.chain.Includes(y, x)
}

// migrations returns the versions after the first that are in force by the root chain.
func (l *Log) migrations() []Migration {
	var out []Migration
	after := 0
	for k, r := range l.view.Versions[1:] {
		before := l.view.Versions[k]
		m := Migration{
			Version: r.N, From: before.ID, To: r.ID, Reason: r.Reason, Old: holdersOf(before), New: holdersOf(r),
			Counts: int(r.N) <= len(l.h.roots.force),
		}
		if m.Counts {
			for i := range l.h.roots.force[r.N-1].past.members {
				if i > 0 { // 0 is the first root record
					m.Knows++
				}
				after = max(after, i)
			}
			m.After = after // no version counts before the one that it follows
		}
		out = append(out, m)
	}
	return out
}

func holdersOf(r *genesis.Root) RootHolders {
	h := RootHolders{Threshold: int(r.Policy.Threshold)}
	for _, x := range r.Holders {
		h.Members = append(h.Members, x.Member)
	}
	return h
}
