package governance

import (
	"slices"
	"sort"
	"strings"
)

// set is a causally closed set of abstract events, without G.
type set map[string]bool

func (s set) key() string {
	k := make([]string, 0, len(s))
	for id := range s {
		k = append(k, id)
	}
	sort.Strings(k)
	return strings.Join(k, " ")
}

func (s set) union(o set) set {
	out := set{}
	for id := range s {
		out[id] = true
	}
	for id := range o {
		out[id] = true
	}
	return out
}

// reference is replay as SPEC.md writes it, without index, sharing or shortcut. It is slow.
type reference struct {
	quorum int
	acts   map[string]*act
	memo   map[string]*refVerdict
}

type refVerdict struct {
	void   set
	stage6 set // void after structure, own past and equivocation
	stage7 set // and invites
}

func newReference(quorum int, acts []*act) *reference {
	r := &reference{quorum: quorum, acts: map[string]*act{}, memo: map[string]*refVerdict{}}
	for _, a := range acts {
		r.acts[a.id] = a
	}
	return r
}

func (r *reference) all() set {
	p := set{}
	for id := range r.acts {
		p[id] = true
	}
	return p
}

func (r *reference) before(a, b string) bool { return r.acts[b].past[a] }
func (r *reference) concurrent(a, b string) bool {
	return a != b && !r.before(a, b) && !r.before(b, a)
}
func reductive(a *act) bool { return a.kind == KindRevoke || a.kind == KindInviteRevoke }

// signersOf returns the devices whose standing an event needs.
func signersOf(a *act) []string {
	if a.root {
		return nil
	}
	return append([]string{a.device}, a.cosigners...)
}

func subjectOf(a *act) string {
	if a.kind == KindAdmit {
		return memberOf(a.admits)
	}
	return a.member
}

// actsOn returns the effective acts on a member in Fold(p, v); "G" is the founder's admission.
func (r *reference) actsOn(m string, p, v set) []string {
	var out []string
	if m == memberOf(founder) {
		out = append(out, "G")
	}
	for id := range p {
		a := r.acts[id]
		if v[id] || subjectOf(a) != m || a.kind != KindAdmit && a.kind != KindRoleGrant && a.kind != KindRevoke {
			continue
		}
		if a.kind == KindAdmit && r.role(m, a.past, v) != None {
			continue
		}
		out = append(out, id)
	}
	return out
}

func (r *reference) maximal(acts []string) []string {
	var out []string
	for _, x := range acts {
		if !slices.ContainsFunc(acts, func(y string) bool { return y != x && (x == "G" || y != "G" && r.before(x, y)) }) {
			out = append(out, x)
		}
	}
	return out
}

func (r *reference) role(m string, p, v set) Role {
	role := None
	for _, id := range r.maximal(r.actsOn(m, p, v)) {
		if id == "G" {
			role = max(role, Manager)
			continue
		}
		if reductive(r.acts[id]) {
			return None
		}
		role = max(role, r.acts[id].role)
	}
	return role
}

func (r *reference) live(d string, p, v set) bool {
	m := memberOf(d)
	if r.role(m, p, v) == None {
		return false
	}
	var on []string
	for _, id := range r.actsOn(m, p, v) {
		if id == "G" && d == founder || id != "G" && (reductive(r.acts[id]) || r.acts[id].admits == d) {
			on = append(on, id)
		}
	}
	on = r.maximal(on)
	return len(on) > 0 && !slices.ContainsFunc(on, func(id string) bool { return id != "G" && reductive(r.acts[id]) })
}

func (r *reference) standing(d string, p, v set) Role {
	if !r.live(d, p, v) {
		return None
	}
	return min(r.role(memberOf(d), p, v), maxRoleOf(d))
}

