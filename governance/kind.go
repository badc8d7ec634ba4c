package governance

import "fmt"

// Kind is the kind of an event. A kind that is not switched on is void and stands in nobody's way.
type Kind uint16

// The kinds that this build knows.
const (
	KindKeyEpoch          Kind = 1  // new key for content: [KeyEpoch]
	KindInviteCreate      Kind = 2  // [InviteCreate]
	KindAdmit             Kind = 3  // new member with a device: [Admit]
	KindRoleGrant         Kind = 4  // higher role: [RoleGrant]
	KindRevoke            Kind = 5  // member and all devices out: [Revoke]
	KindCheckpoint        Kind = 6  // settles its past: [Checkpoint]
	KindRoleDrop          Kind = 7  // lower role: [RoleDrop]
	KindDeviceRemove      Kind = 9  // one device out: [DeviceRemove]
	KindChainOpen         Kind = 10 // further chain of the own device: [ChainOpen]
	KindInviteRevoke      Kind = 11 // invite admits nobody any more: [InviteRevoke]
	KindLeave             Kind = 12 // own member and all devices out: [Leave]
	KindKeyUpdate         Kind = 13 // new KEM key of the own device: [KeyUpdate]
	KindCarry             Kind = 15 // an identity ended by its owner: [Carry]
	KindFrontierExtend    Kind = 16 // more of a cut chain counts: [FrontierExtend]
	KindEndorse           Kind = 17 // revives late, pending or contested acts: [Endorse]
	KindEquivocationProof Kind = 18 // two acts of one device under one number: [EquivocationProof]
	KindQuarantinePropose Kind = 19 // [QuarantinePropose]
	KindQuarantineVote    Kind = 20 // [QuarantineVote]
	KindLiftQuarantine    Kind = 21 // of a member or a suspended device: [LiftQuarantine]
)

// class says what a kind does to standing.
type class uint8

const (
	neutral   class = iota
	additive        // gives standing
	reductive       // takes standing away
)

// rule is what the capability table says of one kind.
type rule struct {
	name  string
	body  func() body // a fresh body to decode into
	role  Role        // least role of the author; some kinds say more in needs
	class class
	root  bool // the root may do it
}

// rules is the capability table.
var rules = map[Kind]rule{
	KindKeyEpoch:          {"KeyEpoch", func() body { return new(KeyEpoch) }, Editor, neutral, false},
	KindInviteCreate:      {"InviteCreate", func() body { return new(InviteCreate) }, Manager, additive, true},
	KindAdmit:             {"Admit", func() body { return new(Admit) }, Editor, additive, true},
	KindRoleGrant:         {"RoleGrant", func() body { return new(RoleGrant) }, Manager, additive, true},
	KindRevoke:            {"Revoke", func() body { return new(Revoke) }, Manager, reductive, true},
	KindCheckpoint:        {"Checkpoint", func() body { return new(Checkpoint) }, Manager, neutral, true},
	KindRoleDrop:          {"RoleDrop", func() body { return new(RoleDrop) }, Manager, reductive, true},
	KindDeviceRemove:      {"DeviceRemove", func() body { return new(DeviceRemove) }, Manager, reductive, true},
	KindChainOpen:         {"ChainOpen", func() body { return new(ChainOpen) }, Viewer, neutral, false},
	KindInviteRevoke:      {"InviteRevoke", func() body { return new(InviteRevoke) }, Manager, reductive, true},
	KindLeave:             {"Leave", func() body { return new(Leave) }, Viewer, reductive, false},
	KindKeyUpdate:         {"KeyUpdate", func() body { return new(KeyUpdate) }, Viewer, neutral, false},
	KindCarry:             {"Carry", func() body { return new(Carry) }, Viewer, reductive, false},
	KindFrontierExtend:    {"FrontierExtend", func() body { return new(FrontierExtend) }, Manager, neutral, true},
	KindEndorse:           {"Endorse", func() body { return new(Endorse) }, Manager, additive, true},
	KindEquivocationProof: {"EquivocationProof", func() body { return new(EquivocationProof) }, Viewer, neutral, false},
	KindQuarantinePropose: {"QuarantinePropose", func() body { return new(QuarantinePropose) }, Viewer, reductive, false},
	KindQuarantineVote:    {"QuarantineVote", func() body { return new(QuarantineVote) }, Viewer, reductive, false},
	KindLiftQuarantine:    {"LiftQuarantine", func() body { return new(LiftQuarantine) }, Viewer, additive, true},
}

// Known reports whether this build knows the kind.
func (k Kind) Known() bool { _, ok := rules[k]; return ok }

// String returns the kind's name.
func (k Kind) String() string {
	if r, ok := rules[k]; ok {
		return r.name
	}
	return fmt.Sprintf("kind %d", uint16(k))
}
