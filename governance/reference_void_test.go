package governance

import (
	"slices"
	"sort"
)

// void is Void(p).
func (r *reference) void(p set) *outcome {
	p.add(0)
	if o := r.memo[p]; o != nil {
		return o
	}
	o := &outcome{base: r.settled(p), late: map[int]int{}}
	region := set{}.with(0)
	if o.base != 0 {
		before := r.void(r.past[o.base])
		region = r.past[o.base].with(o.base)
		o.void, o.revive = before.void, before.revive
	}
	u := p.without(region).list()
	for _, i := range u {
		switch why := r.inOwnPast(i); {
		case why != "":
			o.void.add(i)
			if why == "doubt" {
				o.revive.add(i)
			}
		default:
			r.tooLate(i, o)
		}
	}
	r.equivocation(p, u, o)
	o.stage6 = o.void
	r.invites(p, u, region, o)
	o.stage7 = o.void
	o.void = r.weigh(p, u, region, o)
	r.memo[p] = o
	return o
}

// settled returns the last settled checkpoint.
func (r *reference) settled(p set) int {
	if last, ok := r.bases[p]; ok {
		return last
	}
	last := r.choose(p)
	r.bases[p] = last
	return last
}

func (r *reference) choose(p set) int {
	var left []int
	candidates := slices.DeleteFunc(p.list(), func(i int) bool { return r.acts[i].kind != KindCheckpoint || r.inOwnPast(i) != "" })
	for _, c := range candidates {
		beaten := slices.ContainsFunc(candidates, func(d int) bool {
			return r.concurrent(c, d) && r.lacks(c, r.here(d)) && !r.lacks(d, r.here(c))
		})
		if !beaten {
			left = append(left, c)
		}
	}
	last := 0
	for again := true; again; {
		again = false
		sort.SliceStable(left, func(i, j int) bool { return r.numberAt(left[i]) < r.numberAt(left[j]) })
		for _, c := range left {
			m := r.numberAt(c)
			if m <= r.numberAt(last) || last != 0 && !r.past[c].has(last) {
				continue
			}
			fits := true
			for _, x := range left {
				n := r.numberAt(x)
				if last != 0 && r.past[last].has(x) {
					continue // what is settled rivals nothing any more
				}
				if x != c && n == m || n > r.numberAt(last) && n < m && !r.past[c].has(x) {
					fits = false
				}
			}
			if fits {
				last, again = c, true
				break
			}
		}
	}
	return last
}

func (r *reference) tooLate(i int, o *outcome) {
	if o.base == 0 || r.past[i].has(o.base) {
		return
	}
	for c := o.base; c != 0 && !r.past[i].has(c); c = r.void(r.past[c]).base {
		if r.numberAt(c)+24 <= r.numberAt(o.base) || r.acts[i].kind != KindCarry && r.lacks(i, r.here(c)) {
			o.void.add(i)
			o.late[i] = c
			return
		}
	}
	if r.adds(i) {
		o.void.add(i)
		o.revive.add(i)
		o.late[i] = o.base
	}
}

func (r *reference) equivocation(p set, u []int, o *outcome) {
	var out []int
	f := fold{r, p, o.void, o.base}
	for _, i := range u {
		e := r.acts[i]
		if o.void.has(i) || e.root || r.reduces(i) {
			continue
		}
		shown := slices.ContainsFunc(r.against(e.device), func(x exhibit) bool {
			return x.n <= e.aseq && x.within(p) && !f.forgiven(e.device, x, r.past[i])
		})
		built := slices.ContainsFunc(u, func(x int) bool {
			knew := slices.ContainsFunc(r.against(e.device), func(y exhibit) bool { return y.n <= e.aseq && y.within(r.past[x]) })
			return r.past[x].has(i) && memberOf(r.acts[x].device) != memberOf(e.device) && r.inOwnPast(x) == "" && !knew
		})
		if shown && !built {
			out = append(out, i)
		}
	}
	for _, i := range out {
		o.void.add(i)
		o.revive.add(i)
	}
}

// usedBy returns the InviteCreate that an Admit uses, as its own past sees it.
func (r *reference) usedBy(i int) int {
	if a := r.acts[i]; a.kind == KindAdmit && a.invite != "" {
		return r.here(i).invite(a.invite)
	}
	return 0
}

