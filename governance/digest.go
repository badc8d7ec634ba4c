package governance

import (
	"bytes"
	"slices"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Rows of the state digest. Every list is sorted.
type (
	memberRow struct {
		_      struct{} `cbor:",toarray"`
		Member identity.MemberID
		Role   Role
		Cert   wire.ID
	}
	deviceRow struct {
		_         struct{} `cbor:",toarray"`
		Device    identity.DeviceID
		Member    identity.MemberID
		KemID     wire.ID
		Suspended bool
	}
	chainRow struct {
		_        struct{} `cbor:",toarray"`
		Device   identity.DeviceID
		No       uint32
		Opening  EventID
		ClientID uint32
		Owned    bool
	}
	inviteRow struct {
		_      struct{} `cbor:",toarray"`
		Invite InviteID
		Uses   uint64
		Closed bool
	}
	voidRow struct {
		_      struct{} `cbor:",toarray"`
		Event  EventID
		Reason Reason
	}
	quarantineRow struct {
		_        struct{} `cbor:",toarray"`
		Proposal EventID
		Target   identity.MemberID
	}
	digestRows struct {
		_           struct{} `cbor:",toarray"`
		Root        wire.ID
		Settled     uint64 // number of the last settled checkpoint
		Members     []memberRow
		Devices     []deviceRow
		Chains      []chainRow
		Cuts        []Cut
		Invites     []inviteRow
		Epochs      []EpochID
		Quarantines []quarantineRow
		Voids       []voidRow
	}
)

func (s *State) buildVoids(v view, out *verdict) {
	for _, x := range out.items() {
		s.voids = append(s.voids, voidRow{Event: v.h.entries[x.idx].id, Reason: x.fault.reason})
	}
	slices.SortFunc(s.voids, func(a, b voidRow) int { return bytes.Compare(a.Event[:], b.Event[:]) })
}

// sum computes H("state", rows): members and live devices, chains, cuts, invites, epochs and void events.
func (s *State) sum() wire.ID {
	rows := digestRows{Root: wire.ID(s.root), Settled: s.settled.Number, Voids: s.voids}
	for _, q := range s.held {
		rows.Quarantines = append(rows.Quarantines, quarantineRow{Proposal: q.Proposal, Target: q.Member})
	}
	for _, m := range s.members {
		if m.Present {
			rows.Members = append(rows.Members, memberRow{Member: m.ID, Role: m.Role, Cert: wire.ID(m.ID)})
		}
	}
	for _, d := range s.live {
		rows.Devices = append(rows.Devices, deviceRow{Device: d.ID, Member: d.Member, KemID: d.KemID, Suspended: d.Suspended})
	}
	for _, c := range s.chainList {
		rows.Chains = append(rows.Chains, chainRow{
			Device: c.Device, No: c.No, Opening: c.Opening, ClientID: c.ClientID, Owned: c.Owned,
		})
		if c.cut != nil {
			rows.Cuts = append(rows.Cuts, *c.cut)
		}
	}
	for _, x := range s.Invites() {
		rows.Invites = append(rows.Invites, inviteRow{Invite: x.ID, Uses: uint64(x.Uses), Closed: x.Closed})
	}
	for _, e := range s.epochList {
		rows.Epochs = append(rows.Epochs, e.ID)
	}
	return derive.ID("state", wire.Marshal(rows))
}
