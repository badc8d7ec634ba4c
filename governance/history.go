package governance

import (
	"slices"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// signer is a device that signs an event, and whose it is.
type signer struct {
	device identity.DeviceID
	member identity.MemberID
}

// admission is what replay needs of an Admit's certificates.
type admission struct {
	device identity.DeviceID
	info   *deviceInfo // nil if the certificates do not verify
	fault  Reason      // certificates or proof that do not verify
	proof  wire.ID     // hash of the proof key
}

// entry is an event in the log with what replay derives of it once and for all. Index 0 is the project's first
// root record: it admits the founder as manager.
type entry struct {
	idx       int
	id        EventID
	event     *Event // nil for the root record
	kind      Kind
	body      body
	device    identity.DeviceID
	author    identity.MemberID // member of the device
	aseq      uint64
	depth     uint64
	signers   []signer // author, then cosigners; none for a root act
	holders   int      // root holders who signed; 0: no root act
	rootAct   bool
	root      genesis.RootID // record that it rests on,
	rootN     uint32         // its version, 0 in histories without records,
	threshold int            // and how many holders must sign by it
	parents   []int
	past      bitset // all ancestors
	subject   identity.MemberID
	about     bool              // it has a subject
	target    identity.DeviceID // device that a DeviceRemove or LiftQuarantine is about
	named     []int             // acts that an Endorse brings back; the proposal that a vote is on
	invite    InviteID
	onInvite  bool // it creates or uses an invite
	admission *admission
	revoked   *SelfRevoke // what a Carry brings, if it verifies
	proof     *place      // what an EquivocationProof shows twice, if it verifies
	proofPrev wire.ID     // envelope before it
	ends      *uint64     // end of the author's certificate

	// What the entry's own past says, fixed when it is added.
	before    *verdict // outcome of its past
	base      int      // last settled checkpoint of its past, or none
	own       fault    // why it is void in its own past
	after     *verdict // outcome of its past and itself
	needs     []Role   // what each signer needs
	grant     int      // managers who must sign to name a manager
	removal   int      // managers who must sign to remove one, or its device
	relief    int      // managers who must sign to lift a manager's device
	creates   int      // index of the InviteCreate that an Admit uses, or none
	chainOK   bool     // a ChainOpen's number follows the device's last
	byManager bool     // its author acts as a manager
	late      bool     // a checkpoint that came after this replica had pinned another
	ballot    *ballot  // of a QuarantinePropose
	epoch     *epochInfo

	solid     int                        // of a checkpoint: all entries below this index lie in its past
	state     *State                     // of a checkpoint: of its past, while it is kept
	roles     map[identity.MemberID]Role // at a settled checkpoint, as far as was asked
	standings map[identity.DeviceID]Role
}

// epochInfo is a key epoch that an event carries.
type epochInfo struct {
	id     EpochID
	core   *EpochCore
	object *KeyEpoch
	valid  bool
}

// reductive reports whether e takes standing away.
func (e *entry) reductive() bool { return rules[e.kind].class == reductive }

// onOwn reports whether e is about a device of its author.
func (e *entry) onOwn() bool { return !e.rootAct && e.author == e.subject }

// subjects returns whom e is about.
func (h *history) subjects(e *entry) []identity.MemberID {
	if e.kind != KindEndorse {
		if e.about {
			return []identity.MemberID{e.subject}
		}
		return nil
	}
	var out []identity.MemberID
	for _, i := range e.named {
		if a := h.entries[i]; a.about && !slices.Contains(out, a.subject) {
			out = append(out, a.subject)
		}
	}
	return out
}

// deviceInfo is a device that some event introduced. It depends on the device's id alone.
type deviceInfo struct {
	id       identity.DeviceID
	member   identity.MemberID
	kem      wire.ID
	maxRole  Role
	cert     *identity.DeviceCert
	identity *identity.IdentityCert
}

// policy is what replay takes from the root record.
type policy struct {
	quorum           int // managers who must sign
	threshold        int // holders who must sign
	voteNum, voteDen int // share of the voters that more than must vote
	minAge           int // settled checkpoints after which a newcomer votes
}

func policyOf(p genesis.Policy) policy {
	return policy{
		quorum: int(p.ManagerQuorum), threshold: int(p.Threshold), voteNum: int(p.QuarantineNum),
		voteDen: int(p.QuarantineDen), minAge: int(p.MinAge),
	}
}

// history is the growing set of events with the indices that replay looks things up in. Indices hold entries in
// ascending order, which respects causality.
type history struct {
	project   genesis.ProjectID
	policy    policy
	roots     rootChain
	entries   []*entry
	byID      map[EventID]int
	devices   map[identity.DeviceID]*deviceInfo
	peers     map[[32]byte][]identity.DeviceID
	owned     map[identity.MemberID][]identity.DeviceID // devices of a member
	members   []identity.MemberID                       // in order of introduction
	acts      map[identity.MemberID][]int               // acts on roles and devices by subject
	signed    map[identity.MemberID][]int               // by signer, without root acts
	authored  map[identity.DeviceID][]int
	numbered  map[identity.DeviceID]map[uint64][]int // by author and number
	evidence  map[identity.DeviceID][]evidence       // of numbers used twice, ascending by number
	forks     map[chainKey][]fork                    // proofs that a chain was forked
	lifts     map[identity.DeviceID][]int            // LiftQuarantines of devices
	intro     map[identity.DeviceID][]int            // Admits that introduce the device
	invites   map[InviteID][]int                     // InviteCreates
	cancels   map[InviteID][]int                     // InviteRevokes
	admits    map[int][]int                          // Admits by the InviteCreate they use
	minted    map[EpochID]int                        // epochs by id
	epochs    []int
	removals  []int
	opens     map[identity.DeviceID][]int // ChainOpens
	extends   []int                       // FrontierExtends
	updates   map[identity.DeviceID][]int // KeyUpdates
	proposals map[identity.MemberID][]int // QuarantineProposes by target
	votes     map[int][]int               // QuarantineVotes by proposal
	reliefs   map[identity.MemberID][]int // LiftQuarantines of members
	endorsed  map[int][]int               // Endorses by the act they name

	checkpoints []int              // those allowed where they stand
	contents    map[chainKey][]int // checkpoints that settle more of a chain
	clients     map[chainKey]uint32
	stated      []*entry // checkpoints that keep the state of their past
	baseLine    []int    // the line of settled checkpoints that was asked for last; see view.bases
	pin         int      // settled checkpoint that no later rival is weighed against, or none
	memo        map[string]*verdict
}

// newHistory returns the history of a project that holds its founder's admission only.
func newHistory(project genesis.ProjectID, p policy, founder *deviceInfo) *history {
	h := &history{
		project: project, policy: p, pin: none,
		byID:     map[EventID]int{},
		devices:  map[identity.DeviceID]*deviceInfo{},
		peers:    map[[32]byte][]identity.DeviceID{},
		owned:    map[identity.MemberID][]identity.DeviceID{},
		acts:     map[identity.MemberID][]int{},
		signed:   map[identity.MemberID][]int{},
		authored: map[identity.DeviceID][]int{},
		numbered: map[identity.DeviceID]map[uint64][]int{},
		evidence: map[identity.DeviceID][]evidence{},
		forks:    map[chainKey][]fork{},
		lifts:    map[identity.DeviceID][]int{},
		opens:    map[identity.DeviceID][]int{},
		updates:  map[identity.DeviceID][]int{},
		votes:    map[int][]int{},
		endorsed: map[int][]int{},
		intro:    map[identity.DeviceID][]int{},
		invites:  map[InviteID][]int{},
		cancels:  map[InviteID][]int{},
		admits:   map[int][]int{},
		minted:   map[EpochID]int{},
		memo:     map[string]*verdict{},

		contents:  map[chainKey][]int{},
		clients:   map[chainKey]uint32{},
		proposals: map[identity.MemberID][]int{},
		reliefs:   map[identity.MemberID][]int{},
	}
	start := &verdict{log: new(voidLog), base: none}
	root := &entry{
		id: EventID(project), kind: KindAdmit, body: &Admit{Role: Manager}, rootAct: true, subject: founder.member,
		about: true, admission: &admission{device: founder.id}, before: start, after: start, own: fine, creates: none,
		base: none, byManager: true,
	}
	h.entries = []*entry{root}
	h.byID[root.id] = 0
	h.introduce(founder, 0)
	h.acts[founder.member] = []int{0}
	return h
}

// introduce records a device that the entry with this index admits.
func (h *history) introduce(d *deviceInfo, idx int) {
	h.intro[d.id] = append(h.intro[d.id], idx)
	if h.devices[d.id] != nil {
		return
	}
	h.devices[d.id] = d
	if len(h.owned[d.member]) == 0 {
		h.members = append(h.members, d.member)
	}
	h.owned[d.member] = append(h.owned[d.member], d.id)
	if d.cert != nil {
		h.peers[d.cert.Peer] = append(h.peers[d.cert.Peer], d.id)
	}
}

// place fills in what e's parents determine: its index and its past.
func (h *history) place(e *entry) {
	e.idx = len(h.entries)
	e.past = nil
	for _, p := range e.parents {
		e.past.addAll(h.entries[p].past)
		e.past.add(p)
	}
}

// add appends e, whose parents are already there, and judges it in its own past.
func (h *history) add(e *entry) {
	h.place(e)
	h.judgeInPast(e)
	if e.kind == KindCheckpoint {
		e.solid = h.solidOf(e)
		h.keepState(e)
	}
	e.late = h.pin != none && !e.past.has(h.pin)
	h.entries = append(h.entries, e)
	h.index(e)
	e.after = h.extend(e.before, e)
	if e.kind == KindCheckpoint {
		h.setPin(e.after.base)
	}
}

// solidOf returns the number of entries, from the first on, that all lie in the past of a checkpoint.
func (h *history) solidOf(e *entry) int {
	n := 0
	if e.base != none {
		n = h.entries[e.base].solid
	}
	for e.past.has(n) {
		n++
	}
	return n
}

// solidAt is solidOf a settled checkpoint, 0 before the first.
func (h *history) solidAt(base int) int {
	if base == none {
		return 0
	}
	return h.entries[base].solid
}

// from returns those of ascending indices that are not below one.
func from(list []int, least int) []int {
	k, _ := slices.BinarySearch(list, least)
	return list[k:]
}

// setPin pins the settled checkpoint 24 numbers below the newest, so that no rival of it is weighed any more.
func (h *history) setPin(newest int) {
	for c := newest; c != none; c = h.entries[c].base {
		if h.numberAt(c)+staleHorizon <= h.numberAt(newest) {
			if h.pin == none || h.entries[c].past.has(h.pin) {
				h.pin = c
			}
			return
		}
	}
}

// index files e under everything that replay looks for.
func (h *history) index(e *entry) {
	h.byID[e.id] = e.idx
	h.authored[e.device] = append(h.authored[e.device], e.idx)
	h.file(e)
	if !e.rootAct {
		for _, s := range e.signers {
			if l := h.signed[s.member]; len(l) == 0 || l[len(l)-1] != e.idx {
				h.signed[s.member] = append(l, e.idx)
			}
		}
	}
	if e.epoch != nil {
		h.epochs = append(h.epochs, e.idx)
		if _, ok := h.minted[e.epoch.id]; !ok {
			h.minted[e.epoch.id] = e.idx
		}
	}
	h.convict(e)
	seqs := h.numbered[e.device]
	if seqs == nil {
		seqs = map[uint64][]int{}
		h.numbered[e.device] = seqs
	}
	seqs[e.aseq] = append(seqs[e.aseq], e.idx)
	if e.kind == KindCheckpoint && e.own.ok() {
		h.checkpoints = append(h.checkpoints, e.idx)
		for _, c := range h.checkpoint(e.idx).Content {
			key := chainKey{c.Device, c.ChainNo}
			h.contents[key] = append(h.contents[key], e.idx)
		}
	}
}

// file enters e under its subject and its invite.
func (h *history) file(e *entry) {
	if e.admission != nil && e.admission.info != nil {
		h.introduce(e.admission.info, e.idx)
	}
	if e.kind != KindLiftQuarantine && e.kind != KindQuarantinePropose && e.kind != KindQuarantineVote {
		for _, m := range h.subjects(e) {
			h.acts[m] = append(h.acts[m], e.idx)
		}
	}
	if e.reductive() {
		h.removals = append(h.removals, e.idx)
	}
	h.fileRest(e)
	if e.kind == KindInviteCreate && e.onInvite {
		h.invites[e.invite] = append(h.invites[e.invite], e.idx)
	}
	if e.kind == KindInviteRevoke {
		h.cancels[e.invite] = append(h.cancels[e.invite], e.idx)
	}
	if e.kind == KindAdmit && e.creates != none {
		h.admits[e.creates] = append(h.admits[e.creates], e.idx)
	}
}

// fileRest enters e under what only its kind looks for.
func (h *history) fileRest(e *entry) {
	switch b := e.body.(type) {
	case *ChainOpen:
		h.opens[e.device] = append(h.opens[e.device], e.idx)
	case *FrontierExtend:
		h.extends = append(h.extends, e.idx)
	case *KeyUpdate:
		h.updates[e.device] = append(h.updates[e.device], e.idx)
	case *Endorse:
		for _, i := range e.named {
			h.endorsed[i] = append(h.endorsed[i], e.idx)
		}
	case *QuarantinePropose:
		h.proposals[e.subject] = append(h.proposals[e.subject], e.idx)
	case *QuarantineVote:
		for _, q := range e.named {
			h.votes[q] = append(h.votes[q], e.idx)
		}
	case *LiftQuarantine:
		if b.Device != nil {
			h.lifts[*b.Device] = append(h.lifts[*b.Device], e.idx)
		} else {
			h.reliefs[*b.Member] = append(h.reliefs[*b.Member], e.idx)
		}
	}
}

// concurrent reports whether neither of two entries is an ancestor of the other.
func (h *history) concurrent(a, b int) bool {
	return a != b && !h.entries[a].past.has(b) && !h.entries[b].past.has(a)
}

// closure returns the entries with these indices and all their ancestors.
func (h *history) closure(heads []int) bitset {
	var set bitset
	for _, i := range heads {
		set.addAll(h.entries[i].past)
		set.add(i)
	}
	return set
}

// maximal returns those of heads that are no ancestor of another, ascending and without repeats.
func (h *history) maximal(heads []int) []int {
	sorted := slices.Clone(heads)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	return slices.DeleteFunc(slices.Clone(sorted), func(i int) bool {
		return slices.ContainsFunc(sorted, func(j int) bool { return h.entries[j].past.has(i) })
	})
}

// lowest returns the index whose event has the lowest id, or none.
func (h *history) lowest(candidates []int) int {
	best := none
	for _, i := range candidates {
		if best == none || wire.ID(h.entries[i].id).Compare(wire.ID(h.entries[best].id)) < 0 {
			best = i
		}
	}
	return best
}
