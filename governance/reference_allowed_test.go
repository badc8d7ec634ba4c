package governance

import (
	"slices"
	"sort"
)

// inOwnPast says why an event is void in its own past: "" if it is not, "doubt" if its author had equivocated.
func (r *reference) inOwnPast(i int) string {
	why, ok := r.own[i]
	if !ok {
		why = r.allowed(i, r.here(i), true)
		r.own[i] = why
	}
	return why
}

// allowed is Allowed(e, past(e), v); local adds what is fixed in State(past(e)).
func (r *reference) allowed(i int, f fold, local bool) string {
	a, own := r.acts[i], r.here(i)
	if !a.kind.Known() {
		return "kind"
	}
	if a.root {
		switch a.kind {
		case KindKeyEpoch, KindChainOpen, KindLeave, KindCarry, KindEquivocationProof, KindQuarantinePropose, KindQuarantineVote, KindKeyUpdate:
			return "root"
		}
		if len(a.cosigners) > 0 || a.invite != "" && a.kind == KindAdmit {
			return "root"
		}
	} else if why := r.signersAllowed(i, f, own, local); why != "" {
		return why
	}
	if why := r.subjectAllowed(i, f, own, local); why != "" || !local {
		return why
	}
	return r.locally(i, f)
}

func (r *reference) signersAllowed(i int, f, own fold, local bool) string {
	a, needs := r.acts[i], r.needs(i)
	if f.standing(a.device) < needs[0] {
		return "role"
	}
	if n := f.doubt(a.device); !r.reduces(i) && n != 0 && n <= a.aseq {
		return "doubt"
	}
	seen := []string{memberOf(a.device)}
	for _, c := range a.cosigners {
		if f.standing(c) < Manager || slices.Contains(seen, memberOf(c)) || local && f.doubt(c) != 0 {
			return "cosigner"
		}
		seen = append(seen, memberOf(c))
	}
	m := ""
	if about := r.about(i); len(about) == 1 {
		m = about[0]
	}
	onOwn := m == memberOf(a.device)
	lo, hi := 1, 1
	isManager := func(x int) bool { return r.acts[x].kind != KindInviteCreate && r.acts[x].role == Manager }
	switch {
	case a.kind == KindCheckpoint, a.kind == KindRoleGrant && a.role == Manager,
		a.kind == KindAdmit && a.invite == "" && a.role == Manager,
		a.kind == KindEndorse && slices.ContainsFunc(r.named(i), isManager):
		lo = max(1, min(r.quorum, own.managers("")))
		hi = lo
	case a.kind == KindAdmit && a.invite != "":
		hi = 2
	case a.kind == KindRevoke, a.kind == KindRoleDrop, a.kind == KindDeviceRemove && !onOwn:
		if slices.Contains(seen, m) {
			return "subject"
		}
		if f.role(m) == Manager {
			lo = max(2, min(r.quorum, own.managers(m)))
			hi = lo
		}
	case a.kind == KindLiftQuarantine && a.target != "" && f.role(memberOf(a.target)) == Manager:
		lo = max(1, min(r.quorum, own.managers(memberOf(a.target))))
		hi = lo
	}
	if len(seen) < lo || local && len(seen) > hi {
		return "quorum"
	}
	return ""
}

func refuse(when bool) string {
	if when {
		return "subject"
	}
	return ""
}

func (r *reference) subjectAllowed(i int, f, own fold, local bool) string {
	a := r.acts[i]
	switch a.kind {
	case KindInviteCreate:
		return refuse(!r.inviteAllowed(i, f))
	case KindAdmit:
		return refuse(!r.admitAllowed(i, f, own))
	case KindRoleGrant:
		return refuse(!r.raises(i, f))
	case KindRoleDrop:
		return refuse(!a.role.known() || f.role(a.member) == None || a.role >= f.role(a.member))
	case KindRevoke:
		return refuse(f.role(a.member) == None)
	case KindDeviceRemove:
		return refuse(!r.introduced(a.target, r.past[i]) || !f.live(a.target))
	case KindCarry:
		return refuse(!slices.Contains(f.members(), a.member))
	case KindInviteRevoke:
		return refuse(f.invite(a.invite) == 0)
	case KindChainOpen:
		return refuse(a.chain != r.nextChain(a.device, r.past[i]))
	case KindEquivocationProof:
		return refuse(!r.proves(i))
	case KindEndorse:
		return refuse(!r.endorseAllowed(i, f, local))
	case KindQuarantinePropose:
		late := local && (!slices.Contains(r.voters(i), memberOf(a.device)) || r.renewals(i) > 1 && f.standing(a.device) < Manager)
		return refuse(f.role(a.member) == None || late)
	case KindQuarantineVote:
		q := r.proposal(i)
		return refuse(q == 0 || !f.counts(q) || !slices.Contains(r.voters(q), memberOf(a.device)) || f.over(q, f.p, f.base))
	case KindLiftQuarantine:
		return refuse(!r.liftAllowed(i, f, local))
	}
	return ""
}

