package governance

import (
	"fmt"
	"slices"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// rootVersion is a root record in force as replay sees it.
type rootVersion struct {
	root *genesis.Root
	past bitset // what its frontier names, and all before: acts on the version before it stay in force there
}

// rootChain is what replay knows of the root. The zero value, of histories without records, knows one root for ever.
type rootChain struct {
	force []rootVersion                    // from version 1; a version is here once the log holds all of its frontier
	known map[genesis.RootID]*genesis.Root // every valid record, in force or not
	fork  bool                             // two records follow the last version, so that its root is suspended
	spare bitset                           // what all of these leave in force,
	whole bool                             // as far as their frontiers are held
}

// SetRoots tells the log how the root stands: view, and all valid records. Events may name any of these. A version counts
// here from the moment when all events of its frontier are held; until then the one before does. If a record that counted
// does so no more, everything is judged anew.
func (l *Log) SetRoots(view genesis.ChainView, records []*genesis.Root) {
	r := &l.h.roots
	r.known = make(map[genesis.RootID]*genesis.Root, len(records))
	for _, x := range records {
		r.known[x.ID] = x
	}
	same := 0
	for same < min(len(r.force), len(view.Versions)) && r.force[same].root.ID == view.Versions[same].ID {
		same++
	}
	moved := same < len(r.force)
	r.force = slices.Clone(r.force[:same])
	if !sameFork(l.view.Fork, view.Fork) {
		r.fork, r.spare, r.whole, moved = false, nil, false, true
	}
	l.view = view
	l.advance(moved)
}

func sameFork(a, b *genesis.Fork) bool {
	return a == b || a != nil && b != nil && a.Version == b.Version && slices.Equal(a.Records, b.Records)
}

// advance lets the versions count whose frontiers are held. If what is in the log already depends on that, or has moved
// otherwise, everything is judged anew.
func (l *Log) advance(moved bool) {
	r := &l.h.roots
	for len(r.force) < len(l.view.Versions) {
		next := l.view.Versions[len(r.force)]
		past, ok := l.frontier(next)
		if !ok {
			break
		}
		r.force = append(r.force, rootVersion{next, past})
		clear(l.states)
		moved = moved || slices.ContainsFunc(l.h.entries, func(e *entry) bool { return e.rootN >= next.N })
	}
	if l.view.Fork != nil && !r.whole {
		moved = l.suspend() || moved
	}
	if moved {
		l.rejudge()
	}
}

// suspend notes that two records claim to follow the last version, and which of its acts all of them spare. It reports
// whether that is new. What the frontier of a record spares is not known before all of it is held.
func (l *Log) suspend() bool {
	r := &l.h.roots
	var spare bitset
	whole := true
	for k, id := range l.view.Fork.Records {
		past, ok := l.frontier(r.known[id])
		whole = whole && ok
		if k == 0 {
			spare = past.clone()
		}
		spare = spare.chosen(past, past, nil)
	}
	fresh := !r.fork || !spare.contains(r.spare) || !r.spare.contains(spare)
	r.fork, r.spare, r.whole = true, spare, whole
	return fresh
}

// frontier returns what a record's frontier names and all before it, if the log holds it, else nothing.
func (l *Log) frontier(r *genesis.Root) (bitset, bool) {
	var at []int
	for _, id := range r.Frontier {
		i, ok := l.h.byID[EventID(id)]
		if !ok {
			return nil, false
		}
		at = append(at, i)
	}
	return l.h.closure(at), true
}

// AwaitedRoot returns the events that must be fetched before the next version of the root counts here; none if no
// version waits.
func (l *Log) AwaitedRoot() []EventID {
	if len(l.h.roots.force) >= len(l.view.Versions) {
		return nil
	}
	var out []EventID
	for _, id := range l.view.Versions[len(l.h.roots.force)].Frontier {
		if !l.Has(EventID(id)) {
			out = append(out, EventID(id))
		}
	}
	return out
}

// rejudge takes all events again, whose signatures were verified when they came, under the roots as they stand now. Each
// keeps its place.
func (l *Log) rejudge() {
	old := l.h
	l.h = historyOf(l.root)
	l.h.roots = old.roots
	l.heads = []int{0}
	clear(l.states)
	for _, e := range old.entries[1:] {
		again, err := l.facts(e.event)
		if err != nil {
			panic("governance: an event that was taken is refused: " + err.Error()) // facts do not depend on which root counts
		}
		l.place(again)
	}
}

// current returns the newest version that counts, nil in a history without records.
func (r *rootChain) current() *genesis.Root {
	if len(r.force) == 0 {
		return nil
	}
	return r.force[len(r.force)-1].root
}

// checkArrived refuses an event on a version that does not count here yet, because events of its frontier are missing.
func (l *Log) checkArrived(ev *Event) error {
	r := l.h.roots.known[ev.Root]
	if r != nil && int(r.N) > len(l.h.roots.force) && int(r.N) <= len(l.view.Versions) && l.view.Versions[r.N-1].ID == r.ID {
		return fmt.Errorf("%w: version %d; fetch the events before it", ErrUnknownRoot, r.N)
	}
	return nil
}

// checkRoot refuses an event on a record that is not known, or on one older than a parent's.
func (l *Log) checkRoot(ev *Event) error {
	r := l.h.roots.known[ev.Root]
	if r == nil {
		return fmt.Errorf("%w: %s; fetch the root chain", ErrUnknownRoot, ev.Root.Short())
	}
	for _, p := range ev.Parents {
		if i, ok := l.h.byID[p]; ok && l.h.entries[i].rootN > r.N {
			return fmt.Errorf("%w: it rests on version %d of the root, a parent on version %d", ErrEvent, r.N, l.h.entries[i].rootN)
		}
	}
	return nil
}

// setRoot notes which record e rests on.
func (e *entry) setRoot(r *genesis.Root) {
	e.root, e.rootN, e.threshold = r.ID, r.N, int(r.Policy.Threshold)
}

// inForce reports whether e's record is one that counts.
func (h *history) inForce(e *entry) bool {
	n := int(e.rootN)
	return n <= len(h.roots.force) && h.roots.force[n-1].root.ID == e.root
}

// quorumOf returns how many managers the policy that e rests on asks for. The policy of a record that does not count is
// that of the last one that does.
func (h *history) quorumOf(e *entry) int {
	if len(h.roots.force) == 0 || e.rootN == 0 {
		return h.policy.quorum
	}
	n := min(int(e.rootN), len(h.roots.force))
	if !h.inForce(e) && n == int(e.rootN) {
		n--
	}
	return int(h.roots.force[max(n, 1)-1].root.Policy.ManagerQuorum)
}

// rootOf returns the newest version that the events of a set name.
func (h *history) rootOf(heads []int) uint32 {
	n := uint32(0)
	for _, i := range heads {
		n = max(n, h.entries[i].rootN) // no event names an older one than a parent
	}
	return n
}

// overtaken says why e does not count once the root has come to a version: a root act of an older one, or of a record that
// does not count, or while two claim to follow; and a manager's act by fewer than the newer policy asks for. What the
// newer version's frontier names is spared.
func (h *history) overtaken(e *entry, version uint32) fault {
	if len(h.roots.force) == 0 || e.rootN == 0 {
		return fine
	}
	force, n := h.roots.force, int(e.rootN)
	later := n < int(version) && n < len(force) && !force[n].past.has(e.idx)
	if !e.rootAct {
		if later && h.inForce(e) && h.lacksManagers(e, int(force[n].root.Policy.ManagerQuorum)) {
			return simply(ReasonQuorum)
		}
		return fine
	}
	switch {
	case !h.inForce(e), later:
		return simply(ReasonSuperseded)
	case h.roots.fork && n == len(force) && !h.roots.spare.has(e.idx):
		return simply(ReasonSuspended)
	}
	return fine
}

// lacksManagers reports whether too few managers have signed e if quorum is what is asked for and more than before.
func (h *history) lacksManagers(e *entry, quorum int) bool {
	if quorum <= h.quorumOf(e) {
		return false
	}
	v := h.pastOf(e)
	stricter := *e
	h.countManagers(&stricter, v, quorum)
	need, _ := h.signersFor(&stricter, v)
	return len(e.signers) < need
}

// verdictBy returns the outcome of the closure of heads once the root has come to a version, whether or not an event
// there names it.
func (h *history) verdictBy(heads []int, version uint32) *verdict {
	v := h.verdict(heads)
	if version <= h.rootOf(heads) {
		return v
	}
	in := h.closure(heads)
	for i := range in.members {
		if e := h.entries[i]; i != 0 && !v.void.has(i) && !h.overtaken(e, version).ok() {
			return h.replayAt(in, h.settled(heads, in), version)
		}
	}
	return v
}

// verdictNow is verdictBy the newest version that counts.
func (h *history) verdictNow(heads []int) *verdict {
	return h.verdictBy(heads, uint32(len(h.roots.force)))
}

// rootID returns the record that counts in the closure of heads: the newest one that its events name.
func (h *history) rootID(heads []int) genesis.RootID {
	n := min(int(h.rootOf(heads)), len(h.roots.force))
	if n == 0 {
		return genesis.RootID(h.project)
	}
	return h.roots.force[n-1].root.ID
}

// sortedIDs turns events into a record's frontier.
func sortedIDs(ids []EventID) []wire.ID {
	out := make([]wire.ID, len(ids))
	for i, id := range ids {
		out[i] = wire.ID(id)
	}
	return wire.SortIDs(out)
}

// RootFrontier returns the heads that the next root record is to name, at most [genesis.MaxFrontier]: acts on the present
// version that are held now stay in force.
func (l *Log) RootFrontier() []wire.ID {
	heads := slices.DeleteFunc(l.Heads(), func(id EventID) bool { return id == EventID(l.root.Project) })
	return sortedIDs(heads[:min(len(heads), genesis.MaxFrontier)])
}

// SettledBy returns the root record that a settled checkpoint settles: the one that it names, if the managers who signed it
// are as many as the policy before that record asks for, in the state that the record's frontier names. Root holders settle
// nothing, and without a manager there nothing is settled. The log must hold the frontier. Whether the checkpoint itself is
// settled is for the caller to know.
func (l *Log) SettledBy(checkpoint EventID) (genesis.RootID, bool) {
	i, ok := l.h.byID[checkpoint]
	if !ok || i == 0 {
		return genesis.RootID{}, false
	}
	e := l.h.entries[i]
	r := l.h.roots.known[e.root]
	if e.rootAct || r == nil || r.N < 2 {
		return genesis.RootID{}, false
	}
	before := l.h.roots.known[r.Prev]
	in, held := l.frontier(r)
	if before == nil || !held {
		return genesis.RootID{}, false
	}
	var heads []int
	for _, id := range r.Frontier {
		heads = append(heads, l.h.byID[EventID(id)])
	}
	if len(heads) == 0 {
		heads, in = []int{0}, bitset{}.with(0)
	}
	o := l.h.verdictBy(l.h.maximal(heads), before.N)
	v := view{l.h, in, o.void, o.base}
	var signed []identity.MemberID
	for _, s := range e.signers {
		if v.standing(s.device) == Manager && !v.suspended(s.device) && !slices.Contains(signed, s.member) {
			signed = append(signed, s.member)
		}
	}
	need := min(int(before.Policy.ManagerQuorum), v.managers(identity.MemberID{}))
	return r.ID, need > 0 && len(signed) >= need
}
