package governance

import (
	"bytes"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/devicekeys"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore/memory"
)

// person is a member with a device, made of fixed seeds. Device names are the member's letter and a digit.
type person struct {
	ik     *sign.PrivateKey
	cert   *identity.IdentityCert
	keys   *identity.DeviceKeys
	device *identity.DeviceCert
}

func (p *person) author() Author { return Author{Keys: p.keys, Device: p.device.ID} }

var people = struct {
	sync.Mutex
	m map[string]*person
}{m: map[string]*person{}}

// personOf returns the owner and keys of a device by its name; a bare letter is the member's first device.
func personOf(t testing.TB, name string) *person {
	t.Helper()
	if len(name) == 1 {
		name += "1"
	}
	people.Lock()
	defer people.Unlock()
	if p := people.m[name]; p != nil {
		return p
	}
	fill := func(n int) (s identity.Seed) {
		copy(s[:], fmt.Sprintf("test seed %d of %s", n, name[:n]))
		return s
	}
	p := &person{ik: identity.NewIdentityKey(fill(1)), keys: devicekeys.Of(fill(2))}
	var err error
	if p.cert, err = identity.NewIdentityCert(p.ik, name[:1], identity.RevocationCommit(revocationKeyOf(t, name[:1]).Public()),
		time.Unix(1_800_000_000, 0)); err != nil {
		t.Fatal(err)
	}
	if p.device, err = identity.NewDeviceCert(p.ik, p.cert.Member(), p.keys, uint8(maxRoleOf(name))); err != nil {
		t.Fatal(err)
	}
	if first := people.m[name[:1]+"1"]; first != nil { // one certificate for all devices, whatever its signature
		p.cert = first.cert
	}
	people.m[name] = p
	return p
}

// foundation is a project founded by A; its ceremony takes a while, so tests with one quorum share it.
type foundation struct {
	root    *genesis.Root
	shelves []genesis.Custodian
}

var foundations = struct {
	sync.Mutex
	m map[uint8]*foundation
}{m: map[uint8]*foundation{}}

