package governance

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// act is an event without cryptography, for comparing replay with the slow reference on many histories. Members are
// letters, devices a letter and a digit. The event G is the project's first root record.
type act struct {
	id        string
	kind      Kind
	device    string
	aseq      uint64
	parents   []string
	cosigners []string
	root      bool
	member    string // subject
	admits    string // device admitted
	role      Role
	invite    string
	uses      int
	hosts     []string
	roster    []string // devices that an epoch is for
	chain     uint32
	target    string // device removed, lifted or convicted
	stolen    bool
	named     []string // acts endorsed, proposal voted on
	withdraw  bool
	expires   uint64
	number    uint64 // of a checkpoint, or used twice
	prev      []string
	time      uint64
	ok        bool              // a checkpoint signs the state of its past
	since     map[string]uint64 // last good number of each device of an ended identity
	past      map[string]bool   // all ancestors but G
}

// founder is the device that founds every abstract project.
const founder = "A1"

func memberOf(device string) string { return device[:1] }

// maxRoleOf is the role in a device's certificate: devices with an even number never act above editor.
func maxRoleOf(device string) Role {
	if device[1]%2 == 0 {
		return Editor
	}
	return Manager
}

func abstractDevice(name string) *deviceInfo {
	return &deviceInfo{
		id: deviceID(name), member: memberID(memberOf(name)), kem: kemID(name), maxRole: maxRoleOf(name),
	}
}

func deviceID(name string) identity.DeviceID { return sha256.Sum256([]byte("device " + name)) }
func memberID(name string) identity.MemberID { return sha256.Sum256([]byte("member " + name)) }
func kemID(name string) wire.ID              { return sha256.Sum256([]byte("kem " + name)) }
func abstractProject() genesis.ProjectID     { return sha256.Sum256([]byte("project")) }
func inviteID(name string) (id InviteID)     { copy(id[:], name); return id }

// eventID keeps the order of the names.
func eventID(name string) (id EventID) {
	if name == "G" {
		return EventID(abstractProject())
	}
	copy(id[:], name)
	return id
}

func newAbstract(quorum int) *history {
	return newHistory(abstractProject(), policy{quorum: quorum, threshold: 1, voteNum: 1, voteDen: 2, minAge: 1}, abstractDevice(founder))
}

// deliver adds abstract events, each after its parents, in an order that rng picks.
func deliver(h *history, acts []*act, rng *rand.Rand) {
	left := slices.Clone(acts)
	for len(left) > 0 {
		var ready []int
		for k, a := range left {
			if !slices.ContainsFunc(a.parents, func(p string) bool { _, ok := h.byID[eventID(p)]; return !ok }) {
				ready = append(ready, k)
			}
		}
		k := ready[rng.IntN(len(ready))]
		h.add(h.entryOf(left[k]))
		left = slices.Delete(left, k, k+1)
	}
}

// entryOf turns an abstract event into what replay sees of a real one.
func (h *history) entryOf(a *act) *entry {
	e := &entry{
		id: eventID(a.id), kind: a.kind, device: deviceID(a.device), author: memberID(memberOf(a.device)), aseq: a.aseq,
		own: fine, creates: none, base: none, rootAct: a.root,
	}
	if a.root {
		e.holders = 1
	} else {
		e.signers = append(e.signers, signer{e.device, e.author})
	}
	for _, c := range a.cosigners {
		e.signers = append(e.signers, signer{deviceID(c), memberID(memberOf(c))})
	}
	for _, p := range a.parents {
		i := h.byID[eventID(p)]
		e.parents = append(e.parents, i)
		e.depth = max(e.depth, h.entries[i].depth+1)
	}
	h.place(e)
	e.body = a.bodyOf(h, e)
	return e
}

func (a *act) bodyOf(h *history, e *entry) body {
	epoch := func() {
		if a.roster == nil {
			return
		}
		var r []RosterEntry
		for _, d := range a.roster {
			r = append(r, RosterEntry{Device: deviceID(d), KemID: kemID(d)})
		}
		c := &EpochCore{Project: abstractProject(), Device: e.device, Aseq: e.aseq, Roster: RosterHash(r)}
		e.epoch = &epochInfo{id: EpochID(sha256.Sum256([]byte("epoch " + a.id))), core: c, object: &KeyEpoch{}}
	}
	switch a.kind {
	case KindKeyEpoch:
		epoch()
		return &KeyEpoch{}
	case KindInviteCreate:
		e.invite, e.onInvite = inviteID(a.invite), true
		b := &InviteCreate{Invite: e.invite, Role: a.role, MaxUses: uint16(a.uses), Expires: a.expires}
		for _, d := range a.hosts {
			b.Hosts = append(b.Hosts, InviteHost{Device: deviceID(d)})
		}
		return b
	case KindInviteRevoke:
		e.invite, e.onInvite = inviteID(a.invite), true
		return &InviteRevoke{Invite: e.invite}
	case KindAdmit:
		d := abstractDevice(a.admits)
		e.subject, e.about, e.admission = d.member, true, &admission{device: d.id, info: d}
		b := &Admit{Role: a.role}
		if a.invite != "" {
			e.invite, e.onInvite = inviteID(a.invite), true
			b.Invite = &e.invite
		}
		return b
	case KindRoleGrant:
		e.subject, e.about = memberID(a.member), true
		return &RoleGrant{Member: e.subject, Role: a.role}
	case KindRevoke:
		e.subject, e.about = memberID(a.member), true
		epoch()
		return &Revoke{Member: e.subject}
	case KindChainOpen:
		return &ChainOpen{ChainNo: a.chain}
	case KindDeviceRemove:
		e.target = deviceID(a.target)
		e.subject, e.about = h.ownerOf(e.target, e.past)
		epoch()
		b := &DeviceRemove{Device: e.target}
		if a.stolen {
			b.Stolen = 1
		}
		return b
	}
	return a.restOf(h, e)
}

