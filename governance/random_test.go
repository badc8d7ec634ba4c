package governance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
)

// world makes random histories: several members with several devices each, who see each other's events late or
// never, act mostly as they may and sometimes as they may not, and sometimes fork their own line.
type world struct {
	rng     *rand.Rand
	h       *history // everything, to see what a view amounts to
	acts    []*act
	at      map[string]int // place of an event in acts, from 1
	pasts   []set          // by place; 0 is the root record
	views   map[string]set // by device
	invites int
	clock   uint64
	forks   bool
	still   bool // a partition: hardly anybody hears of anything
	forked  []*act
}

var worldDevices = []string{
	"A1", "A3", "B1", "B2", "B3", "C1", "C3", "D1", "D2", "E1", "E3", "F1", "F2", "G1", "H1", "H2",
}

func newWorld(seed uint64, quorum int, forks bool) *world {
	return &world{
		rng: rand.New(rand.NewPCG(seed, 7)), h: newAbstract(quorum), at: map[string]int{"G": 0}, pasts: []set{{}},
		views: map[string]set{founder: {}}, forks: forks, clock: 10,
	}
}

func (w *world) pick(l []string) string {
	if len(l) == 0 {
		return ""
	}
	return l[w.rng.IntN(len(l))]
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

// known returns the devices that have a view, in order of their names.
func (w *world) known() []string {
	var out []string
	for d := range w.views {
		out = append(out, d)
	}
	sort.Strings(out)
	return out
}

// act returns the event at a place.
func (w *world) act(i int) *act { return w.acts[i-1] }

// heads returns the events of a view that no other there rests on.
func (w *world) heads(v set) []string {
	covered := set{}
	for _, i := range v.list() {
		covered = covered.union(w.pasts[i])
	}
	var out []string
	for _, i := range v.without(covered).list() {
		out = append(out, w.act(i).id)
	}
	if len(out) == 0 {
		return []string{"G"}
	}
	sort.Strings(out)
	return out
}

// look returns what a view amounts to.
func (w *world) look(v set) view {
	var heads []int
	for _, id := range w.heads(v) {
		heads = append(heads, w.h.byID[eventID(id)])
	}
	o := w.h.verdict(heads)
	return view{w.h, w.h.closure(heads), o.void, o.base}
}

// step lets one device act, or nobody.
func (w *world) step() {
	d := w.pick(w.known())
	for range w.rng.IntN(3) {
		if w.chance(60) && (!w.still || w.chance(15)) {
			w.views[d] = w.views[d].union(w.views[w.pick(w.known())])
		}
	}
	v := w.views[d]
	fork := w.forks && v != set{} && w.chance(6)
	if fork {
		v = w.pasts[w.at[w.heads(v)[0]]]
	} else if v != (set{}) && w.chance(6) { // rest on an older view than the device has
		v = w.backdated(d, v)
	}
	if d != founder && v == (set{}) || len(w.heads(v)) > MaxParents {
		return
	}
	a := &act{device: d, parents: w.heads(v)}
	for _, i := range v.list() {
		if e := w.act(i); e.device == d {
			a.aseq = max(a.aseq, e.aseq)
		}
	}
	a.aseq++
	reused := slices.ContainsFunc(w.acts, func(b *act) bool { return b.device == a.device && b.aseq == a.aseq })
	if !w.forks && reused || !w.fill(a, w.look(v), v) {
		return
	}
	if reused {
		w.forked = append(w.forked, a)
	}
	w.emit(a, v)
}

// backdated returns the past of the device's own last event with it, or v.
func (w *world) backdated(d string, v set) set {
	last := 0
	for _, i := range v.list() {
		if e := w.act(i); e.device == d && (last == 0 || e.aseq > w.act(last).aseq) {
			last = i
		}
	}
	if last == 0 {
		return v
	}
	return w.pasts[last].with(last)
}

func (w *world) emit(a *act, v set) {
	for a.id == "" || w.at[a.id] != 0 {
		a.id = fmt.Sprintf("%04x", w.rng.IntN(1<<16))
	}
	a.past = map[string]bool{}
	for _, i := range v.list() {
		a.past[w.act(i).id] = true
	}
	w.acts = append(w.acts, a)
	i := len(w.acts)
	w.at[a.id], w.pasts = i, append(w.pasts, v)
	w.h.add(w.h.entryOf(a))
	w.views[a.device] = w.views[a.device].union(v.with(i))
	if a.admits != "" {
		w.views[a.admits] = w.views[a.admits].union(v.with(i))
	}
}

// fill chooses what a device does in a view; it reports false if it does nothing.
func (w *world) fill(a *act, v view, in set) bool {
	role := v.standing(deviceID(a.device))
	if w.chance(6) {
		role = Manager // tries what it may not
	}
	if role == None && w.chance(85) {
		return false
	}
	a.root = role >= Manager && w.chance(5)
	switch n := w.rng.IntN(100); {
	case len(w.acts) == 0:
		w.fillEpoch(a, v)
	case n < 7:
		w.fillEpoch(a, v)
	case n < 12:
		a.kind, a.chain = KindChainOpen, w.h.nextChain(deviceID(a.device), v.in)
		if w.chance(10) {
			a.chain++
		}
	case n < 14:
		a.kind = Kind(77)
	case n < 18 && w.invites > 0:
		a.kind, a.invite = KindInviteRevoke, fmt.Sprintf("i%d", 1+w.rng.IntN(w.invites))
	case n < 38:
		return w.fillMember(a, v, in)
	case role < Manager || n < 50:
		return w.fillHosted(a, v)
	case n < 60:
		return w.fillCheckpoint(a, v, in)
	case n < 70:
		return w.fillRepair(a, v, in)
	default:
		return w.fillManager(a, v)
	}
	return true
}

func (w *world) fillEpoch(a *act, v view) {
	a.kind, a.roster = KindKeyEpoch, w.liveIn(v, "", "")
}

// liveIn returns the live devices of a view but one member's and but one, seldom wrongly.
func (w *world) liveIn(v view, without, device string) []string {
	out := []string{}
	for _, d := range w.known() {
		if info := w.h.devices[deviceID(d)]; info != nil && memberOf(d) != without && d != device && v.live(info) {
			out = append(out, d)
		}
	}
	if w.chance(5) && len(out) > 1 {
		out = out[1:]
	}
	return out
}

// eventsOf returns the events of a kind in a view.
func (w *world) eventsOf(k Kind, in set) []*act {
	var out []*act
	for _, i := range in.list() {
		if w.act(i).kind == k {
			out = append(out, w.act(i))
		}
	}
	return out
}

// fillMember does what any member may: leave, remove an own device, quarantine, prove an equivocation, carry the end
// of an identity.
func (w *world) fillMember(a *act, v view, in set) bool {
	a.root = false
	open := slices.DeleteFunc(w.eventsOf(KindQuarantinePropose, in), func(q *act) bool {
		return !v.counts(w.h.byID[eventID(q.id)])
	})
	switch n := w.rng.IntN(100); {
	case n < 3:
		a.kind = KindLeave
	case n < 12:
		a.kind, a.target, a.stolen = KindDeviceRemove, w.pick(worldDevices), w.chance(50)
		if w.chance(80) {
			a.target = w.pick(slices.DeleteFunc(slices.Clone(worldDevices), func(d string) bool { return memberOf(d) != memberOf(a.device) }))
		}
		info := w.h.devices[deviceID(a.target)]
		return info != nil && (v.live(info) || w.chance(10))
	case n < 60 && len(open) > 0:
		q := open[w.rng.IntN(len(open))]
		a.kind, a.named, a.withdraw = KindQuarantineVote, []string{q.id}, w.chance(8)
		if q.member == memberOf(a.device) && w.chance(80) {
			return false
		}
	case n < 76:
		a.kind, a.member, a.expires = KindQuarantinePropose, w.pick(worldDevices)[:1], w.clock+uint64(1+w.rng.IntN(25))
		if a.member == memberOf(a.device) && w.chance(90) {
			return false
		}
		return v.role(memberID(a.member)) != None || w.chance(5)
	case n < 80 && len(open) > 0:
		q := open[w.rng.IntN(len(open))]
		a.kind, a.member = KindLiftQuarantine, q.member
	case n < 92 && len(w.forked) > 0:
		f := w.forked[w.rng.IntN(len(w.forked))]
		a.kind, a.target, a.number = KindEquivocationProof, f.device, f.aseq
	case w.chance(12):
		return w.fillCarry(a, in)
	default:
		return false
	}
	return true
}

func (w *world) fillCarry(a *act, in set) bool {
	a.kind, a.member, a.since = KindCarry, w.pick(worldDevices)[:1], map[string]uint64{}
	if a.member == memberOf(founder) && w.chance(80) {
		return false
	}
	for _, d := range worldDevices {
		if memberOf(d) != a.member || w.chance(40) {
			continue
		}
		last := uint64(0)
		for _, i := range in.list() {
			if w.act(i).device == d {
				last = max(last, w.act(i).aseq)
			}
		}
		a.since[d] = uint64(w.rng.IntN(int(last) + 1))
	}
	return true
}

func (w *world) fillCheckpoint(a *act, v view, in set) bool {
	a.kind, a.ok = KindCheckpoint, !w.chance(6)
	for _, c := range w.eventsOf(KindCheckpoint, in) {
		switch {
		case !v.counts(w.h.byID[eventID(c.id)]) && w.chance(95):
		case c.number > a.number:
			a.number, a.prev = c.number, []string{c.id}
		case c.number == a.number && len(a.prev) < MaxPrev:
			a.prev = append(a.prev, c.id)
		}
	}
	sort.Strings(a.prev)
	a.number++
	w.clock += uint64(w.rng.IntN(4))
	a.time = w.clock
	if w.chance(4) {
		a.time -= 5
	}
	w.cosign(a, v, w.h.policy.quorum-1, "")
	return true
}

// fillRepair endorses what fell without fault, or lifts a suspended device.
func (w *world) fillRepair(a *act, v view, in set) bool {
	if w.chance(50) && len(w.forked) > 0 {
		f := w.forked[w.rng.IntN(len(w.forked))]
		a.kind, a.target = KindLiftQuarantine, f.device
		if w.chance(60) {
			w.cosign(a, v, w.h.policy.quorum-1, memberOf(f.device))
		}
		return v.suspended(deviceID(f.device)) || w.chance(10)
	}
	o := w.h.verdict(w.placesOf(w.heads(in)))
	for _, i := range in.list() {
		x := w.act(i)
		if !rulesAdditive(x.kind) || len(a.named) > 1 {
			continue
		}
		_, f := o.why(w.h, w.h.byID[eventID(x.id)])
		if f.reason.endorsable() && w.chance(70) || w.chance(2) {
			a.named = append(a.named, x.id)
		}
	}
	sort.Strings(a.named)
	a.kind = KindEndorse
	if w.chance(50) {
		w.cosign(a, v, w.h.policy.quorum-1, "")
	}
	return len(a.named) > 0
}

func rulesAdditive(k Kind) bool { return k == KindAdmit || k == KindRoleGrant || k == KindInviteCreate }

func (w *world) placesOf(names []string) []int {
	var out []int
	for _, n := range names {
		out = append(out, w.h.byID[eventID(n)])
	}
	return out
}

// fillHosted admits somebody on an invite that the device may host.
func (w *world) fillHosted(a *act, v view) bool {
	var hosted []*act
	for _, b := range w.acts {
		if b.kind == KindInviteCreate && v.counts(w.h.byID[eventID(b.id)]) && (slices.Contains(b.hosts, a.device) || w.chance(5)) {
			hosted = append(hosted, b)
		}
	}
	if len(hosted) == 0 {
		return false
	}
	b := hosted[w.rng.IntN(len(hosted))]
	a.kind, a.invite, a.role, a.admits = KindAdmit, b.invite, b.role, w.pick(worldDevices)
	if v.role(memberID(memberOf(a.admits))) != None && w.chance(70) {
		return false
	}
	if w.chance(10) {
		a.role = []Role{Viewer, Editor, Manager, 15}[w.rng.IntN(4)]
	}
	if w.chance(15) {
		w.cosign(a, v, 1, "")
	}
	return true
}

func (w *world) fillManager(a *act, v view) bool {
	roles := []Role{Viewer, Editor, Manager}
	a.role = roles[w.rng.IntN(3)]
	a.member = w.pick(worldDevices)[:1]
	present := v.role(memberID(a.member))
	n := 0
	if a.role == Manager || w.chance(5) {
		n = w.h.policy.quorum - 1
	}
	switch k := w.rng.IntN(100); {
	case k < 25:
		a.kind, a.admits = KindAdmit, a.member+"1"
		if present != None && w.chance(90) {
			return false
		}
		a.member = ""
		w.cosign(a, v, n, "")
	case k < 40:
		w.fillInvite(a)
	case k < 60:
		a.kind = KindRoleGrant
		if present == Viewer || present == Editor {
			a.role, n = Manager, w.h.policy.quorum-1
		}
		if present == None && w.chance(90) || a.role <= present && w.chance(90) {
			return false
		}
		w.cosign(a, v, n, "")
	default:
		return w.fillRemoval(a, v, present)
	}
	return true
}

func (w *world) fillInvite(a *act) {
	w.invites++
	a.kind, a.invite, a.uses, a.member = KindInviteCreate, fmt.Sprintf("i%d", w.invites), 1+w.rng.IntN(2), ""
	if w.chance(5) {
		a.invite = "i1"
	}
	if w.chance(40) {
		a.expires = w.clock + uint64(w.rng.IntN(10))
	}
	a.role = []Role{Viewer, Editor}[w.rng.IntN(2)]
	a.hosts = w.hosts(a.device)
}

// fillRemoval removes a member or a device, or lowers a role.
func (w *world) fillRemoval(a *act, v view, present Role) bool {
	if present == None && w.chance(90) {
		return false
	}
	switch k := w.rng.IntN(100); {
	case k < 55:
		a.kind = KindRevoke
		if w.chance(60) {
			a.roster = w.liveIn(v, a.member, "")
		}
	case k < 80:
		a.kind, a.role = KindRoleDrop, []Role{Viewer, Editor}[w.rng.IntN(2)]
	default:
		a.kind, a.target = KindDeviceRemove, w.pick(worldDevices)
		present = v.role(memberID(memberOf(a.target)))
		info := w.h.devices[deviceID(a.target)]
		if info == nil || !v.live(info) && w.chance(90) {
			return false
		}
		a.member = ""
		if w.chance(60) {
			a.roster = w.liveIn(v, "", a.target)
		}
	}
	if present == Manager && w.chance(95) {
		not := a.member
		if a.target != "" {
			not = memberOf(a.target)
		}
		w.cosign(a, v, max(1, w.h.policy.quorum-1), not)
	}
	return true
}

func (w *world) hosts(first string) []string {
	hosts := []string{first}
	for range w.rng.IntN(3) {
		if d := w.pick(w.known()); !slices.Contains(hosts, d) {
			hosts = append(hosts, d)
		}
	}
	w.rng.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	return hosts
}

// cosign adds n devices of distinct other managers, mostly not the one named.
func (w *world) cosign(a *act, v view, n int, not string) {
	if a.root {
		return
	}
	devices := w.known()
	w.rng.Shuffle(len(devices), func(i, j int) { devices[i], devices[j] = devices[j], devices[i] })
	seen := []string{memberOf(a.device)}
	for _, d := range devices {
		if len(a.cosigners) < n && !slices.Contains(seen, memberOf(d)) && (memberOf(d) != not || w.chance(5)) &&
			v.standing(deviceID(d)) == Manager {
			seen = append(seen, memberOf(d))
			a.cosigners = append(a.cosigners, d)
		}
	}
	sort.Strings(a.cosigners)
}

// team makes a key epoch and admits managers and editors, all of whom have seen all of it.
func (w *world) team(devices ...string) {
	w.emit(&act{device: founder, aseq: 1, kind: KindKeyEpoch, roster: []string{founder}, parents: []string{"G"}}, set{})
	next := func(a *act) {
		v := w.views[founder]
		a.device, a.aseq, a.parents = founder, uint64(len(v.list()))+1, w.heads(v)
		w.emit(a, v)
	}
	for k, d := range devices {
		a := &act{kind: KindAdmit, admits: d, role: Manager}
		if k > 2 {
			a.role = Editor
		} else if need := min(w.h.policy.quorum, k+1); need > 1 {
			a.cosigners = slices.Clone(devices[:need-1])
		}
		next(a)
	}
	w.invites++
	next(&act{kind: KindInviteCreate, invite: "i1", role: Editor, uses: 2, hosts: []string{devices[1], founder, devices[0]}})
	all := w.views[founder]
	// A newcomer knocks at two hosts with two devices at once, so he has both.
	for k, d := range []string{"F1", "F2"} {
		host := []string{founder, devices[0]}[k]
		a := &act{device: host, aseq: 1, kind: KindAdmit, invite: "i1", role: Editor, admits: d, parents: w.heads(all)}
		for _, i := range all.list() {
			if w.act(i).device == host {
				a.aseq = w.act(i).aseq + 1
			}
		}
		w.emit(a, all)
	}
	for _, d := range w.known() {
		all = all.union(w.views[d])
	}
	for _, d := range w.known() {
		w.views[d] = all
	}
}

// run makes a history of n events, at most 250. Most begin with a team, which is then split by a partition for a
// while.
func (w *world) run(n int) []*act {
	w.still = w.chance(50)
	if w.chance(75) {
		w.team("B1", "C1", "D1", "E1")
	}
	for tries := 0; len(w.acts) < n && tries < 60*n; tries++ {
		if len(w.acts) > n*2/3 {
			w.still = false
		}
		w.step()
	}
	return w.acts
}

func describe(acts []*act) string {
	s := ""
	for _, a := range acts {
		s += a.String() + "\n"
	}
	return s
}

// voidNames returns the void events of a history's outcome.
func voidNames(h *history, acts []*act, v *verdict) []string {
	var out []string
	for _, a := range acts {
		if v.void.has(h.byID[eventID(a.id)]) {
			out = append(out, a.id)
		}
	}
	sort.Strings(out)
	return out
}

func (h *history) headsNow() []int {
	var all []int
	for i := range h.entries {
		all = append(all, i)
	}
	return h.maximal(all)
}
