package governance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
)

// world makes random histories: several members with several devices each, who see each other's events late or
// never, act mostly as they may and sometimes as they may not, and sometimes fork their own line.
type world struct {
	rng     *rand.Rand
	h       *history // everything, to see what a view amounts to
	acts    []*act
	byID    map[string]*act
	views   map[string]set // by device
	invites int
	forks   bool
	still   bool // a partition: hardly anybody hears of anything
}

var worldDevices = []string{"A1", "A3", "B1", "B2", "C1", "C3", "D1", "D2", "E1", "F1"}

func newWorld(seed uint64, quorum int, forks bool) *world {
	return &world{
		rng: rand.New(rand.NewPCG(seed, 7)), h: newAbstract(quorum), byID: map[string]*act{},
		views: map[string]set{founder: {}}, forks: forks,
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

// heads returns the maximal events of a view.
func (w *world) heads(v set) []string {
	var out []string
	for id := range v {
		covered := false
		for other := range v {
			covered = covered || w.byID[other].past[id]
		}
		if !covered {
			out = append(out, id)
		}
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
	return view{w.h, w.h.closure(heads), w.h.verdict(heads).void}
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
	fork := w.forks && len(v) > 0 && w.chance(8)
	if fork {
		v = w.byID[w.heads(v)[0]].past
	} else if len(v) > 0 && w.chance(8) { // rest on an older view than the device has
		v = w.backdated(d, v)
	}
	if d != founder && len(v) == 0 {
		return
	}
	a := &act{device: d, past: set{}.union(v), parents: w.heads(v)}
	for id := range v {
		if e := w.byID[id]; e.device == d {
			a.aseq = max(a.aseq, e.aseq)
		}
	}
	a.aseq++
	if !w.forks && w.reused(a) || !w.fill(a, w.look(v)) {
		return
	}
	w.emit(a)
}

func (w *world) reused(a *act) bool {
	return slices.ContainsFunc(w.acts, func(b *act) bool { return b.device == a.device && b.aseq == a.aseq })
}

// backdated returns the past of the device's own last event with it, or v.
func (w *world) backdated(d string, v set) set {
	var last *act
	for id := range v {
		if e := w.byID[id]; e.device == d && (last == nil || e.aseq > last.aseq || e.aseq == last.aseq && e.id < last.id) {
			last = e
		}
	}
	if last == nil {
		return v
	}
	return set(last.past).union(set{last.id: true})
}

func (w *world) emit(a *act) {
	for a.id == "" || w.byID[a.id] != nil {
		a.id = fmt.Sprintf("%04x", w.rng.IntN(1<<16))
	}
	w.acts = append(w.acts, a)
	w.byID[a.id] = a
	w.h.add(w.h.entryOf(a))
	own := set(a.past).union(set{a.id: true})
	w.views[a.device] = w.views[a.device].union(own)
	if a.admits != "" {
		w.views[a.admits] = w.views[a.admits].union(own)
	}
}

// fill chooses what a device does in a view; it reports false if it does nothing.
func (w *world) fill(a *act, v view) bool {
	role := v.standing(deviceID(a.device))
	if w.chance(7) {
		role = Manager // tries what it may not
	}
	if role == None && w.chance(85) {
		return false
	}
	a.root = role >= Manager && w.chance(6)
	switch n := w.rng.IntN(100); {
	case len(w.acts) == 0:
		w.fillEpoch(a, v)
	case n < 10:
		w.fillEpoch(a, v)
	case n < 16:
		a.kind, a.chain = KindChainOpen, w.h.nextChain(deviceID(a.device), v.in)
		if w.chance(10) {
			a.chain++
		}
	case n < 18:
		a.kind = Kind(77)
	case n < 23 && w.invites > 0:
		a.kind, a.invite = KindInviteRevoke, fmt.Sprintf("i%d", 1+w.rng.IntN(w.invites))
	case role < Manager || n < 45:
		return w.fillHosted(a, v)
	default:
		return w.fillManager(a, v)
	}
	return true
}

func (w *world) fillEpoch(a *act, v view) {
	a.kind, a.roster = KindKeyEpoch, w.liveIn(v, "")
}

// liveIn returns the live devices of a view but one member's, seldom wrongly.
func (w *world) liveIn(v view, without string) []string {
	out := []string{}
	for _, d := range w.known() {
		if info := w.h.devices[deviceID(d)]; info != nil && memberOf(d) != without && v.live(info) {
			out = append(out, d)
		}
	}
	if w.chance(5) && len(out) > 1 {
		out = out[1:]
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
		n = w.h.quorum - 1
	}
	switch k := w.rng.IntN(100); {
	case k < 25:
		a.kind, a.admits = KindAdmit, a.member+"1"
		if present != None && w.chance(90) {
			return false
		}
		a.member = ""
		w.cosign(a, v, n, "")
	case k < 45:
		w.invites++
		a.kind, a.invite, a.uses, a.member = KindInviteCreate, fmt.Sprintf("i%d", w.invites), 1+w.rng.IntN(2), ""
		if w.chance(5) {
			a.invite = "i1"
		}
		a.role = roles[w.rng.IntN(2)]
		a.hosts = w.hosts(a.device)
	case k < 70:
		a.kind = KindRoleGrant
		if present == None && w.chance(90) || a.role <= present && w.chance(90) {
			return false
		}
		w.cosign(a, v, n, "")
	default:
		a.kind = KindRevoke
		if present == None && w.chance(90) {
			return false
		}
		if w.chance(60) {
			a.roster = w.liveIn(v, a.member)
		}
		if present == Manager && w.chance(95) {
			w.cosign(a, v, max(1, w.h.quorum-1), a.member)
		}
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
	w.emit(&act{device: founder, aseq: 1, kind: KindKeyEpoch, roster: []string{founder}, parents: []string{"G"}, past: set{}})
	for k, d := range devices {
		v := w.views[founder]
		a := &act{device: founder, aseq: uint64(len(v)) + 1, kind: KindAdmit, admits: d, role: Manager, parents: w.heads(v), past: v}
		if k > 2 {
			a.role = Editor
		} else if need := min(w.h.quorum, k+1); need > 1 {
			a.cosigners = slices.Clone(devices[:need-1])
		}
		w.emit(a)
	}
	w.invites++
	v := w.views[founder]
	w.emit(&act{device: founder, aseq: uint64(len(v)) + 1, kind: KindInviteCreate, invite: "i1", role: Editor, uses: 1,
		hosts: []string{devices[1], founder, devices[0]}, parents: w.heads(v), past: v})
	for _, d := range devices {
		w.views[d] = w.views[founder]
	}
}

// run makes a history of n events. Every other one begins with a team, which is then split by a partition for a
// while.
func (w *world) run(n int) []*act {
	w.still = w.chance(50)
	if w.chance(60) {
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

// Replay of random histories gives what the slow reference gives: the same void events, roles, live devices and
// usable epochs.
func TestReplayEqualsReference(t *testing.T) {
	cases := 600
	if testing.Short() {
		cases = 40
	}
	for seed := range uint64(cases) {
		w := newWorld(seed, 1+int(seed%3), seed%2 == 0)
		acts := w.run(6 + int(seed%17))
		compareWithReference(t, w, acts, fmt.Sprintf("seed %d", seed))
		if t.Failed() {
			return
		}
	}
}

func compareWithReference(t *testing.T, w *world, acts []*act, name string) {
	t.Helper()
	r := newReference(w.h.quorum, acts)
	all := r.all()
	out := r.void(all)
	var want []string
	for id := range out.void {
		want = append(want, id)
	}
	sort.Strings(want)
	heads := w.h.headsNow()
	got := w.h.verdict(heads)
	if names := voidNames(w.h, acts, got); !slices.Equal(names, want) {
		t.Fatalf("%s: void %v, the reference says %v\n%s", name, names, want, describe(acts))
	}
	s := w.h.state(heads)
	for _, d := range worldDevices {
		if got, want := s.Role(memberID(memberOf(d))), r.role(memberOf(d), all, out.void); got != want {
			t.Fatalf("%s: %s is %v, the reference says %v\n%s", name, memberOf(d), got, want, describe(acts))
		}
		x, ok := s.Device(deviceID(d))
		if got, want := ok && x.Live, r.live(d, all, out.void); got != want {
			t.Fatalf("%s: %s live %v, the reference says %v\n%s", name, d, got, want, describe(acts))
		}
	}
	var usable []string
	for _, a := range acts {
		if e := w.h.entries[w.h.byID[eventID(a.id)]]; e.epoch != nil && s.Usable(e.epoch.id) {
			usable = append(usable, a.id)
		}
	}
	sort.Strings(usable)
	if want := r.usable(all); !slices.Equal(usable, want) {
		t.Fatalf("%s: usable epochs of %v, the reference says %v\n%s", name, usable, want, describe(acts))
	}
}

// The random histories reach every way in which an event can fall, or the comparison would prove little.
func TestRandomHistoriesReachEveryRule(t *testing.T) {
	seen := map[Reason]int{}
	contested, losses, strips, cycles := 0, 0, 0, 0
	for seed := range uint64(150) {
		w := newWorld(seed+5000, 1+int(seed%3), seed%2 == 0)
		w.run(40)
		v := w.h.verdict(w.h.headsNow())
		for _, x := range v.log.items[:v.n] {
			seen[x.fault.reason]++
			if x.stage == stageStrip && x.fault.reason != ReasonStripped {
				strips++
			}
		}
		contested += v.contested.count()
		cycles += w.cycles(v)
		losses += len(w.h.losses(w.h.closure(w.h.headsNow()), v).oneOf)
	}
	for r := ReasonKind; r <= ReasonCancelled; r++ {
		if unreached := []Reason{ReasonQuota, ReasonCertificate, ReasonProof}; seen[r] == 0 && !slices.Contains(unreached, r) {
			t.Errorf("no event fell because %v", r)
		}
	}
	t.Log(seen, contested, losses, strips, cycles)
	if contested == 0 || losses == 0 || strips == 0 || cycles == 0 {
		t.Errorf("%d contested events, %d equivocations that end a standing, %d events that lost what they rested on, %d cycles",
			contested, losses, strips, cycles)
	}
}

// cycles counts the removals that count although a concurrent one that counts too would strip them.
func (w *world) cycles(v *verdict) int {
	n := 0
	for _, i := range w.h.removals {
		for _, j := range w.h.removals {
			e := w.h.entries[i]
			if !v.void.has(i) && !v.void.has(j) && e.kind == KindRevoke && w.h.concurrent(i, j) &&
				slices.Contains(w.h.signed[e.subject], j) {
				n++
			}
		}
	}
	return n
}

// Every delivery order of a history gives one digest, and the outcome that each event adds to its past equals a
// replay of the whole set from the beginning.
func TestOrderAndIncrementDoNotMatter(t *testing.T) {
	cases, orders := 60, 8
	if testing.Short() {
		cases, orders = 10, 4
	}
	for seed := range uint64(cases) {
		w := newWorld(seed+1000, 1+int(seed%3), seed%2 == 0)
		acts := w.run(30 + int(seed%40))
		want := w.h.state(w.h.headsNow())
		checkIncrement(t, w.h, acts, seed)
		checkInvariants(t, w.h, acts, seed)
		for k := range orders {
			h := newAbstract(w.h.quorum)
			deliver(h, acts, rand.New(rand.NewPCG(seed, uint64(k))))
			if got := h.state(h.headsNow()); got.Digest() != want.Digest() {
				t.Fatalf("seed %d, order %d: another digest: void %v, was %v\n%s", seed, k,
					voidNames(h, acts, h.verdict(h.headsNow())), voidNames(w.h, acts, w.h.verdict(w.h.headsNow())), describe(acts))
			}
		}
	}
}

// checkIncrement compares what was computed event by event with replays from the beginning, reasons included.
func checkIncrement(t *testing.T, h *history, acts []*act, seed uint64) {
	t.Helper()
	for _, e := range h.entries[1:] {
		full := h.replay(e.past.with(e.idx))
		if !sameVerdict(full, e.after) {
			t.Fatalf("seed %d: the outcome of %x and its past is %v step by step and %v as a whole\n%s", seed, e.id[:4],
				e.after.log.items[:e.after.n], full.log.items[:full.n], describe(acts))
		}
	}
}

func sameVerdict(a, b *verdict) bool {
	return a.void.contains(b.void) && b.void.contains(a.void) && a.contested.contains(b.contested) &&
		b.contested.contains(a.contested) && slices.Equal(a.log.items[:a.n], b.log.items[:b.n])
}

// checkInvariants verifies what must hold whatever the rules are.
func checkInvariants(t *testing.T, h *history, acts []*act, seed uint64) {
	t.Helper()
	heads := h.headsNow()
	v := view{h, h.closure(heads), h.verdict(heads).void}
	for _, m := range h.members {
		role := v.role(m)
		for _, i := range h.acts[m] {
			e := h.entries[i]
			if !v.counts(i) || e.kind != KindRevoke || role == None {
				continue
			}
			back := slices.ContainsFunc(h.acts[m], func(j int) bool {
				return v.counts(j) && h.entries[j].kind == KindAdmit && h.entries[j].past.has(i)
			})
			if !back {
				t.Fatalf("seed %d: somebody removed by %x has a role without a later admission\n%s", seed, e.id[:4], describe(acts))
			}
		}
	}
	for _, i := range h.removals {
		e := h.entries[i]
		before := view{h, e.past, h.verdict(heads).void}
		if v.counts(i) && e.kind == KindRevoke && !e.rootAct && len(e.signers) == 1 && before.role(e.subject) == Manager {
			t.Fatalf("seed %d: %x removes a manager alone\n%s", seed, e.id[:4], describe(acts))
		}
	}
}