// rivalOf returns the InviteCreate that beats another one of its id, of several the lowest, 0 if none does.
func (r *reference) rivalOf(i int, p, v set) int {
	for _, x := range p.list() {
		a := r.acts[x]
		if v.has(x) || x == i || a.kind != KindInviteCreate || a.invite != r.acts[i].invite {
			continue
		}
		if r.past[i].has(x) || r.concurrent(x, i) && x < i {
			return x
		}
	}
	return 0
}

func (r *reference) invites(p set, u []int, region set, o *outcome) {
	var beaten []int
	for _, i := range u {
		if !o.void.has(i) && r.acts[i].kind == KindInviteCreate && r.rivalOf(i, p, o.void) != 0 {
			beaten = append(beaten, i)
		}
	}
	for _, i := range beaten {
		o.void.add(i)
	}
	stands := func(c int) bool {
		return p.has(c) && !o.void.has(c) || slices.ContainsFunc(p.list(), func(x int) bool {
			return !o.void.has(x) && r.acts[x].kind == KindEndorse && slices.Contains(r.named(x), c)
		})
	}
	start := o.void
	for _, c := range p.list() {
		if r.acts[c].kind != KindInviteCreate || !stands(c) {
			continue
		}
		var settled, left []int
		for _, i := range p.list() {
			switch {
			case r.usedBy(i) != c:
			case region.has(i):
				if !r.void(r.past[o.base]).stage7up(r, i) {
					settled = append(settled, i)
				}
			case !start.has(i):
				left = append(left, i)
			}
		}
		r.giveOut(c, settled, left, o)
	}
}

// stage7up reports whether a settled event had fallen before removals were weighed.
func (o *outcome) stage7up(r *reference, i int) bool {
	for o.base != 0 && r.past[o.base].with(o.base).has(i) {
		o = r.void(r.past[o.base])
	}
	return o.stage7.has(i)
}

func (r *reference) giveOut(c int, settled, left []int, o *outcome) {
	users := slices.Concat(settled, left)
	taken := map[string]bool{}
	for _, i := range settled {
		taken[memberOf(r.acts[i].admits)] = true
	}
	for len(left) > 0 {
		var free []int
		for _, i := range left {
			if !slices.ContainsFunc(left, func(x int) bool { return r.past[i].has(x) }) {
				free = append(free, i)
			}
		}
		sort.SliceStable(free, func(i, j int) bool {
			a, b := r.acts[free[i]], r.acts[free[j]]
			x, y := slices.Index(r.acts[c].hosts, a.device), slices.Index(r.acts[c].hosts, b.device)
			if x != y {
				return x < y
			}
			return a.aseq < b.aseq
		})
		next := free[0]
		left = slices.DeleteFunc(left, func(x int) bool { return x == next })
		m := memberOf(r.acts[next].admits)
		if taken[m] || len(taken) < r.acts[c].uses {
			taken[m] = true
			continue
		}
		o.void.add(next)
		before := map[string]bool{}
		for _, x := range users {
			if other := memberOf(r.acts[x].admits); r.past[next].has(x) && other != m {
				before[other] = true
			}
		}
		if len(before) < r.acts[c].uses {
			o.revive.add(next)
		}
	}
}

// weighing decides what is concurrent with removals.
type weighing struct {
	r          *reference
	p, region  set
	base       int
	u          []int
	v, inForce set
	singles    []int
}

func (r *reference) weigh(p set, u []int, region set, o *outcome) set {
	start := o.void
	for {
		w := &weighing{r: r, p: p, region: region, base: o.base, u: u, v: start, inForce: region.without(start)}
		w.attempt()
		wanting := set{}
		f := fold{r, p, w.v, o.base}
		for _, i := range w.singles {
			if r.allowed(i, w.judgedBy(i), false) != "" || f.held(i) != 0 {
				wanting.add(i)
			}
		}
		if wanting == (set{}) {
			return w.v
		}
		start = start.union(wanting)
		r.restarts++
	}
}

func (w *weighing) open() []int {
	var out []int
	for _, i := range w.u {
		if !w.v.has(i) && !w.inForce.has(i) {
			out = append(out, i)
		}
	}
	return out
}