func (r *reference) inviteAllowed(i int, f fold) bool {
	a := r.acts[i]
	other := f.invite(a.invite)
	return (a.role == Viewer || a.role == Editor) && (other == 0 || other == i)
}

func (r *reference) raises(i int, f fold) bool {
	a := r.acts[i]
	return a.role.known() && f.role(a.member) != None && a.role > f.role(a.member)
}

func (r *reference) admitAllowed(i int, f, own fold) bool {
	a := r.acts[i]
	m := memberOf(a.admits)
	if !a.role.known() {
		return false
	}
	if a.invite != "" {
		c := f.invite(a.invite)
		if c == 0 || c != own.invite(a.invite) || !slices.Contains(r.acts[c].hosts, a.device) || a.role > r.acts[c].role {
			return false
		}
		again := false
		for _, x := range f.p.list() {
			b := r.acts[x]
			if f.counts(x) && b.kind == KindInviteRevoke && b.invite == a.invite {
				return false
			}
			again = again || f.counts(x) && b.kind == KindAdmit && memberOf(b.admits) == m && b.invite == a.invite
		}
		if f.role(m) != None && again {
			return true
		}
	}
	return r.newcomer(i, m, f)
}

func (r *reference) newcomer(by int, m string, f fold) bool {
	removed, ended := false, false
	for _, x := range f.p.list() {
		if b := r.acts[x]; f.counts(x) && b.member == m {
			removed = removed || b.kind == KindRevoke
			ended = ended || b.kind == KindCarry
		}
	}
	fit := r.acts[by].root || slices.ContainsFunc(r.signersOf(by), func(d string) bool { return f.standing(d) == Manager })
	return f.role(m) == None && !ended && (!removed || fit)
}