func foundationOf(t testing.TB, quorum uint8) *foundation {
	t.Helper()
	a := personOf(t, "A")
	foundations.Lock()
	defer foundations.Unlock()
	if f := foundations.m[quorum]; f != nil {
		return f
	}
	f := &foundation{shelves: []genesis.Custodian{custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())}}
	policy := genesis.DefaultPolicy()
	policy.ManagerQuorum = quorum
	root, err := genesis.Found(t.Context(), rand.Reader, time.Unix(1_800_000_000, 0), genesis.Founding{
		Title: "Film", Policy: policy, Identity: a.cert, Device: a.device,
		Ceremony: genesis.Ceremony{Threshold: 2, Custodians: f.shelves},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.root = root
	foundations.m[quorum] = f
	return f
}

// step is one event of a scenario, before it has a place.
type step struct {
	by   string   // device of the author; a bare letter is the member's first
	with []string // cosigners
	root bool     // on the root's authority
	kind Kind
	body func(*team, *State) any
	edit func(*eventCore) // changes the core before it is signed
}

// and adds cosigners.
func (s step) and(with ...string) step { s.with = with; return s }

// byRoot makes it a root act.
func (s step) byRoot() step { s.root = true; return s }

func epochStep(by string) step {
	return step{by: by, kind: KindKeyEpoch, body: func(tm *team, s *State) any {
		return tm.epochObject(by, s, identity.MemberID{})
	}}
}

// epochObject is an epoch for the devices live in s but one member's.
func (tm *team) epochObject(by string, s *State, without identity.MemberID) *KeyEpoch {
	d := tm.person(by).device.ID
	return &KeyEpoch{Core: wire.Marshal(EpochCore{
		Head: wire.NewHead(), Project: tm.root.Project, Device: d,
		Aseq: tm.log.h.lastAseq(d, tm.log.h.closure(tm.indices(s.Heads()))) + 1, Roster: RosterHash(s.Roster(without)),
	})}
}

func (tm *team) indices(heads []EventID) []int {
	at, err := tm.log.indices(heads)
	if err != nil {
		tm.t.Fatal(err)
	}
	return at
}

func admitStep(by, who string, role Role) step {
	return step{by: by, kind: KindAdmit, body: func(tm *team, _ *State) any {
		p := tm.person(who)
		return &Admit{Role: role, Identity: p.cert.Raw, Device: p.device.Raw}
	}}
}

func grantStep(by, who string, role Role) step {
	return step{by: by, kind: KindRoleGrant, body: func(tm *team, _ *State) any {
		return &RoleGrant{Member: tm.person(who).cert.Member(), Role: role}
	}}
}

// revokeStep removes a member; with an epoch it hands the others a new key.
func revokeStep(by, who string, cuts ...Cut) step {
	return step{by: by, kind: KindRevoke, body: func(tm *team, s *State) any {
		m := tm.person(who).cert.Member()
		slices.SortFunc(cuts, compareCuts)
		return &Revoke{Member: m, Cuts: cuts, Reason: "test", Epoch: tm.epochObject(by, s, m)}
	}}
}

func dropStep(by, who string, role Role, cuts ...Cut) step {
	return step{by: by, kind: KindRoleDrop, body: func(tm *team, _ *State) any {
		return &RoleDrop{Member: tm.member(who), Role: role, Cuts: cuts}
	}}
}

func removeStep(by, device string, stolen uint8, cuts ...Cut) step {
	return step{by: by, kind: KindDeviceRemove, body: func(tm *team, s *State) any {
		d := tm.person(device).device.ID
		k := tm.epochObject(by, s, identity.MemberID{})
		c, _ := k.Decode()
		var left []RosterEntry
		for _, x := range s.Roster(identity.MemberID{}) {
			if x.Device != d {
				left = append(left, x)
			}
		}
		c.Roster = RosterHash(left)
		k.Core = wire.Marshal(c)
		return &DeviceRemove{Device: d, Cuts: cuts, Stolen: stolen, Epoch: k}
	}}
}

func leaveStep(by string, cuts ...Cut) step {
	return step{by: by, kind: KindLeave, body: func(*team, *State) any { return &Leave{Cuts: cuts} }}
}

// checkStep settles what it rests on, at a time, after the settled checkpoint there if no other is named.
func checkStep(by string, number, at uint64, prev ...string) step {
	return step{by: by, kind: KindCheckpoint, body: func(tm *team, s *State) any {
		b := &Checkpoint{Number: number, State: s.Digest(), Time: at}
		if len(prev) == 0 && number > 1 {
			b.Prev = []EventID{s.Settled().Event}
		}
		for _, p := range prev {
			b.Prev = append(b.Prev, tm.ids[p])
		}
		wire.SortIDs(b.Prev)
		return b
	}}
}

// settling adds to a checkpoint how far it settles chains.
func (s step) settling(cuts ...Cut) step {
	inner := s.body
	s.body = func(tm *team, st *State) any {
		b := inner(tm, st).(*Checkpoint)
		b.Content = cuts
		return b
	}
	return s
}

func extendStep(by string, cuts ...Cut) step {
	return step{by: by, kind: KindFrontierExtend, body: func(*team, *State) any { return &FrontierExtend{Cuts: cuts} }}
}

func endorseStep(by string, names ...string) step {
	return step{by: by, kind: KindEndorse, body: func(tm *team, _ *State) any { return &Endorse{Events: wire.SortIDs(tm.heads(names...))} }}
}

// proofStep shows two events of one number.
func proofStep(by, a, b string) step {
	return step{by: by, kind: KindEquivocationProof, body: func(tm *team, _ *State) any {
		x, y := tm.log.Get(tm.ids[a]), tm.log.Get(tm.ids[b])
		if bytes.Compare(x.core, y.core) > 0 {
			x, y = y, x
		}
		return &EquivocationProof{A: x.ProofHalf(), B: y.ProofHalf()}
	}}
}

func proposeStep(by, who string, expires uint64, heads ...Cut) step {
	return step{by: by, kind: KindQuarantinePropose, body: func(tm *team, _ *State) any {
		return &QuarantinePropose{Member: tm.member(who), Reason: "test", Expires: expires, Heads: heads}
	}}
}

func voteStep(by, proposal string, heads ...Cut) step {
	return step{by: by, kind: KindQuarantineVote, body: func(tm *team, _ *State) any {
		return &QuarantineVote{Proposal: tm.ids[proposal], Heads: heads}
	}}
}

func withdrawStep(by, proposal string) step {
	return step{by: by, kind: KindQuarantineVote, body: func(tm *team, _ *State) any {
		return &QuarantineVote{Proposal: tm.ids[proposal], Withdraw: 1}
	}}
}

func liftStep(by, who string) step {
	return step{by: by, kind: KindLiftQuarantine, body: func(tm *team, _ *State) any {
		m := tm.member(who)
		return &LiftQuarantine{Member: &m}
	}}
}

func liftDeviceStep(by, device string) step {
	return step{by: by, kind: KindLiftQuarantine, body: func(tm *team, _ *State) any {
		d := tm.person(device).device.ID
		return &LiftQuarantine{Device: &d}
	}}
}

// updateStep gives the author's device the KEM key of another, which is as good as any.
func updateStep(by, like string) step {
	return step{by: by, kind: KindKeyUpdate, body: func(tm *team, _ *State) any {
		return &KeyUpdate{KEM: tm.person(like).device.KEM.Bytes()}
	}}
}

// selfRevocations are expensive to sign, so equal ones are signed once.
var selfRevocations sync.Map

// carryStep brings the end of an identity, by which what each device authored after a number falls.
func carryStep(by, who string, since map[string]uint64, cuts ...Cut) step {
	return step{by: by, kind: KindCarry, body: func(tm *team, _ *State) any {
		var list []LastGood
		for d, n := range since {
			list = append(list, LastGood{Device: tm.person(d).device.ID, Aseq: n})
		}
		slices.SortFunc(list, func(a, b LastGood) int { return bytes.Compare(a.Device[:], b.Device[:]) })
		key := fmt.Sprint(who, since)
		raw, ok := selfRevocations.Load(key)
		if !ok {
			r, err := NewSelfRevoke(revocationKeyOf(tm.t, who), tm.member(who), list, nil)
			if err != nil {
				tm.t.Fatal(err)
			}
			raw = r.Raw
			selfRevocations.Store(key, raw)
		}
		return &Carry{SelfRevoke: raw.([]byte), Cuts: cuts}
	}}
}

var revocationKeys sync.Map

func revocationKeyOf(t testing.TB, who string) *sign.RevocationKey {
	t.Helper()
	if k, ok := revocationKeys.Load(who); ok {
		return k.(*sign.RevocationKey)
	}
	var seed identity.Seed
	copy(seed[:], "revocation seed of "+who)
	k, err := identity.NewRevocationKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	revocationKeys.Store(who, k)
	return k
}

func chainStep(by string, no uint32) step {
	return step{by: by, kind: KindChainOpen, body: func(*team, *State) any { return &ChainOpen{ChainNo: no} }}
}

// proofKeyOf is the proof key of an invite, as its secret would yield it.
func proofKeyOf(invite string) *sign.PrivateKey {
	var a, b [sign.SeedSize]byte
	copy(a[:], "proof mldsa "+invite)
	copy(b[:], "proof ed25519 "+invite)
	return sign.NewPrivateKey(a, b)
}

func inviteStep(by, invite string, role Role, uses uint16, hosts ...string) step {
	return step{by: by, kind: KindInviteCreate, body: func(tm *team, _ *State) any {
		b := &InviteCreate{
			Invite: inviteID(invite), ProofHash: ProofHash(proofKeyOf(invite).Public().Bytes()), Role: role, MaxUses: uses,
		}
		for _, h := range hosts {
			d := tm.person(h).device
			b.Hosts = append(b.Hosts, InviteHost{Device: d.ID, KemID: identity.KemID(d.KEM)})
		}
		return b
	}}
}

func cancelStep(by, invite string) step {
	return step{by: by, kind: KindInviteRevoke, body: func(*team, *State) any { return &InviteRevoke{inviteID(invite)} }}
}

// useStep admits who on an invite, with the proof that who and host made together.
func useStep(host, who, invite string, role Role) step {
	return step{by: host, kind: KindAdmit, body: func(tm *team, _ *State) any {
		return tm.admission(host, who, invite, role)
	}}
}

func (tm *team) admission(host, who, invite string, role Role) *Admit {
	p, id, th := tm.person(who), inviteID(invite), wire.ID{9}
	key := proofKeyOf(invite)
	msg := InviteProof(tm.root.Project, id, p.cert.ID, p.device.ID, tm.person(host).device.ID, th)
	return &Admit{
		Invite: &id, Role: role, Identity: p.cert.Raw, Device: p.device.Raw, ProofPub: key.Public().Bytes(),
		Proof: key.Sign(sign.InviteProof, msg), Th: &th,
	}
}

// team is a project whose events a scenario makes. Its own log holds all of them.
type team struct {
	t     testing.TB
	f     *foundation
	root  *genesis.Root
	log   *Log
	ids   map[string]EventID // by the names of the scenario
	names map[EventID]string
	raws  [][]byte
}

func newTeam(t testing.TB, quorum uint8) *team {
	t.Helper()
	f := foundationOf(t, quorum)
	tm := &team{t: t, f: f, root: f.root, log: NewLog(f.root), ids: map[string]EventID{}, names: map[EventID]string{}}
	tm.name("G", EventID(f.root.Project))
	return tm
}

func (tm *team) name(name string, id EventID) { tm.ids[name], tm.names[id] = id, name }

func (tm *team) person(name string) *person { return personOf(tm.t, name) }

// make builds the signed event of a step on the given parents, whether it is allowed or not.
func (tm *team) make(s step, parents ...string) []byte {
	tm.t.Helper()
	var heads []EventID
	for _, p := range parents {
		id, ok := tm.ids[p]
		if !ok {
			tm.t.Fatalf("the scenario names %q before it is there", p)
		}
		heads = append(heads, id)
	}
	state, err := tm.log.StateAt(heads)
	if err != nil {
		tm.t.Fatal(err)
	}
	p := proposal{}
	for _, c := range s.with {
		p.cosigners = append(p.cosigners, tm.person(c).author())
	}
	slices.SortFunc(p.cosigners, func(x, y Author) int { return bytes.Compare(x.Device[:], y.Device[:]) })
	author := tm.person(s.by).author()
	content := s.body(tm, state)
	if !s.root {
		return tm.sign(author, tm.core(author, s, content, heads, &p), &p)
	}
	var raw []byte
	err = genesis.Authorize(tm.t.Context(), tm.root, tm.f.shelves, func(a *genesis.Authority) error {
		p.holders = append(p.holders, a)
		raw = tm.sign(author, tm.core(author, s, content, heads, &p), &p)
		return nil
	})
	if err != nil {
		tm.t.Fatal(err)
	}
	return raw
}

func (tm *team) core(author Author, s step, content any, heads []EventID, p *proposal) []byte {
	l := *tm.log
	l.heads = tm.indices(heads)
	c := l.draft(author, s.kind, content, p)
	if s.edit != nil {
		s.edit(&c)
	}
	return wire.Marshal(c)
}

func (tm *team) sign(author Author, core []byte, p *proposal) []byte {
	raw, err := p.sign(author, core)
	if err != nil {
		tm.t.Fatal(err)
	}
	return raw
}

// add makes an event and adds it to the team's log, which must take it.
func (tm *team) add(name string, s step, parents ...string) EventID {
	tm.t.Helper()
	raw := tm.make(s, parents...)
	res, err := tm.log.Add(raw)
	if err != nil || len(res.Added) != 1 {
		tm.t.Fatalf("event %s: %v, %+v", name, err, res)
	}
	tm.name(name, res.Added[0])
	tm.raws = append(tm.raws, raw)
	return res.Added[0]
}

// draw adds the events of a graph. A line "a -> b -> c" says that b rests on a and c on b; "a, b -> c" that c rests
// on both. An event may stand in several lines, which add up. G is the project's root record.
func (tm *team) draw(graph string, steps map[string]step) {
	tm.t.Helper()
	parents := map[string][]string{}
	var order []string
	for line := range strings.Lines(graph) {
		var before []string
		for k, part := range strings.Split(line, "->") {
			var here []string
			for name := range strings.SplitSeq(part, ",") {
				if name = strings.TrimSpace(name); name != "" {
					here = append(here, name)
				}
			}
			for _, name := range here {
				if _, there := parents[name]; !there && tm.ids[name].IsZero() {
					order = append(order, name)
					parents[name] = nil
				}
				if k > 0 {
					parents[name] = append(parents[name], before...)
				}
			}
			before = here
		}
	}
	for len(order) > 0 {
		k := slices.IndexFunc(order, func(name string) bool {
			return !slices.ContainsFunc(parents[name], func(p string) bool { return tm.ids[p].IsZero() })
		})
		if k < 0 {
			tm.t.Fatalf("the graph has a cycle or an unknown event: %v", order)
		}
		s, ok := steps[order[k]]
		if !ok {
			tm.t.Fatalf("the scenario does not say what %q is", order[k])
		}
		tm.add(order[k], s, parents[order[k]]...)
		order = slices.Delete(order, k, k+1)
	}
}

// managers draws the start of most scenarios: the founder's epoch, then the admission of further managers, each
// signed by as many as the quorum needs. The last event's name is "start".
func (tm *team) managers(names ...string) {
	tm.t.Helper()
	tm.add("key", epochStep("A"), "G")
	last := "key"
	for k, n := range names {
		var with []string
		if need := min(int(tm.root.Policy.ManagerQuorum), k+1); need > 1 {
			with = names[:need-1]
		}
		tm.add("admit "+n, admitStep("A", n, Manager).and(with...), last)
		last = "admit " + n
	}
	tm.name("start", tm.ids[last])
}

// expect verifies which events are void, and why, and who has which role; all others count. It delivers the events
// to further logs in random orders, which must come to the same state.
func (tm *team) expect(voids map[string]Reason, roles map[string]Role) {
	tm.t.Helper()
	for name, id := range tm.ids {
		x, err := tm.log.Explain(id)
		if err != nil {
			tm.t.Fatal(err)
		}
		if want := voids[name]; x.Reason != want || x.Counts != (want == ReasonNone) {
			tm.t.Errorf("%s: %v (%d), want %v (%d)", name, x.Reason, x.Reason, want, want)
		}
	}
	s := tm.log.State()
	for who, want := range roles {
		if got := s.Role(tm.person(who).cert.Member()); got != want {
			tm.t.Errorf("%s is %v, want %v", who, got, want)
		}
	}
	for k := range 5 {
		l := NewLog(tm.root)
		tm.deliver(l, mathrand.New(mathrand.NewPCG(uint64(k), 1)))
		if got := l.State(); got.Digest() != s.Digest() {
			tm.t.Fatalf("order %d comes to another state", k)
		}
	}
}

// deliver adds the team's events to another log in an order that rng picks; parents may come after their children.
func (tm *team) deliver(l *Log, rng *mathrand.Rand) {
	tm.t.Helper()
	for _, k := range rng.Perm(len(tm.raws)) {
		if _, err := l.Add(tm.raws[k]); err != nil {
			tm.t.Fatal(err)
		}
	}
	if l.Len() != len(tm.raws) || len(l.Missing()) > 0 {
		tm.t.Fatalf("%d of %d events arrived, %d are missing", l.Len(), len(tm.raws), len(l.Missing()))
	}
}

// heads returns the ids of named events.
func (tm *team) heads(names ...string) []EventID {
	var out []EventID
	for _, n := range names {
		out = append(out, tm.ids[n])
	}
	return out
}

func (tm *team) member(name string) identity.MemberID { return tm.person(name).cert.Member() }
