package governance

import (
	"cmp"
	"math/bits"
	"slices"
	"sort"
)

// set is a set of abstract events by their place in the order of their ids; 0 is the root record, which is in all.
type set [4]uint64

func (s set) has(i int) bool    { return s[i>>6]&(1<<(i&63)) != 0 }
func (s *set) add(i int)        { s[i>>6] |= 1 << (i & 63) }
func (s set) with(i int) set    { s.add(i); return s }
func (s set) union(o set) set   { return set{s[0] | o[0], s[1] | o[1], s[2] | o[2], s[3] | o[3]} }
func (s set) without(o set) set { return set{s[0] &^ o[0], s[1] &^ o[1], s[2] &^ o[2], s[3] &^ o[3]} }
func (s set) common(o set) set  { return set{s[0] & o[0], s[1] & o[1], s[2] & o[2], s[3] & o[3]} }

func (s set) list() []int {
	var out []int
	for w, x := range s {
		for ; x != 0; x &= x - 1 {
			out = append(out, w<<6+bits.TrailingZeros64(x))
		}
	}
	return out
}

// reference is replay as SPEC.md writes it, without index, sharing or shortcut. It is slow.
type reference struct {
	quorum int
	acts   []*act // ascending by id; the root record first
	at     map[string]int
	past   []set
	memo   map[set]*outcome
	bases  map[set]int
	own    map[int]string
	shown  map[string][]exhibit
	vote   map[int][]string
	need   map[int][]Role

	unlisted []string // dependences that the list of SPEC.md has not
	restarts int      // attempts at step 4 after the first
}

// outcome is Void(p) and what led to it.
type outcome struct {
	base   int // last settled checkpoint, 0 for none
	void   set
	stage6 set // void after structure, lateness, own past and equivocation
	stage7 set // and invites
	revive set // void, and to be endorsed
	late   map[int]int
}

func newReference(quorum int, acts []*act) *reference {
	r := &reference{
		quorum: quorum, at: map[string]int{"G": 0}, memo: map[set]*outcome{}, own: map[int]string{}, bases: map[set]int{},
		shown: map[string][]exhibit{}, vote: map[int][]string{}, need: map[int][]Role{},
	}
	r.acts = append(r.acts, &act{id: "", kind: KindAdmit, admits: founder, role: Manager, root: true})
	sorted := slices.Clone(acts)
	slices.SortFunc(sorted, func(a, b *act) int { return cmp.Compare(a.id, b.id) })
	for k, a := range sorted {
		r.at[a.id] = k + 1
	}
	r.acts = append(r.acts, sorted...)
	r.past = make([]set, len(r.acts))
	for k, a := range sorted {
		s := set{}.with(0)
		for id := range a.past {
			s.add(r.at[id])
		}
		r.past[k+1] = s
	}
	return r
}

func (r *reference) all() set {
	s := set{}
	for i := range r.acts {
		s.add(i)
	}
	return s
}

func (r *reference) concurrent(a, b int) bool {
	return a != b && !r.past[a].has(b) && !r.past[b].has(a)
}

func (r *reference) reduces(i int) bool {
	switch r.acts[i].kind {
	case KindRevoke, KindRoleDrop, KindDeviceRemove, KindInviteRevoke, KindLeave, KindCarry, KindQuarantinePropose, KindQuarantineVote:
		return true
	}
	return false
}

func (r *reference) adds(i int) bool {
	switch r.acts[i].kind {
	case KindInviteCreate, KindAdmit, KindRoleGrant, KindEndorse, KindLiftQuarantine:
		return true
	}
	return false
}

// signersOf returns the devices whose standing an event needs.
func (r *reference) signersOf(i int) []string {
	if r.acts[i].root {
		return nil
	}
	return append([]string{r.acts[i].device}, r.acts[i].cosigners...)
}

// about returns the members whom an event is about.
func (r *reference) about(i int) []string {
	a := r.acts[i]
	switch a.kind {
	case KindAdmit:
		return []string{memberOf(a.admits)}
	case KindDeviceRemove:
		if r.introduced(a.target, r.past[i]) {
			return []string{memberOf(a.target)}
		}
		return nil
	case KindLiftQuarantine:
		if a.target != "" {
			if r.introduced(a.target, r.past[i]) {
				return []string{memberOf(a.target)}
			}
			return nil
		}
	case KindLeave:
		return []string{memberOf(a.device)}
	case KindEndorse:
		var out []string
		for _, x := range r.named(i) {
			if b := r.acts[x]; b.kind == KindAdmit || b.kind == KindRoleGrant {
				out = append(out, r.about(x)...)
			}
		}
		return out
	case KindQuarantineVote:
		if q := r.proposal(i); q != 0 {
			return r.about(q)
		}
		return nil
	}
	if a.member == "" {
		return nil
	}
	return []string{a.member}
}