func (r *reference) endorseAllowed(i int, f fold, local bool) bool {
	named := r.named(i)
	if len(named) != len(r.acts[i].named) {
		return false
	}
	for _, x := range named {
		if local && !r.void(r.past[i]).revive.has(x) {
			return false
		}
		ok := false
		switch r.acts[x].kind {
		case KindInviteCreate:
			ok = r.inviteAllowed(x, f)
		case KindAdmit:
			ok = r.acts[x].role.known() && r.newcomer(i, memberOf(r.acts[x].admits), f)
		case KindRoleGrant:
			ok = r.raises(x, f)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (r *reference) liftAllowed(i int, f fold, local bool) bool {
	a := r.acts[i]
	if a.target != "" {
		return !local || f.doubt(a.target) != 0
	}
	manager := a.root || r.here(i).standing(a.device) == Manager && memberOf(a.device) != a.member
	some, voter := false, false
	for _, q := range f.p.list() {
		if f.counts(q) && r.acts[q].kind == KindQuarantinePropose && r.acts[q].member == a.member {
			some = true
			voter = voter || slices.Contains(r.voters(q), memberOf(a.device))
		}
	}
	return some && (manager || voter)
}

// locally checks quotas, ends, quarantine, checkpoints and epochs.
func (r *reference) locally(i int, f fold) string {
	a := r.acts[i]
	now := r.timeAt(f.base)
	if a.kind == KindAdmit && a.invite != "" {
		if at := r.acts[f.invite(a.invite)].expires; at != 0 && at < now {
			return "expired"
		}
	}
	if f.held(i) != 0 {
		return "quarantine"
	}
	switch a.kind {
	case KindKeyEpoch:
		if !r.epochValid(i) || r.minted(a.device, f) && len(r.usable(f.p)) > 0 {
			return "epoch"
		}
	case KindCheckpoint:
		number, clock := uint64(0), now
		for _, id := range a.prev {
			c, ok := r.at[id]
			if !ok || !f.counts(c) || r.acts[c].kind != KindCheckpoint {
				return "prev"
			}
			number, clock = max(number, r.numberAt(c)), max(clock, r.timeAt(c))
		}
		if a.number != number+1 || a.number <= r.numberAt(f.base) || a.time < clock || !a.ok {
			return "checkpoint"
		}
	}
	return ""
}

// nextChain counts openings that follow their device's last, void or not.
func (r *reference) nextChain(d string, p set) uint32 {
	next := uint32(1)
	for _, i := range p.list() {
		if a := r.acts[i]; a.kind == KindChainOpen && a.device == d && a.chain == r.nextChain(d, r.past[i]) {
			next = max(next, a.chain+1)
		}
	}
	return next
}

func (r *reference) minted(d string, f fold) bool {
	return slices.ContainsFunc(f.p.list(), func(i int) bool {
		settled := f.base != 0 && r.past[f.base].has(i)
		return f.counts(i) && !settled && r.acts[i].kind == KindKeyEpoch && r.acts[i].device == d
	})
}

func (r *reference) epochValid(i int) bool {
	a, f := r.acts[i], r.here(i)
	if a.roster == nil || f.standing(a.device) < Editor {
		return false
	}
	var live []string
	for _, d := range f.devices() {
		gone := a.kind == KindRevoke && memberOf(d) == a.member || a.kind == KindDeviceRemove && d == a.target
		if f.live(d) && !gone {
			live = append(live, d)
		}
	}
	got := slices.Clone(a.roster)
	sort.Strings(got)
	return slices.Equal(got, live)
}

// ---- quarantine

// voters returns who may vote on a proposal, by the state of its past.
func (r *reference) voters(q int) []string {
	if out, ok := r.vote[q]; ok {
		return out
	}
	f := r.here(q)
	target := r.acts[q].member
	out := []string{}
	defer func() { r.vote[q] = out }()
	for _, m := range f.members() {
		if m == target || f.role(m) == None || f.quarantined(m) {
			continue
		}
		if slices.ContainsFunc(f.on(m), func(i int) bool { return f.seats(i, target) }) {
			out = append(out, m)
		}
	}
	return out
}

// seats reports whether an admission is old enough, or by a manager other than the target.
func (f fold) seats(i int, target string) bool {
	a := f.r.acts[i]
	if i == 0 {
		return true
	}
	if a.kind != KindAdmit && a.kind != KindEndorse {
		return false
	}
	if a.root || memberOf(a.device) != target && f.r.here(i).standing(a.device) == Manager {
		return true
	}
	return f.base != 0 && f.r.past[f.base].has(i)
}

func (r *reference) threshold(q int) int { return max(2, len(r.voters(q))/2+1) }

func (r *reference) renewals(q int) int {
	n, f := 0, r.here(q)
	for _, x := range f.p.list() {
		if a := r.acts[x]; f.counts(x) && a.kind == KindQuarantinePropose && a.member == r.acts[q].member && !f.lifted(x, f.p) {
			n++
		}
	}
	return n
}

// hosts returns by whom a member was invited, and so on, up to the founder.
func (f fold) hosts(m string) []string {
	var out []string
	for {
		var admits []int
		for _, i := range f.on(m) {
			if k := f.r.acts[i].kind; k == KindAdmit || k == KindEndorse {
				admits = append(admits, i)
			}
		}
		admits = f.last(admits)
		if len(admits) == 0 || admits[0] == 0 || f.r.acts[admits[0]].root {
			return out
		}
		by := memberOf(f.r.acts[admits[0]].device)
		if c := f.r.usedBy(admits[0]); c != 0 {
			if f.r.acts[c].root {
				return out
			}
			by = memberOf(f.r.acts[c].device)
		}
		if by == memberOf(founder) || by == m || slices.Contains(out, by) {
			return out
		}
		out = append(out, by)
		m = by
	}
}

// folds are a fold as the undecided would have it who bring about the least holding, and the most.
type folds struct{ least, most fold }

func (f fold) supports(m string, events []int, supports func(*act) bool) bool {
	var cast []int
	for _, i := range events {
		if f.counts(i) && memberOf(f.r.acts[i].device) == m {
			cast = append(cast, i)
		}
	}
	return len(cast) > 0 && !slices.ContainsFunc(f.last(cast), func(i int) bool { return !supports(f.r.acts[i]) })
}

// supporters returns the members whose acts count for a proposal's vote, at least and at most: guests of one host up to
// half of what is needed, in the order of the fast replay's member ids.
func (fs folds) supporters(q int, events []int, supports func(*act) bool) (least, most []string) {
	r := fs.least.r
	voters := slices.Clone(r.voters(q))
	sort.Slice(voters, func(i, j int) bool {
		a, b := memberID(voters[i]), memberID(voters[j])
		return string(a[:]) < string(b[:])
	})
	fits := func(m string, beside []string) bool {
		for _, h := range r.here(q).hosts(m) {
			n := 0
			for _, x := range beside {
				if slices.Contains(r.here(q).hosts(x), h) {
					n++
				}
			}
			if n >= r.threshold(q)/2 {
				return false
			}
		}
		return true
	}
	for _, m := range voters {
		sure := fs.least.supports(m, events, supports) && fits(m, most)
		maybe := fs.most.supports(m, events, supports) && fits(m, least)
		if sure {
			least = append(least, m)
		}
		if maybe {
			most = append(most, m)
		}
	}
	return least, most
}

func (f fold) tally(q int) []string {
	least, _ := folds{f, f}.tally(q)
	return least
}

func (fs folds) tally(q int) (least, most []string) {
	r := fs.least.r
	if r.inOwnPast(q) == "role" {
		return nil, nil
	}
	events := []int{q}
	for _, i := range fs.least.p.list() {
		if r.acts[i].kind == KindQuarantineVote && r.proposal(i) == q {
			events = append(events, i)
		}
	}
	least, most = fs.supporters(q, events, func(a *act) bool { return !a.withdraw })
	if !fs.least.counts(q) || len(least) < r.threshold(q) {
		least = nil
	}
	if !fs.most.counts(q) || len(most) < r.threshold(q) {
		most = nil
	}
	return least, most
}

func (f fold) lifted(q int, part set) bool {
	surely, _ := folds{f, f}.lifted(q, part)
	return surely
}

// lifted reports whether a proposal is lifted in a part, surely and perhaps. What holds least lifts most.
func (fs folds) lifted(q int, part set) (surely, perhaps bool) {
	r := fs.least.r
	var votes []int
	for _, i := range part.list() {
		a := r.acts[i]
		if a.kind != KindLiftQuarantine || a.target != "" || a.member != r.acts[q].member || !r.past[i].has(q) {
			continue
		}
		if a.root || memberOf(a.device) != a.member && r.here(i).standing(a.device) == Manager {
			surely = surely || fs.most.counts(i)
			perhaps = perhaps || fs.least.counts(i)
			continue
		}
		votes = append(votes, i)
	}
	within := func(f fold) fold { return fold{r, part.common(f.p), f.v, f.base} }
	against := folds{within(fs.most), within(fs.least)}
	least, most := against.supporters(q, votes, func(*act) bool { return true })
	return surely || len(least) >= r.threshold(q), perhaps || len(most) >= r.threshold(q)
}

func (r *reference) expired(q, base int) bool { return r.timeAt(base) >= r.acts[q].expires }

func (f fold) over(q int, past set, base int) bool { return f.r.expired(q, base) || f.lifted(q, past) }

func (f fold) quarantined(m string) bool {
	return slices.ContainsFunc(f.p.list(), func(q int) bool {
		return f.r.acts[q].kind == KindQuarantinePropose && f.r.acts[q].member == m && f.tally(q) != nil && !f.over(q, f.p, f.base)
	})
}

// holdable reports whether a proposal with these supporters voids e, if it is not over there.
func (r *reference) holdable(q, e int, supporters []string) bool {
	a, b := r.acts[q], r.acts[e]
	if supporters == nil || b.root || memberOf(b.device) != a.member || e == q || r.past[q].has(e) {
		return false
	}
	own := b.kind == KindLeave || b.kind == KindCarry || b.kind == KindDeviceRemove && memberOf(b.target) == memberOf(b.device) &&
		r.introduced(b.target, r.past[e])
	equal := slices.ContainsFunc(supporters, func(m string) bool { return r.here(q).role(m) >= r.here(q).role(a.member) })
	vote := b.kind == KindQuarantinePropose || b.kind == KindQuarantineVote
	return vote || r.adds(e) || !own && r.reduces(e) && equal
}

// holds reports whether a proposal voids e, surely and perhaps.
func (fs folds) holds(q, e int) (surely, perhaps bool) {
	r := fs.least.r
	if r.expired(q, r.void(r.past[e]).base) {
		return false, false
	}
	least, most := fs.tally(q)
	lifted, liftable := fs.lifted(q, r.past[e])
	return r.holdable(q, e, least) && !liftable, r.holdable(q, e, most) && !lifted
}

// held returns a proposal in force that voids e, 0 if none does.
func (f fold) held(e int) int { return folds{f, f}.held(e) }

// held returns a proposal that surely voids e, 0 if none does.
func (fs folds) held(e int) int {
	for _, q := range fs.least.p.list() {
		if fs.least.r.acts[q].kind == KindQuarantinePropose {
			if surely, _ := fs.holds(q, e); surely {
				return q
			}
		}
	}
	return 0
}

// ---- epochs

// usable lists the events whose epochs may be sent under in the state of p.
func (r *reference) usable(p set) []string {
	o := r.void(p)
	var found []string
	for _, i := range p.list() {
		a := r.acts[i]
		if o.void.has(i) || a.kind != KindKeyEpoch && a.kind != KindRevoke && a.kind != KindDeviceRemove || !r.epochValid(i) {
			continue
		}
		if r.knowsLosses(r.past[i].with(i), p) {
			found = append(found, a.id)
		}
	}
	sort.Strings(found)
	return found
}

// knowsLosses reports whether a set holds all that ended somebody's access in p.
func (r *reference) knowsLosses(knows, p set) bool {
	o := r.void(p)
	region := set{}
	if o.base != 0 {
		region = r.past[o.base]
		if !knows.has(o.base) && !r.knowsLosses(knows, region) {
			return false
		}
	}
	for _, i := range p.without(region).list() {
		if !r.knowsLoss(i, knows, p, o) {
			return false
		}
	}
	return true
}

func (r *reference) knowsLoss(i int, knows, p set, o *outcome) bool {
	a := r.acts[i]
	if !o.void.has(i) {
		ends := a.kind == KindRevoke || a.kind == KindDeviceRemove || a.kind == KindLeave || a.kind == KindCarry
		return !ends || knows.has(i)
	}
	letsIn := a.kind == KindAdmit || a.kind == KindInviteCreate || a.kind == KindRoleGrant || a.kind == KindEndorse
	if !letsIn || r.void(r.past[i].with(i)).void.has(i) {
		return true // nobody ever saw it in force
	}
	if c, late := o.late[i]; late {
		return knows.has(c)
	}
	if o.stage6.has(i) { // equivocation
		for _, e := range r.against(a.device) {
			for _, x := range []int{e.x, e.y} {
				if e.n <= a.aseq && x >= 0 && p.has(x) && x != i && !r.past[i].has(x) && knows.has(x) {
					return true
				}
			}
		}
		return false
	}
	if o.stage7.has(i) {
		if a.kind == KindInviteCreate {
			return knows.has(r.rivalOf(i, p, o.stage6))
		}
		for _, x := range p.list() {
			if r.usedBy(x) != 0 && r.usedBy(x) == r.usedBy(i) && !o.stage7.has(x) && !knows.has(x) {
				return false
			}
		}
		return true
	}
	return r.knowsStripper(i, knows, p, o)
}

// knowsStripper is about an act that a concurrent one took what it needs from: what takes keys by itself is a loss of
// its own, of the others one must be known.
func (r *reference) knowsStripper(i int, knows, p set, o *outcome) bool {
	f := fold{r, p, o.void, o.base}
	lowest, known := 0, false
	for _, x := range p.list() {
		if o.void.has(x) || o.base != 0 && r.past[o.base].has(x) || !r.strips(x, i, p) {
			continue
		}
		if lowest == 0 {
			lowest = x
		}
		if k := r.acts[x].kind; k == KindInviteRevoke || k == KindRoleDrop {
			known = known || knows.has(x)
		}
	}
	switch {
	case lowest != 0:
		k := r.acts[lowest].kind
		return known || k != KindInviteRevoke && k != KindRoleDrop
	case f.held(i) != 0:
		return knows.has(f.held(i))
	}
	return true
}
