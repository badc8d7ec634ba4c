package journal

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
)

// HoldReason says why the newest edits of a member are held back, or why they are not any more.
type HoldReason uint8

const (
	// HoldQuarantine: enough members want it.
	HoldQuarantine HoldReason = iota + 1
	// HoldProposal: a manager has proposed it; others may still vote.
	HoldProposal
	// HoldLifted: the quarantine is not in force any more, or the proposal was withdrawn.
	HoldLifted
	// HoldOver: its time is over by this device's clock.
	HoldOver
)

// String returns the reason for people.
func (r HoldReason) String() string {
	switch r {
	case HoldQuarantine:
		return "in quarantine"
	case HoldProposal:
		return "a manager proposes a quarantine"
	case HoldLifted:
		return "the quarantine was lifted"
	case HoldOver:
		return "the time of the quarantine is over"
	}
	return fmt.Sprintf("hold reason %d", uint8(r))
}

// Hold says whether the newest edits of a member are held back by a quarantine.
type Hold struct {
	Member identity.MemberID
	Held   bool
	Why    HoldReason
	Until  time.Time // by this device's clock, if held and not lifted before
}

// holding is all that holds back the edits of one member on this device.
//
//	1 ─ 2 ─ … ─ point ─ … ─ vouched ─ … ─ head
//	└───────── shown ──────────────┘ └─ stored, counts, not shown
type holding struct {
	by   []quarantine // that hold now
	mute *muteRecord
}

// quarantine is one that is in force, or that a manager proposes.
type quarantine struct {
	proposal    governance.EventID
	member      identity.MemberID
	expires     time.Time
	start       time.Time           // when its author says that it was proposed; zero: unknown
	named       map[chainKey]uint64 // the furthest that a voter would let each chain be shown
	provisional bool
	by          identity.MemberID   // the manager who proposes it, if provisional
	points      map[chainKey]uint64 // where this device was when it came, for chains that nobody has named
	until       time.Time
}

// point returns up to where a chain is shown whatever others have built on.
func (q *quarantine) point(key chainKey) uint64 {
	if seq, ok := q.named[key]; ok {
		return seq
	}
	return q.points[key]
}

// point returns the same of all that holds a member; offered leaves out the mute, which is nobody else's business.
func (h *holding) point(key chainKey) (shown, offered uint64) {
	offered = unlimited
	for i := range h.by {
		offered = min(offered, h.by[i].point(key))
	}
	if shown = offered; h.mute != nil {
		shown = min(shown, h.mute.point(key))
	}
	return shown, offered
}

// holds is what this journal knows of held edits; j.mu guards it.
type holds struct {
	records map[governance.EventID]*holdRecord // quarantines that have come
	mutes   map[identity.MemberID]*muteRecord
	of      map[identity.MemberID]*holding
	told    map[identity.MemberID]Hold
	claims  map[target]map[chainKey][]claim // see vouch.go
	next    time.Time                       // when something ends by itself; zero: nothing does
	onHold  []func(Hold)
}

func newHolds() holds {
	return holds{
		records: map[governance.EventID]*holdRecord{}, mutes: map[identity.MemberID]*muteRecord{},
		of: map[identity.MemberID]*holding{}, told: map[identity.MemberID]Hold{},
		claims: map[target]map[chainKey][]claim{},
	}
}

// OnHold calls fn when quarantine begins or ends to hold back what a member writes; of this device's owner it tells
// what others do.
func (j *Journal) OnHold(fn func(Hold)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.holds.onHold = append(j.holds.onHold, fn)
}

// Holds lists whose edits quarantine holds back now, ascending by member.
func (j *Journal) Holds() []Hold {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Hold, 0, len(j.holds.told))
	for _, h := range j.holds.told {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b Hold) int { return slices.Compare(a.Member[:], b.Member[:]) })
	return out
}

// Withheld reports whether quarantine holds back what the owner of a device writes: such a device gets and brings
// nothing but governance events and what gossip carries, and of that presence and messages are not shown.
func (j *Journal) Withheld(device identity.DeviceID) (held bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.view(func(r reading) {
		if d, ok := r.now.Device(device); ok && d.Member != r.memberOf(j.self.Device) {
			_, held = j.holds.told[d.Member]
		}
	})
	return held
}