func (w *weighing) attempt() {
	r := w.r
	for _, i := range w.open() {
		if r.acts[i].kind == KindCarry {
			w.inForce.add(i)
		}
	}
	for _, x := range w.u {
		if r.acts[x].kind != KindCarry || w.v.has(x) {
			continue
		}
		for _, i := range w.open() {
			if r.strips(x, i, w.p) {
				w.v.add(i)
			}
		}
	}
	for {
		for changed := true; changed; {
			before := w.v
			w.unlawful()
			w.quarantine()
			changed = w.v != before
		}
		open := w.open()
		if len(open) == 0 {
			return
		}
		sources := w.sources(open)
		anyRemoval := slices.ContainsFunc(sources, func(s []int) bool { return slices.ContainsFunc(s, r.reduces) })
		var removals []int
		for _, s := range sources {
			for _, i := range s {
				switch {
				case r.reduces(i):
					w.inForce.add(i)
					removals = append(removals, i)
				case len(s) > 1:
					w.v.add(i)
				case !anyRemoval:
					w.inForce.add(i)
				}
				if len(s) == 1 && w.inForce.has(i) {
					w.singles = append(w.singles, i)
				}
			}
		}
		for _, x := range removals {
			for _, i := range w.open() {
				if r.strips(x, i, w.p) {
					w.v.add(i)
				}
			}
		}
	}
}

// strips reports whether a reductive event takes from another what it needs; quarantines are apart.
func (r *reference) strips(x, i int, p set) bool {
	a, e := r.acts[x], r.acts[i]
	signs := func(such func(d string, need Role) bool) bool {
		needs := r.needs(i)
		for k, d := range r.signersOf(i) {
			if such(d, needs[k]) {
				return true
			}
		}
		return false
	}
	byMember := func(d string, _ Role) bool { return memberOf(d) == a.member }
	if x == i || e.kind == KindCarry {
		return false
	}
	switch a.kind {
	case KindInviteRevoke:
		return r.concurrent(x, i) && r.usedBy(i) != 0 && e.invite == a.invite
	case KindRevoke:
		return r.concurrent(x, i) && signs(byMember)
	case KindRoleDrop:
		return r.concurrent(x, i) && signs(func(d string, need Role) bool { return memberOf(d) == a.member && need > a.role })
	case KindDeviceRemove:
		if memberOf(a.device) == memberOf(a.target) && !a.root {
			if !a.stolen {
				return false
			}
			for _, y := range p.list() {
				settled := r.settled(p)
				if settled != 0 && r.past[settled].with(settled).has(y) {
					continue
				}
				if r.past[y].has(i) && memberOf(r.acts[y].device) != memberOf(e.device) && r.inOwnPast(y) == "" && !r.past[y].has(x) {
					return false
				}
			}
		}
		return r.concurrent(x, i) && signs(func(d string, _ Role) bool { return d == a.target })
	case KindCarry:
		if !signs(byMember) {
			return false
		}
		if r.concurrent(x, i) {
			return true
		}
		since, listed := a.since[e.device]
		return r.past[x].has(i) && !e.root && listed && e.aseq > since
	}
	return false
}

// judgedBy is V/e: decided events as decided, the others as e's own past judges them.
func (w *weighing) judgedBy(e int) fold {
	own := w.r.here(e)
	decided := w.v.union(w.inForce)
	return fold{w.r, own.p, own.p.common(decided).common(w.v).union(own.v.without(decided)), own.base}
}

func (w *weighing) unlawful() {
	for changed := true; changed; {
		changed = false
		open := w.open()
		bad := set{}
		for _, i := range open {
			if w.r.allowed(i, w.judgedBy(i), false) != "" {
				bad.add(i)
			}
		}
		for _, i := range bad.list() { // only those whose whole past is judged already, as others may yet change
			if w.r.past[i].common(bad) == (set{}) {
				w.v.add(i)
				changed = true
			}
		}
	}
}

// folds are what votes and lifts amount to with the undecided ones for a quarantine void, and with those against it.
func (w *weighing) folds() folds {
	least, most := w.v, w.v
	for _, i := range w.open() {
		switch a := w.r.acts[i]; a.kind {
		case KindLiftQuarantine:
			most.add(i)
		case KindQuarantinePropose:
			least.add(i)
		case KindQuarantineVote:
			if a.withdraw {
				most.add(i)
			} else {
				least.add(i)
			}
		}
	}
	return folds{fold{w.r, w.p, least, w.base}, fold{w.r, w.p, most, w.base}}
}