func (a *act) restOf(h *history, e *entry) body {
	switch a.kind {
	case KindRoleDrop:
		e.subject, e.about = memberID(a.member), true
		return &RoleDrop{Member: e.subject, Role: a.role}
	case KindLeave:
		e.subject, e.about = e.author, true
		return &Leave{}
	case KindKeyUpdate:
		return &KeyUpdate{}
	case KindCarry:
		e.subject, e.about = memberID(a.member), true
		r := &SelfRevoke{Member: e.subject}
		for d, n := range a.since {
			r.CompromisedSince = append(r.CompromisedSince, LastGood{Device: deviceID(d), Aseq: n})
		}
		slices.SortFunc(r.CompromisedSince, func(a, b LastGood) int { return bytes.Compare(a.Device[:], b.Device[:]) })
		if h.anyDevice(e.subject, e.past) != nil {
			e.revoked = r
		}
		return &Carry{record: r}
	case KindCheckpoint:
		b := &Checkpoint{Number: a.number, Time: a.time}
		for _, p := range a.prev {
			b.Prev = append(b.Prev, eventID(p))
		}
		if a.ok {
			b.State = h.state(e.parents).Digest()
		}
		return b
	case KindEndorse:
		b := &Endorse{}
		for _, n := range a.named {
			b.Events = append(b.Events, eventID(n))
		}
		e.named = h.inPast(b.Events, e.past)
		return b
	case KindEquivocationProof:
		d := deviceID(a.target)
		if _, ok := h.ownerOf(d, e.past); ok {
			e.proof = &place{device: d, n: a.number}
		}
		return &EquivocationProof{}
	case KindQuarantinePropose:
		e.subject, e.about = memberID(a.member), true
		return &QuarantinePropose{Member: e.subject, Expires: a.expires}
	case KindQuarantineVote:
		b := &QuarantineVote{Proposal: eventID(a.named[0])}
		if a.withdraw {
			b.Withdraw = 1
		}
		e.vote(h, b)
		return b
	case KindLiftQuarantine:
		b := &LiftQuarantine{}
		if a.target != "" {
			d := deviceID(a.target)
			b.Device, e.target = &d, d
			e.subject, e.about = h.ownerOf(d, e.past)
			return b
		}
		e.subject, e.about = memberID(a.member), true
		b.Member = &e.subject
		return b
	}
	return nil
}

func (a *act) String() string {
	s := fmt.Sprintf("%s: %s#%d %v on %s", a.id, a.device, a.aseq, a.kind, strings.Join(a.parents, ","))
	if a.root {
		s += " by the root"
	}
	if len(a.cosigners) > 0 {
		s += " with " + strings.Join(a.cosigners, ",")
	}
	switch a.kind {
	case KindInviteCreate:
		s += fmt.Sprintf(" %s %v uses %d hosts %v", a.invite, a.role, a.uses, a.hosts)
	case KindAdmit:
		s += fmt.Sprintf(" %s as %v invite %q", a.admits, a.role, a.invite)
	case KindInviteRevoke:
		s += " " + a.invite
	case KindRoleGrant:
		s += fmt.Sprintf(" %s to %v", a.member, a.role)
	case KindRevoke:
		s += fmt.Sprintf(" %s epoch %v", a.member, a.roster)
	case KindKeyEpoch:
		s += fmt.Sprintf(" for %v", a.roster)
	case KindChainOpen:
		s += fmt.Sprintf(" %d", a.chain)
	case KindRoleDrop:
		s += fmt.Sprintf(" %s to %v", a.member, a.role)
	case KindDeviceRemove:
		s += fmt.Sprintf(" %s stolen %v epoch %v", a.target, a.stolen, a.roster)
	case KindCheckpoint:
		s += fmt.Sprintf(" %d after %v at %d true %v", a.number, a.prev, a.time, a.ok)
	case KindCarry:
		s += fmt.Sprintf(" %s since %v", a.member, a.since)
	case KindEndorse, KindQuarantineVote:
		s += fmt.Sprintf(" %v withdraw %v", a.named, a.withdraw)
	case KindEquivocationProof, KindLiftQuarantine, KindQuarantinePropose:
		s += fmt.Sprintf(" %s%s number %d until %d", a.member, a.target, a.number, a.expires)
	}
	return s
}