func (r *reference) introduced(d string, in set) bool {
	return d == founder || slices.ContainsFunc(in.list(), func(x int) bool { return r.acts[x].admits == d })
}

// named returns what an Endorse names and has in its past.
func (r *reference) named(i int) []int {
	var out []int
	for _, id := range r.acts[i].named {
		if x, ok := r.at[id]; ok && x != 0 && r.past[i].has(x) {
			out = append(out, x)
		}
	}
	return out
}

// proposal returns what a vote is on, 0 if it is on nothing.
func (r *reference) proposal(i int) int {
	if n := r.named(i); len(n) == 1 && r.acts[n[0]].kind == KindQuarantinePropose {
		return n[0]
	}
	return 0
}

// fold is Fold(p, v).
type fold struct {
	r    *reference
	p, v set
	base int
}

func (f fold) counts(i int) bool { return f.p.has(i) && !f.v.has(i) }

func (f fold) before(x, y int) bool {
	if f.r.past[y].has(x) {
		return true
	}
	for b := f.base; b != 0; b = f.r.void(f.r.past[b]).base {
		if f.r.past[b].has(x) != f.r.past[b].has(y) {
			return f.r.past[b].has(x)
		}
	}
	return false
}

func (f fold) last(acts []int) []int {
	var out []int
	for _, x := range acts {
		if !slices.ContainsFunc(acts, func(y int) bool { return x != y && f.before(x, y) }) {
			out = append(out, x)
		}
	}
	return out
}

func isRoleAct(k Kind) bool {
	switch k {
	case KindAdmit, KindRoleGrant, KindRoleDrop, KindRevoke, KindLeave, KindCarry, KindEndorse, KindDeviceRemove:
		return true
	}
	return false
}

// on returns the acts on a member that have effect; an Admit of somebody present at its place has none.
func (f fold) on(m string) []int {
	var out []int
	for _, i := range f.p.list() {
		if !f.counts(i) || !isRoleAct(f.r.acts[i].kind) || !slices.Contains(f.r.about(i), m) {
			continue
		}
		if f.r.acts[i].kind == KindAdmit {
			here := f
			here.p = f.r.past[i].common(f.p)
			if i != 0 && here.role(m) != None {
				continue
			}
		}
		out = append(out, i)
	}
	return out
}

func (f fold) roleOf(m string, acts []int) Role {
	acts = slices.DeleteFunc(slices.Clone(acts), func(i int) bool { return f.r.acts[i].kind == KindDeviceRemove })
	high, low, reduced := None, Manager, false
	for _, i := range f.last(acts) {
		a := f.r.acts[i]
		switch a.kind {
		case KindRevoke, KindLeave, KindCarry:
			return None
		case KindRoleDrop:
			reduced = true
			var prior []int
			for _, x := range acts {
				if f.before(x, i) {
					prior = append(prior, x)
				}
			}
			low = min(low, a.role, f.roleOf(m, prior))
		case KindEndorse:
			for _, x := range f.r.named(i) {
				if slices.Contains(f.r.about(x), m) && f.r.acts[x].kind != KindInviteCreate {
					high = max(high, f.r.acts[x].role)
				}
			}
		default:
			high = max(high, a.role)
		}
	}
	if reduced {
		return low
	}
	return high
}

func (f fold) role(m string) Role { return f.roleOf(m, f.on(m)) }

func (f fold) live(d string) bool {
	acts := f.on(memberOf(d))
	if f.roleOf(memberOf(d), acts) == None {
		return false
	}
	adds := func(i int) bool {
		a := f.r.acts[i]
		return a.admits == d || a.kind == KindEndorse && slices.ContainsFunc(f.r.named(i), func(x int) bool { return f.r.acts[x].admits == d })
	}
	ends := func(i int) bool {
		switch a := f.r.acts[i]; a.kind {
		case KindRevoke, KindLeave, KindCarry:
			return true
		case KindDeviceRemove:
			return a.target == d
		}
		return false
	}
	on := f.last(slices.DeleteFunc(slices.Clone(acts), func(i int) bool { return !adds(i) && !ends(i) }))
	return len(on) > 0 && !slices.ContainsFunc(on, ends)
}

func (f fold) standing(d string) Role {
	if !f.live(d) {
		return None
	}
	return min(f.role(memberOf(d)), maxRoleOf(d))
}