// quarantine voids what is held whatever becomes of the undecided.
func (w *weighing) quarantine() {
	fs := w.folds()
	var out []int
	for _, i := range w.open() {
		if fs.held(i) != 0 {
			out = append(out, i)
		}
	}
	for _, i := range out {
		w.v.add(i)
	}
}

// sources returns the strongly connected components that no edge enters.
func (w *weighing) sources(open []int) [][]int {
	reach := make([]set, len(w.r.acts))
	for _, x := range open {
		for _, y := range open {
			if x != y && (w.r.strips(x, y, w.p) || w.restsOn(y, x)) {
				reach[x].add(y)
			}
		}
	}
	fs := w.folds()
	for _, q := range w.p.list() {
		if w.r.acts[q].kind != KindQuarantinePropose || w.v.has(q) {
			continue
		}
		for _, y := range open {
			if _, perhaps := fs.holds(q, y); !perhaps {
				continue
			}
			for _, x := range open {
				a := w.r.acts[x]
				lift := a.kind == KindLiftQuarantine && a.target == "" && a.member == w.r.acts[q].member && w.r.past[y].has(x)
				if x != y && (x == q || a.kind == KindQuarantineVote && w.r.proposal(x) == q || lift) {
					reach[x].add(y)
				}
			}
		}
	}
	for _, k := range open {
		for _, i := range open {
			if reach[i].has(k) {
				reach[i] = reach[i].union(reach[k])
			}
		}
	}
	var out [][]int
	for _, x := range open {
		comp, source := []int{x}, true
		for _, y := range open {
			switch {
			case x == y:
			case reach[x].has(y) && reach[y].has(x):
				comp = append(comp, y)
			case reach[y].has(x):
				source = false
			}
		}
		if source && slices.Min(comp) == x {
			out = append(out, comp)
		}
	}
	return out
}

// restsOn reports whether e rests on a. What it depends on without resting on it is missing in the list of SPEC.md,
// which unlisted keeps for the test to report (of small histories, as it takes long).
func (w *weighing) restsOn(e, a int) bool {
	if !w.r.past[e].has(a) {
		return false
	}
	listed := w.listed(e, a)
	if !listed && len(w.r.acts) <= 40 {
		with, without := w.judgedBy(e), w.judgedBy(e)
		with.v, without.v = with.v.without(set{}.with(a)), without.v.with(a)
		if w.r.allowed(e, with, false) != w.r.allowed(e, without, false) {
			w.r.unlisted = append(w.r.unlisted, w.r.acts[a].id+" => "+w.r.acts[e].id)
		}
	}
	return listed
}

// listed reports whether a is an act on a signer of e, on its subject or its invite, a lift of a signer, or the
// proposal of a vote or lift.
func (w *weighing) listed(e, a int) bool {
	r := w.r
	x, y := r.acts[a], r.acts[e]
	if isRoleAct(x.kind) {
		for _, m := range r.about(a) {
			if slices.Contains(r.about(e), m) || slices.ContainsFunc(r.signersOf(e), func(d string) bool { return memberOf(d) == m }) {
				return true
			}
		}
	}
	of := r.invitesOf(e)
	if x.kind != KindAdmit && slices.ContainsFunc(r.invitesOf(a), func(i string) bool { return slices.Contains(of, i) }) {
		return true
	}
	if x.kind == KindLiftQuarantine {
		if x.target != "" {
			return slices.Contains(append(r.signersOf(e), y.device), x.target)
		}
		return y.kind == KindQuarantineVote && slices.Contains(r.about(e), x.member)
	}
	if x.kind == KindQuarantinePropose {
		return y.kind == KindQuarantineVote && r.proposal(e) == a || y.kind == KindLiftQuarantine && slices.Contains(r.about(e), x.member)
	}
	return false
}

// invitesOf returns the invites that an event makes, uses, cancels or brings back.
func (r *reference) invitesOf(i int) []string {
	switch a := r.acts[i]; a.kind {
	case KindInviteCreate, KindInviteRevoke, KindAdmit:
		if a.invite != "" {
			return []string{a.invite}
		}
	case KindEndorse:
		var out []string
		for _, x := range r.named(i) {
			if r.acts[x].kind == KindInviteCreate {
				out = append(out, r.acts[x].invite)
			}
		}
		return out
	}
	return nil
}