// HeldBack returns how many envelopes of a member are stored but not shown, and their bytes.
func (j *Journal) HeldBack(member identity.MemberID) (envelopes, bytes int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.view(func(r reading) { envelopes, bytes = j.heldBack(r, member) })
	return envelopes, bytes
}

func (j *Journal) heldBack(r reading, member identity.MemberID) (envelopes, bytes int) {
	for _, c := range j.chains {
		if c.hold == nil || r.memberOf(c.key.device) != member {
			continue
		}
		n, size := c.hold.beyond(c.shown())
		envelopes, bytes = envelopes+n, bytes+size
	}
	return envelopes, bytes
}

// tooMuchHeld reports whether so many bytes more of a chain would be more than is kept of a member in quarantine.
func (j *Journal) tooMuchHeld(c *chain, more int) (full bool) {
	if c.hold == nil || c.hold.offered == unlimited {
		return false
	}
	j.view(func(r reading) {
		_, bytes := j.heldBack(r, r.memberOf(c.key.device))
		full = bytes+more > j.maxHeld
	})
	return full
}

// memberOf returns whose a device is, the zero id if it is nobody's.
func (r reading) memberOf(device identity.DeviceID) (m identity.MemberID) {
	if d, ok := r.now.Device(device); ok {
		m = d.Member
	}
	return m
}

// reviewHolds decides anew what is held back: after governance has changed, a mute, and when a time is over. Documents
// that show something else now are brought up to date. j.mu is held.
func (j *Journal) reviewHolds() {
	now := j.clock()
	of := map[identity.MemberID]*holding{}
	told := map[identity.MemberID]Hold{}
	over := map[identity.MemberID]bool{}
	j.holds.next = time.Time{}
	j.view(func(r reading) {
		own := r.memberOf(j.self.Device)
		for _, q := range j.quarantines(r) {
			if q.provisional && j.proposedBefore(r, &q) {
				continue
			}
			if !j.times(r, &q, now) {
				over[q.member] = true
				continue
			}
			if j.holds.next.IsZero() || q.until.Before(j.holds.next) {
				j.holds.next = q.until
			}
			told[q.member] = stronger(told[q.member], q)
			if q.member != own { // who is held goes on seeing what he writes
				h := holdingOf(of, q.member)
				h.by = append(h.by, q)
			}
		}
	})
	for m, rec := range j.holds.mutes {
		holdingOf(of, m).mute = rec
	}
	j.forgetHolds(now)
	j.tellHolds(told, over)
	j.holds.of = of
	j.applyHolds()
	j.markStale()
	j.poke(j.wakeHold)
}

// loadHolds reads when quarantines came, and whom the owner has muted.
func (j *Journal) loadHolds(tx *store.Tx) error {
	for k, raw := range tx.Map(holdsMap).All() {
		rec := &holdRecord{}
		if err := unmarshal(raw, rec); err != nil {
			return err
		}
		var id governance.EventID
		copy(id[:], k)
		j.holds.records[id] = rec
	}
	for k, raw := range tx.Map(mutesMap).All() {
		rec := &muteRecord{}
		if err := unmarshal(raw, rec); err != nil {
			return err
		}
		var m identity.MemberID
		copy(m[:], k)
		j.holds.mutes[m] = rec
	}
	return tx.Err()
}

func holdingOf(of map[identity.MemberID]*holding, m identity.MemberID) *holding {
	if of[m] == nil {
		of[m] = &holding{}
	}
	return of[m]
}

// stronger chooses what to tell of a member whom several quarantines hold: the vote before the proposal, then what
// lasts longest.
func stronger(h Hold, q quarantine) Hold {
	why := HoldQuarantine
	if q.provisional {
		why = HoldProposal
	}
	if !h.Held || why < h.Why || why == h.Why && q.until.After(h.Until) {
		return Hold{Member: q.member, Held: true, Why: why, Until: q.until}
	}
	return h
}