// devices returns every device that some event of p, or the root record, introduces.
func (f fold) devices() []string {
	var out []string
	for _, i := range f.p.list() {
		if d := f.r.acts[i].admits; d != "" && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	sort.Strings(out)
	return out
}

func (f fold) members() []string {
	var out []string
	for _, d := range f.devices() {
		if !slices.Contains(out, memberOf(d)) {
			out = append(out, memberOf(d))
		}
	}
	return out
}

// exhibit shows that a device used a number twice: two events, or one that proves it (then y is -1).
type exhibit struct {
	n    uint64
	x, y int
}

func (e exhibit) within(p set) bool { return p.has(e.x) && (e.y < 0 || p.has(e.y)) }

func (r *reference) against(d string) []exhibit {
	if out, ok := r.shown[d]; ok {
		return out
	}
	out := []exhibit{}
	defer func() { r.shown[d] = out }()
	for x, a := range r.acts {
		for y, b := range r.acts[:x] {
			if x != 0 && y != 0 && a.device == d && b.device == d && a.aseq == b.aseq {
				out = append(out, exhibit{a.aseq, x, y})
			}
		}
		if a.kind == KindEquivocationProof && a.target == d && r.proves(x) {
			out = append(out, exhibit{a.number, x, -1})
		}
	}
	return out
}

func (r *reference) proves(i int) bool { return r.introduced(r.acts[i].target, r.past[i]) }

func (f fold) forgiven(d string, e exhibit, within set) bool {
	return slices.ContainsFunc(within.list(), func(i int) bool {
		a := f.r.acts[i]
		return f.counts(i) && a.kind == KindLiftQuarantine && a.target == d && e.within(f.r.past[i])
	})
}

// doubt returns the lowest number from which on a device is in doubt, 0 if it is not.
func (f fold) doubt(d string) uint64 {
	low := uint64(0)
	for _, e := range f.r.against(d) {
		if e.within(f.p) && !f.forgiven(d, e, f.p) && (low == 0 || e.n < low) {
			low = e.n
		}
	}
	return low
}

func (f fold) managers(except string) int {
	n := map[string]bool{}
	for _, d := range f.devices() {
		if m := memberOf(d); m != except && f.role(m) == Manager && f.standing(d) == Manager && f.doubt(d) == 0 {
			n[m] = true
		}
	}
	return len(n)
}

func (f fold) invite(name string) int {
	for _, i := range f.p.list() {
		if f.r.acts[i].kind != KindInviteCreate || f.r.acts[i].invite != name {
			continue
		}
		endorsed := slices.ContainsFunc(f.p.list(), func(x int) bool {
			return f.counts(x) && f.r.acts[x].kind == KindEndorse && slices.Contains(f.r.named(x), i)
		})
		if f.counts(i) || endorsed {
			return i
		}
	}
	return 0
}

// here is the fold of an event's past.
func (r *reference) here(i int) fold {
	o := r.void(r.past[i])
	return fold{r, r.past[i], o.void, o.base}
}

func (r *reference) timeAt(base int) uint64   { return r.acts[base].time }
func (r *reference) numberAt(base int) uint64 { return r.acts[base].number }

// needs returns the role that each signer needs.
func (r *reference) needs(i int) []Role {
	if r.need[i] == nil {
		r.need[i] = r.needed(i)
	}
	return r.need[i]
}

func (r *reference) needed(i int) []Role {
	a := r.acts[i]
	need := Manager
	switch a.kind {
	case KindChainOpen, KindLeave, KindCarry, KindEquivocationProof, KindQuarantinePropose, KindQuarantineVote, KindKeyUpdate:
		need = Viewer
	case KindKeyEpoch:
		need = Editor
	case KindAdmit:
		if a.invite != "" {
			need = Editor
		}
	case KindInviteRevoke:
		if c := r.here(i).invite(a.invite); c != 0 && !r.acts[c].root && r.acts[c].device == a.device {
			need = Viewer
		}
	case KindDeviceRemove:
		if memberOf(a.target) == memberOf(a.device) {
			need = Viewer
		}
	case KindLiftQuarantine:
		if a.target == "" || memberOf(a.target) == memberOf(a.device) && a.target != a.device && r.here(i).role(memberOf(a.target)) != Manager {
			need = Viewer
		}
	}
	out := []Role{}
	for k := range r.signersOf(i) {
		if k > 0 {
			need = Manager
		}
		out = append(out, need)
	}
	return out
}

func (r *reference) lacks(i int, f fold) bool {
	needs := r.needs(i)
	for k, d := range r.signersOf(i) {
		if f.standing(d) < needs[k] {
			return true
		}
	}
	return false
}
