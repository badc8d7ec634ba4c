package governance

import (
	"slices"
	"sort"
)

// void is Void(p).
func (r *reference) void(p set) *refVerdict {
	key := p.key()
	if v := r.memo[key]; v != nil {
		return v
	}
	v := set{}
	for id := range p { // own past
		if e := r.acts[id]; !r.allowed(e, r.void(e.past).void, true) {
			v[id] = true
		}
	}
	r.equivocation(p, v)
	out := &refVerdict{stage6: set{}.union(v)}
	r.invites(p, v)
	out.stage7 = set{}.union(v)
	out.void = r.weigh(p, v)
	r.memo[key] = out
	return out
}

func (r *reference) equivocation(p, v set) {
	add := set{}
	for id := range p {
		e := r.acts[id]
		n := r.forked(e.device, p)
		if n == 0 || e.aseq < n || v[id] || e.root || reductive(e) {
			continue
		}
		built := false
		for x := range p {
			f := r.acts[x]
			if known := r.forked(e.device, f.past); f.past[id] && memberOf(f.device) != memberOf(e.device) &&
				r.allowed(f, r.void(f.past).void, true) && (known == 0 || known > e.aseq) {
				built = true
			}
		}
		if !built {
			add[id] = true
		}
	}
	for id := range add {
		v[id] = true
	}
}

// rivalOf returns the InviteCreate that beats another one of its id, of several the lowest, "" if none does.
func (r *reference) rivalOf(id string, p, v set) string {
	best := ""
	for x := range p {
		a := r.acts[x]
		if v[x] || x == id || a.kind != KindInviteCreate || a.invite != r.acts[id].invite {
			continue
		}
		if (r.before(x, id) || r.concurrent(x, id) && x < id) && (best == "" || x < best) {
			best = x
		}
	}
	return best
}

func (r *reference) invites(p, v set) {
	var beaten []string
	for id := range p {
		if !v[id] && r.acts[id].kind == KindInviteCreate && r.rivalOf(id, p, v) != "" {
			beaten = append(beaten, id)
		}
	}
	for _, id := range beaten {
		v[id] = true
	}
	for c := range p {
		if v[c] || r.acts[c].kind != KindInviteCreate {
			continue
		}
		var left []string
		for id := range p {
			if !v[id] && r.usedBy(r.acts[id]) == c {
				left = append(left, id)
			}
		}
		sort.Strings(left)
		taken := map[string]bool{}
		for len(left) > 0 {
			var free []string
			for _, id := range left {
				if !slices.ContainsFunc(left, func(x string) bool { return r.before(x, id) }) {
					free = append(free, id)
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
			left = slices.DeleteFunc(left, func(x string) bool { return x == next })
			m := memberOf(r.acts[next].admits)
			if !taken[m] && len(taken) == r.acts[c].uses {
				v[next] = true
			} else {
				taken[m] = true
			}
		}
	}
}

// weigh decides what is concurrent with removals.
func (r *reference) weigh(p, start set) set {
	start = set{}.union(start)
	for {
		v, wanting := r.attempt(p, start)
		if len(wanting) == 0 {
			return v
		}
		start = start.union(wanting)
	}
}

func (r *reference) attempt(p, start set) (v, wanting set) {
	v = set{}.union(start)
	inForce := set{}
	var singles []string
	for {
		r.unlawful(p, v, inForce)
		var open []string
		for id := range p {
			if !v[id] && !inForce[id] {
				open = append(open, id)
			}
		}
		if len(open) == 0 {
			break
		}
		sort.Strings(open)
		var removals []string
		sources := r.sources(open, v, inForce)
		anyRemoval := slices.ContainsFunc(sources, func(s []string) bool {
			return slices.ContainsFunc(s, func(id string) bool { return reductive(r.acts[id]) })
		})
		for _, s := range sources {
			for _, id := range s {
				switch {
				case reductive(r.acts[id]):
					inForce[id] = true
					removals = append(removals, id)
					if len(s) == 1 {
						singles = append(singles, id)
					}
				case len(s) > 1:
					v[id] = true
				case !anyRemoval:
					inForce[id] = true
					singles = append(singles, id)
				}
			}
		}
		for _, x := range removals {
			for _, id := range open {
				if !inForce[id] && r.strips(x, id) {
					v[id] = true
				}
			}
		}
	}
	wanting = set{}
	for _, id := range singles {
		if !r.allowed(r.acts[id], v, false) {
			wanting[id] = true
		}
	}
	return v, wanting
}

func (r *reference) strips(x, id string) bool {
	a := r.acts[x]
	if a.kind == KindInviteRevoke {
		return r.concurrent(x, id) && r.usedBy(r.acts[id]) != "" && r.acts[id].invite == a.invite
	}
	return reductive(a) && r.concurrent(x, id) && slices.ContainsFunc(signersOf(r.acts[id]), func(d string) bool {
		return memberOf(d) == a.member
	})
}

// judgedBy is V/e: decided events as decided, the others as e's own past judges them.
func (r *reference) judgedBy(e *act, v, inForce set) set {
	out := set{}
	own := r.void(e.past).void
	for id := range e.past {
		if v[id] || own[id] && !inForce[id] {
			out[id] = true
		}
	}
	return out
}

func (r *reference) unlawful(p, v, inForce set) {
	for changed := true; changed; {
		changed = false
		for id := range p {
			e := r.acts[id]
			if !v[id] && !inForce[id] && !r.allowed(e, r.judgedBy(e, v, inForce), false) {
				// Only events whose whole past is judged already may fall in this pass, as others may yet change.
				ready := true
				for x := range e.past {
					if !v[x] && !inForce[x] && !r.allowed(r.acts[x], r.judgedBy(r.acts[x], v, inForce), false) {
						ready = false
					}
				}
				if ready {
					v[id], changed = true, true
				}
			}
		}
	}
}

// sources returns the strongly connected components that no edge enters.
func (r *reference) sources(open []string, v, inForce set) [][]string {
	reach := map[string]map[string]bool{}
	for _, x := range open {
		reach[x] = map[string]bool{}
		for _, y := range open {
			if r.strips(x, y) || r.restsOn(y, x, v, inForce) {
				reach[x][y] = true
			}
		}
	}
	for _, k := range open {
		for _, i := range open {
			if reach[i][k] {
				for _, j := range open {
					if reach[k][j] {
						reach[i][j] = true
					}
				}
			}
		}
	}
	var out [][]string
	for _, x := range open {
		comp, source := []string{x}, true
		for _, y := range open {
			switch {
			case x == y:
			case reach[x][y] && reach[y][x]:
				comp = append(comp, y)
			case reach[y][x]:
				source = false
			}
		}
		sort.Strings(comp)
		if source && comp[0] == x {
			out = append(out, comp)
		}
	}
	return out
}

// restsOn reports whether e rests on a: an act in its past on a signer of it, on its subject or invite, or one
// without which it would not be allowed.
func (r *reference) restsOn(e, a string, v, inForce set) bool {
	x, y := r.acts[a], r.acts[e]
	if !y.past[a] {
		return false
	}
	if x.kind == KindAdmit || x.kind == KindRoleGrant || x.kind == KindRevoke {
		on := subjectOf(x)
		if on == subjectOf(y) || slices.ContainsFunc(signersOf(y), func(d string) bool { return memberOf(d) == on }) {
			return true
		}
	}
	if (x.kind == KindInviteCreate || x.kind == KindInviteRevoke) && y.invite == x.invite {
		return true
	}
	return !r.allowed(y, r.judgedBy(y, v, inForce).union(set{a: true}), false)
}