// quarantines lists those in force, and what managers propose.
func (j *Journal) quarantines(r reading) []quarantine {
	var out []quarantine
	for _, q := range r.now.Quarantines() {
		x := quarantine{proposal: q.Proposal, member: q.Member, named: pointsOf(q.Holds)}
		x.setTimes(r.log.Get(q.Proposal), q.Expires)
		out = append(out, x)
	}
	if j.provisional <= 0 {
		return out
	}
	var lifts []*governance.Event
	var proposed []quarantine
	for e := range r.log.All() {
		switch e.Kind {
		case governance.KindQuarantinePropose:
			if q, ok := r.proposedBy(e); ok && !slices.ContainsFunc(out, func(o quarantine) bool { return o.proposal == e.ID }) {
				proposed = append(proposed, q)
			}
		case governance.KindQuarantineVote, governance.KindLiftQuarantine:
			lifts = append(lifts, e)
		}
	}
	for _, q := range proposed {
		if !slices.ContainsFunc(lifts, func(e *governance.Event) bool { return r.ends(e, q) }) {
			out = append(out, q)
		}
	}
	return out
}

// proposedBy reads a proposal that holds by itself for a while: it counts, and its author is a manager.
func (r reading) proposedBy(e *governance.Event) (q quarantine, ok bool) {
	body, err := governance.DecodeBody(e)
	if err != nil || !r.counts(e) {
		return q, false
	}
	b := body.(*governance.QuarantinePropose)
	author := r.memberOf(e.Device)
	if r.now.Role(author) < governance.Manager || author == b.Member || r.now.Role(b.Member) == governance.None {
		return q, false
	}
	q = quarantine{proposal: e.ID, member: b.Member, named: pointsOf(b.Heads), provisional: true, by: author}
	q.setTimes(e, b.Expires)
	return q, true
}

func (r reading) counts(e *governance.Event) bool {
	x, err := r.log.Explain(e.ID)
	return err == nil && x.Counts
}

// ends reports whether an event ends what a manager has only proposed: his own withdrawal, or another's lift.
func (r reading) ends(e *governance.Event, q quarantine) bool {
	body, err := governance.DecodeBody(e)
	if err != nil || !r.includes([]governance.EventID{e.ID}, []governance.EventID{q.proposal}) || !r.counts(e) {
		return false
	}
	author := r.memberOf(e.Device)
	switch b := body.(type) {
	case *governance.QuarantineVote:
		p := r.log.Get(q.proposal)
		return b.Proposal == q.proposal && b.Withdraw != 0 && p != nil && author == r.memberOf(p.Device)
	case *governance.LiftQuarantine:
		return b.Member != nil && *b.Member == q.member && (len(e.Holders) > 0 || r.now.Role(author) >= governance.Manager)
	}
	return false
}

func pointsOf(cuts []governance.Cut) map[chainKey]uint64 {
	out := make(map[chainKey]uint64, len(cuts))
	for _, c := range cuts {
		out[chainKey{c.Device, c.ChainNo}] = c.Seq
	}
	return out
}

func (q *quarantine) setTimes(e *governance.Event, expires uint64) {
	q.expires = unixTime(expires)
	if e != nil && e.THint != nil {
		q.start = unixTime(*e.THint)
	}
}

// unixTime reads seconds that somebody else wrote.
func unixTime(s uint64) time.Time { return time.Unix(int64(min(s, 1<<40)), 0) }

// times says until when a quarantine holds on this device, and reports whether it does. What comes after its end holds
// nothing; what has ended once has ended for good, whatever becomes of the clock.
func (j *Journal) times(r reading, q *quarantine, now time.Time) bool {
	rec := j.holds.records[q.proposal]
	if rec == nil {
		if !now.Before(q.expires) {
			return false
		}
		rec = &holdRecord{Member: q.member, Since: now.Unix(), Expires: q.expires.Unix(), Points: j.pointsNow(r, q.member)}
		j.keepHold(q.proposal, rec)
	}
	life := maxHold
	if !q.start.IsZero() {
		life = max(0, min(life, q.expires.Sub(q.start)))
	}
	if q.provisional {
		life = min(life, j.provisional)
	}
	q.points = rec.points()
	if q.until = time.Unix(rec.Since, 0).Add(life); q.expires.Before(q.until) {
		q.until = q.expires
	}
	over := &rec.Over
	if q.provisional {
		over = &rec.Alone
	}
	if !now.Before(q.until) && !*over {
		*over = true
		j.keepHold(q.proposal, rec)
	}
	return !*over
}