// devices returns every device that some event of p, or the root record, introduces.
func (r *reference) devices(p set) []string {
	out := []string{founder}
	for id := range p {
		if d := r.acts[id].admits; d != "" && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	sort.Strings(out)
	return out
}

// forked returns the lowest number that a device used twice in p, 0 if none.
func (r *reference) forked(d string, p set) uint64 {
	lowest := uint64(0)
	for x := range p {
		for y := range p {
			a, b := r.acts[x], r.acts[y]
			if x != y && a.device == d && b.device == d && a.aseq == b.aseq && (lowest == 0 || a.aseq < lowest) {
				lowest = a.aseq
			}
		}
	}
	return lowest
}

func (r *reference) managers(except string, p, v set) int {
	members := map[string]bool{}
	for _, d := range r.devices(p) {
		if m := memberOf(d); m != except && r.standing(d, p, v) == Manager && r.forked(d, p) == 0 {
			members[m] = true
		}
	}
	return len(members)
}

func (r *reference) invite(name string, p, v set) string {
	best := ""
	for id := range p {
		if a := r.acts[id]; !v[id] && a.kind == KindInviteCreate && a.invite == name && (best == "" || id < best) {
			best = id
		}
	}
	return best
}

// allowed is Allowed(e, past(e), v); local adds what is fixed in State(past(e)).
func (r *reference) allowed(e *act, v set, local bool) bool {
	p := set(e.past)
	own := r.void(p).void
	if !e.kind.Known() {
		return false
	}
	if e.root {
		if e.kind == KindKeyEpoch || e.kind == KindChainOpen || len(e.cosigners) > 0 || e.invite != "" && e.kind == KindAdmit {
			return false
		}
	} else if !r.signersAllowed(e, p, v, own, local) {
		return false
	}
	switch e.kind {
	case KindInviteCreate:
		return (e.role == Viewer || e.role == Editor) && r.invite(e.invite, p, v) == ""
	case KindAdmit:
		return r.admitAllowed(e, p, v, own)
	case KindRoleGrant:
		role := r.role(e.member, p, v)
		return e.role.known() && role != None && e.role > role
	case KindRevoke:
		return r.role(e.member, p, v) != None
	case KindInviteRevoke:
		return r.invite(e.invite, p, v) != ""
	case KindChainOpen:
		return e.chain == r.nextChain(e.device, p)
	}
	if e.kind == KindKeyEpoch && local {
		return r.epochValid(e) && !(r.minted(e.device, p, own) && !r.owed(p))
	}
	return true
}

func (r *reference) signersAllowed(e *act, p, v, own set, local bool) bool {
	need := map[Kind]Role{KindKeyEpoch: Editor, KindInviteCreate: Manager, KindAdmit: Editor, KindRoleGrant: Manager,
		KindRevoke: Manager, KindChainOpen: Viewer, KindInviteRevoke: Manager}[e.kind]
	if e.kind == KindAdmit && e.invite == "" {
		need = Manager
	}
	if c := r.invite(e.invite, p, v); e.kind == KindInviteRevoke && c != "" && !r.acts[c].root && r.acts[c].device == e.device {
		need = Viewer
	}
	if r.standing(e.device, p, v) < need {
		return false
	}
	seen := []string{memberOf(e.device)}
	for _, c := range e.cosigners {
		if r.standing(c, p, v) < Manager || slices.Contains(seen, memberOf(c)) || local && r.forked(c, p) != 0 {
			return false
		}
		seen = append(seen, memberOf(c))
	}
	lo, hi := 1, 1
	switch {
	case e.kind == KindRoleGrant && e.role == Manager, e.kind == KindAdmit && e.invite == "" && e.role == Manager:
		lo = max(1, min(r.quorum, r.managers("", p, own)))
		hi = lo
	case e.kind == KindAdmit && e.invite != "":
		hi = 2
	case e.kind == KindRevoke:
		if slices.Contains(seen, e.member) {
			return false
		}
		if r.role(e.member, p, v) == Manager {
			lo = max(2, min(r.quorum, r.managers(e.member, p, own)))
			hi = lo
		}
	}
	return len(seen) >= lo && (!local || len(seen) <= hi)
}

func (r *reference) admitAllowed(e *act, p, v, own set) bool {
	m := memberOf(e.admits)
	if !e.role.known() {
		return false
	}
	if e.invite != "" {
		c := r.invite(e.invite, p, v)
		if c == "" || c != r.invite(e.invite, p, own) || !slices.Contains(r.acts[c].hosts, e.device) || e.role > r.acts[c].role {
			return false
		}
		for id := range p {
			if !v[id] && r.acts[id].kind == KindInviteRevoke && r.acts[id].invite == e.invite {
				return false
			}
		}
	}
	if r.role(m, p, v) != None {
		for id := range p {
			if a := r.acts[id]; !v[id] && e.invite != "" && a.kind == KindAdmit && memberOf(a.admits) == m && a.invite == e.invite {
				return true
			}
		}
		return false
	}
	removed := false
	for id := range p {
		removed = removed || !v[id] && r.acts[id].kind == KindRevoke && r.acts[id].member == m
	}
	fit := e.root || slices.ContainsFunc(signersOf(e), func(d string) bool { return r.standing(d, p, v) == Manager })
	return !removed || fit
}

// nextChain counts openings that follow their device's last, void or not.
func (r *reference) nextChain(d string, p set) uint32 {
	next := uint32(1)
	for id := range p {
		if a := r.acts[id]; a.kind == KindChainOpen && a.device == d && a.chain == r.nextChain(d, a.past) {
			next = max(next, a.chain+1)
		}
	}
	return next
}

func (r *reference) minted(d string, p, v set) bool {
	for id := range p {
		if a := r.acts[id]; !v[id] && a.kind == KindKeyEpoch && a.device == d {
			return true
		}
	}
	return false
}

func (r *reference) epochValid(e *act) bool {
	p := set(e.past)
	v := r.void(p).void
	if e.roster == nil || r.standing(e.device, p, v) < Editor {
		return false
	}
	var live []string
	for _, d := range r.devices(p) {
		if r.live(d, p, v) && !(e.kind == KindRevoke && memberOf(d) == e.member) {
			live = append(live, d)
		}
	}
	got := slices.Clone(e.roster)
	sort.Strings(got)
	return slices.Equal(got, live)
}

// usable lists the events whose epochs may be sent under in the state of p.
func (r *reference) usable(p set) []string {
	out := r.void(p)
	var found []string
	for id := range p {
		e := r.acts[id]
		if out.void[id] || e.kind != KindKeyEpoch && e.kind != KindRevoke || !r.epochValid(e) {
			continue
		}
		if r.knowsLosses(e, p, out) {
			found = append(found, id)
		}
	}
	sort.Strings(found)
	return found
}

func (r *reference) owed(p set) bool { return len(r.usable(p)) == 0 }

func (r *reference) knowsLosses(mint *act, p set, out *refVerdict) bool {
	knows := func(id string) bool { return mint.id == id || mint.past[id] }
	for id := range p {
		a := r.acts[id]
		if a.kind == KindRevoke && !out.void[id] && !knows(id) {
			return false
		}
		if a.kind == KindAdmit && out.void[id] && !out.stage7[id] && !r.knowsCancelling(mint, id, p, out) {
			return false
		}
		letsIn := a.kind == KindAdmit || a.kind == KindInviteCreate || a.kind == KindRoleGrant
		if !out.stage7[id] || !letsIn || r.void(set(a.past).union(set{id: true})).void[id] || !r.allowed(a, r.void(a.past).void, true) {
			continue
		}
		if out.stage6[id] { // equivocation
			shown := false
			for x := range p {
				for y := range p {
					f, g := r.acts[x], r.acts[y]
					if x != y && f.device == a.device && g.device == a.device && f.aseq == g.aseq && f.aseq <= a.aseq &&
						x != id && !a.past[x] && knows(x) {
						shown = true
					}
				}
			}
			if !shown {
				return false
			}
			continue
		}
		if a.kind == KindAdmit {
			for x := range p {
				if r.sameInvite(r.acts[x], a) && !out.stage7[x] && !knows(x) {
					return false
				}
			}
		}
		if a.kind == KindInviteCreate {
			if lowest := r.rivalOf(id, p, out.stage6); !knows(lowest) {
				return false
			}
		}
	}
	return true
}

// knowsCancelling reports whether the author of an epoch knew of a cancelling that voids an admission, if one does.
func (r *reference) knowsCancelling(mint *act, id string, p set, out *refVerdict) bool {
	if r.void(set(r.acts[id].past).union(set{id: true})).void[id] {
		return true // it never stood
	}
	any := false
	for x := range p {
		if r.acts[x].kind == KindInviteRevoke && !out.void[x] && r.strips(x, id) {
			if mint.id == x || mint.past[x] {
				return true
			}
			any = true
		}
	}
	return !any
}

// usedBy returns the InviteCreate that an Admit uses, as its own past sees it.
func (r *reference) usedBy(a *act) string {
	if a.kind != KindAdmit || a.invite == "" {
		return ""
	}
	return r.invite(a.invite, a.past, r.void(a.past).void)
}

func (r *reference) sameInvite(a, b *act) bool { c := r.usedBy(a); return c != "" && c == r.usedBy(b) }
