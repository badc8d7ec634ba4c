package governance

import (
	"bytes"
	"slices"
	"sync"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// State is what a set of events amounts to. It is immutable; what its methods return must not be changed.
type State struct {
	project   genesis.ProjectID
	root      genesis.RootID
	heads     []EventID
	members   []Member
	devices   map[identity.DeviceID]*Device
	live      []*Device
	peers     map[[32]byte]*Device
	chains    map[chainKey]*Chain
	chainList []*Chain
	invites   map[InviteID]*Invite
	epochs    map[EpochID]*Epoch
	epochList []*Epoch
	sending   *Epoch
	owing     []EventID // losses that a new epoch must cover
	voids     []voidRow
	settled   Settled
	content   map[chainKey]Cut // by settled checkpoints
	held      []Quarantine
	minted    []minted       // ascending by entry
	reuse     *reuse         // only while it is built
	digest    func() wire.ID // computed when first asked for
}

// Member is somebody who is, or was, a member.
type Member struct {
	ID         identity.MemberID
	Role       Role // None if he is no member any more
	Cert       *identity.IdentityCert
	Present    bool
	AdmittedBy EventID // his latest admission; the project's first root record for the founder
}

// Device is a device of a member, live or not.
type Device struct {
	ID        identity.DeviceID
	Member    identity.MemberID
	Cert      *identity.DeviceCert
	KemID     wire.ID        // names KEM
	KEM       *kem.PublicKey // the key to which secrets are sealed for it
	Live      bool
	Suspended bool // it signed two events of one number and has lost its governance authority
	role      Role
}

// Invite is an invite that counts.
type Invite struct {
	ID        InviteID
	Create    EventID
	Creator   identity.DeviceID
	Role      Role
	MaxUses   int
	Uses      int
	Expires   uint64 // Unix seconds; 0: never
	Hosts     []InviteHost
	ProofHash wire.ID
	Approval  bool
	MacBoxes  [][]byte
	ForMember *identity.MemberID
	Cancelled bool
	Closed    bool // it admits nobody any more: used up or cancelled
}

// Settled is the last settled checkpoint of a state. What counts in its past counts for good.
type Settled struct {
	Event  EventID // zero before the first
	Number uint64
	Time   uint64 // Unix seconds; the project's time
}

// Quarantine is a quarantine in force.
type Quarantine struct {
	Proposal EventID
	Member   identity.MemberID
	Voters   []identity.MemberID // ascending
	Needed   int
	Expires  uint64 // Unix seconds
	Holds    []Cut  // the furthest that a voter would let each chain count, ascending
}

// state builds the state of the closure of heads.
func (h *history) state(heads []int) *State {
	heads = h.maximal(heads)
	return h.stateBy(heads, h.verdict(heads), h.rootID(heads))
}

// stateBy builds the state of an outcome of the closure of heads, with a root record in force.
func (h *history) stateBy(heads []int, out *verdict, root genesis.RootID) *State {
	v := view{h, h.closure(heads), out.void, out.base}
	return h.build(heads, out, root, h.reuse(v))
}

// build builds a state with what it takes over.
func (h *history) build(heads []int, out *verdict, root genesis.RootID, over *reuse) *State {
	v := view{h, h.closure(heads), out.void, out.base}
	s := &State{project: h.project, root: root, reuse: over}
	for _, i := range heads {
		s.heads = append(s.heads, h.entries[i].id)
	}
	wire.SortIDs(s.heads)
	if b := v.base; b != none {
		s.settled = Settled{Event: h.entries[b].id, Number: h.numberAt(b), Time: h.timeAt(b)}
	}
	s.buildMembers(v)
	s.buildQuarantines(v)
	s.buildChains(v)
	s.buildContent(v)
	s.buildInvites(v, out)
	s.buildEpochs(v, out)
	s.buildVoids(v, out)
	s.reuse = nil
	s.digest = sync.OnceValue(s.sum)
	return s
}

func (s *State) buildMembers(v view) {
	s.devices = map[identity.DeviceID]*Device{}
	s.peers = map[[32]byte]*Device{}
	for _, m := range v.h.members {
		if s.reuse.member(m) {
			s.takeOver(v, m)
			continue
		}
		acts := v.acts(m)
		admits := slices.DeleteFunc(slices.Clone(acts), func(i int) bool { return !v.h.admitsMember(v.h.entries[i], m) })
		if len(admits) == 0 {
			continue
		}
		role := v.role(m)
		s.members = append(s.members, Member{
			ID: m, Role: role, Present: role != None, Cert: v.h.devices[v.h.owned[m][0]].identity,
			AdmittedBy: v.h.entries[v.h.lowest(v.last(admits))].id,
		})
		for _, id := range v.h.owned[m] {
			if slices.ContainsFunc(admits, func(i int) bool { return v.h.admitsDevice(v.h.entries[i], id) }) {
				s.addDevice(v, v.h.devices[id], role)
			}
		}
	}
	slices.SortFunc(s.members, func(a, b Member) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	slices.SortFunc(s.live, func(a, b *Device) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for _, d := range slices.Backward(s.live) { // the lowest id keeps the key
		if d.Cert != nil {
			s.peers[d.Cert.Peer] = d
		}
	}
}

// takeOver adds a member and his devices as they were settled, with the keys that they have now.
func (s *State) takeOver(v view, m identity.MemberID) {
	row, ok := s.reuse.from.Member(m)
	if !ok {
		return
	}
	s.members = append(s.members, row)
	for _, id := range v.h.owned[m] {
		if x := s.reuse.from.devices[id]; x != nil {
			if s.reuse.keys[id] {
				changed := *x
				changed.KemID, changed.KEM = v.kem(v.h.devices[id])
				x = &changed
			}
			s.devices[id] = x
			if x.Live {
				s.live = append(s.live, x)
			}
		}
	}
}

func (s *State) addDevice(v view, d *deviceInfo, role Role) {
	kemID, key := v.kem(d)
	x := &Device{
		ID: d.id, Member: d.member, Cert: d.cert, KemID: kemID, KEM: key, Suspended: v.suspended(d.id),
		Live: v.live(d),
	}
	if x.Live {
		x.role = min(role, d.maxRole)
		s.live = append(s.live, x)
	}
	s.devices[d.id] = x
}

// admitsMember reports whether an act makes somebody a member.
func (h *history) admitsMember(e *entry, m identity.MemberID) bool {
	return e.kind == KindAdmit || e.kind == KindEndorse && slices.ContainsFunc(e.named, func(i int) bool {
		return h.entries[i].kind == KindAdmit && h.entries[i].subject == m
	})
}

func (s *State) buildQuarantines(v view) {
	for _, m := range v.h.members {
		for _, q := range v.h.proposals[m] {
			if v.h.expired(q, v.base) {
				continue
			}
			voters, enough := v.tally(q)
			if !enough || v.over(q, v.in, v.base) || v.role(m) == None {
				continue
			}
			e := v.h.entries[q]
			s.held = append(s.held, Quarantine{
				Proposal: e.id, Member: m, Voters: voters, Needed: e.ballot.threshold,
				Expires: e.body.(*QuarantinePropose).Expires, Holds: v.holdPoints(q, voters),
			})
		}
	}
	slices.SortFunc(s.held, func(a, b Quarantine) int { return bytes.Compare(a.Proposal[:], b.Proposal[:]) })
}

// holdPoints returns, of each chain that a counted voter names, the furthest point named.
func (v view) holdPoints(q int, voters []identity.MemberID) []Cut {
	best := map[chainKey]Cut{}
	for _, i := range append([]int{q}, v.h.votes[q]...) {
		e := v.h.entries[i]
		if !v.counts(i) || !slices.Contains(voters, e.author) {
			continue
		}
		var heads []Cut
		switch b := e.body.(type) {
		case *QuarantinePropose:
			heads = b.Heads
		case *QuarantineVote:
			heads = b.Heads
		}
		for _, c := range heads {
			if key := (chainKey{c.Device, c.ChainNo}); c.above(best[key]) || best[key].Seq == 0 {
				best[key] = c
			}
		}
	}
	out := make([]Cut, 0, len(best))
	for _, c := range best {
		out = append(out, c)
	}
	slices.SortFunc(out, compareCuts)
	return out
}

func (s *State) buildInvites(v view, out *verdict) {
	s.invites = map[InviteID]*Invite{}
	for id := range v.h.invites {
		if s.reuse.invite(id) {
			if x := s.reuse.from.invites[id]; x != nil {
				s.invites[id] = x
			}
			continue
		}
		c := v.inviteOf(id)
		if c == none {
			continue
		}
		e := v.h.entries[c]
		b := e.body.(*InviteCreate)
		x := &Invite{
			ID: id, Create: e.id, Creator: e.device, Role: b.Role, MaxUses: int(b.MaxUses),
			Uses: len(v.h.taken(c, v.in, out)), Expires: b.Expires, Hosts: b.Hosts, ProofHash: b.ProofHash,
			Approval: b.Approval == 1, MacBoxes: b.MacBoxes, ForMember: b.ForMember, Cancelled: v.cancelled(id) != none,
		}
		x.Closed = x.Cancelled || x.Uses >= x.MaxUses
		s.invites[id] = x
	}
}

// Project returns the project that the state is of.
func (s *State) Project() genesis.ProjectID { return s.project }

// Root returns the root record in force.
func (s *State) Root() genesis.RootID { return s.root }

// Heads returns the events whose closure the state is of, ascending.
func (s *State) Heads() []EventID { return s.heads }

// Members returns everybody who is or was a member, ascending by id.
func (s *State) Members() []Member { return s.members }

// Member returns somebody who is or was a member.
func (s *State) Member(id identity.MemberID) (Member, bool) {
	k, ok := slices.BinarySearchFunc(s.members, id, func(m Member, id identity.MemberID) int {
		return bytes.Compare(m.ID[:], id[:])
	})
	if !ok {
		return Member{}, false
	}
	return s.members[k], true
}

// Role returns a member's role, [None] if he is no member.
func (s *State) Role(id identity.MemberID) Role {
	m, _ := s.Member(id)
	return m.Role
}

// Device returns a device that was ever admitted, live or not.
func (s *State) Device(id identity.DeviceID) (*Device, bool) { d, ok := s.devices[id]; return d, ok }

// DeviceByPeer returns the live device with this transport key. If a member gave two devices one key, it is the one
// with the lowest id.
func (s *State) DeviceByPeer(peer [32]byte) (*Device, bool) { d, ok := s.peers[peer]; return d, ok }

// Devices returns the live devices, ascending by id.
func (s *State) Devices() []*Device { return s.live }

// Roster returns the live devices but those of one member (zero: all) in the form that an epoch's roster hashes.
func (s *State) Roster(without identity.MemberID) []RosterEntry {
	var out []RosterEntry
	for _, d := range s.live {
		if d.Member != without {
			out = append(out, RosterEntry{Device: d.ID, KemID: d.KemID})
		}
	}
	return out
}

// Settled returns the last settled checkpoint.
func (s *State) Settled() Settled { return s.settled }

// Quarantines returns the quarantines in force, ascending by proposal.
func (s *State) Quarantines() []Quarantine { return s.held }

// Quarantined returns a quarantine in force over a member.
func (s *State) Quarantined(m identity.MemberID) (Quarantine, bool) {
	k := slices.IndexFunc(s.held, func(q Quarantine) bool { return q.Member == m })
	if k < 0 {
		return Quarantine{}, false
	}
	return s.held[k], true
}

// Invite returns an invite that counts.
func (s *State) Invite(id InviteID) (*Invite, bool) { x, ok := s.invites[id]; return x, ok }

// Invites returns the invites that count, ascending by id.
func (s *State) Invites() []*Invite {
	out := make([]*Invite, 0, len(s.invites))
	for _, x := range s.invites {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b *Invite) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return out
}

// May reports whether a device may act so: it is live, its role suffices, and for acts of governance it is not
// suspended.
func (s *State) May(device identity.DeviceID, act Act) bool {
	d := s.devices[device]
	return d != nil && d.Live && d.role >= act.needs() && !(act.governs() && d.Suspended)
}

// Digest returns the state digest: equal on all who hold the same events.
func (s *State) Digest() wire.ID { return s.digest() }