// proposedBefore reports whether a manager had already proposed lately to hold the same member back: else he could do so for
// ever, alone, by proposing it again and again.
func (j *Journal) proposedBefore(r reading, q *quarantine) bool {
	for id, rec := range j.holds.records {
		if id == q.proposal || rec.Member != q.member {
			continue
		}
		if e := r.log.Get(id); e != nil && r.memberOf(e.Device) == q.by {
			return true
		}
	}
	return false
}

// pointsNow says up to where each chain of a member is shown now.
func (j *Journal) pointsNow(r reading, member identity.MemberID) (out []holdPoint) {
	for _, c := range j.sortedChains() {
		if r.memberOf(c.key.device) == member {
			out = append(out, holdPoint{Device: c.key.device, ChainNo: c.key.no, Seq: min(c.head, c.shown())})
		}
	}
	return out
}

// keepHold stores when a quarantine came, so that a restart does not prolong it.
func (j *Journal) keepHold(id governance.EventID, rec *holdRecord) {
	j.holds.records[id] = rec
	stored := *rec
	j.write(func(tx *store.Tx) error { return put(tx, holdsMap, id[:], stored) })
}

// forgetHolds drops what is known of quarantines that could not hold anything any more.
func (j *Journal) forgetHolds(now time.Time) {
	for id, rec := range j.holds.records {
		if now.Before(time.Unix(rec.Expires, 0).Add(maxHold)) {
			continue
		}
		delete(j.holds.records, id)
		j.write(func(tx *store.Tx) error { return tx.Map(holdsMap).Delete(id[:]) })
	}
}

// tellHolds tells what has changed.
func (j *Journal) tellHolds(now map[identity.MemberID]Hold, over map[identity.MemberID]bool) {
	var news []Hold
	for m, h := range now {
		if j.holds.told[m] != h {
			news = append(news, h)
		}
	}
	for m := range j.holds.told {
		if _, still := now[m]; still {
			continue
		}
		why := HoldLifted
		if over[m] {
			why = HoldOver
		}
		news = append(news, Hold{Member: m, Why: why})
	}
	j.holds.told = now
	slices.SortFunc(news, func(a, b Hold) int { return slices.Compare(a.Member[:], b.Member[:]) })
	for _, h := range news {
		j.log.Info("journal: hold", "member", h.Member.Short(), "held", h.Held, "why", h.Why.String())
		for _, fn := range j.holds.onHold {
			j.tell(func() { fn(h) })
		}
	}
}

// watchHolds releases what is held when its time is over. It looks at the clock now and then, because that may be set,
// and because a sleeping machine's timers stand still.
func (j *Journal) watchHolds(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		j.mu.Lock()
		next := j.holds.next
		j.mu.Unlock()
		var over <-chan time.Time
		if !next.IsZero() {
			timer.Reset(min(max(next.Sub(j.clock()), time.Second), holdCheck))
			over = timer.C
		}
		select {
		case <-j.wakeHold:
			continue
		case <-over:
		case <-ctx.Done():
			return nil
		}
		j.mu.Lock()
		if !j.closed && !j.clock().Before(next) {
			j.reviewHolds()
		}
		j.unlock()
	}
}

// applyHolds sets the points of all chains and brings open documents up to date; j.mu is held.
func (j *Journal) applyHolds() {
	was := map[chainKey]bounds{}
	var changed []*chain
	j.view(func(r reading) {
		for _, c := range j.sortedChains() {
			was[c.key] = bounds{c.shown(), c.hold}
			if j.setHold(r, c) {
				changed = append(changed, c)
			}
		}
	})
	for _, c := range changed {
		if c.hold != nil {
			j.listHeld(c)
		}
	}
	j.pruneClaims()
	j.vouch()
	for _, c := range j.sortedChains() {
		j.reshow(c, was[c.key])
	}
}

// setHold sets a chain's points by what holds its author, and reports whether they have moved.
func (j *Journal) setHold(r reading, c *chain) bool {
	h := j.holds.of[r.memberOf(c.key.device)]
	if h == nil {
		held := c.hold != nil
		c.hold = nil
		return held
	}
	shown, offered := h.point(c.key)
	if c.hold != nil && c.hold.point == shown && c.hold.offered == offered {
		return false
	}
	c.hold = &chainHold{point: shown, offered: offered}
	return true
}
