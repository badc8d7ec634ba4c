package governance

import "fmt"

// Kind is the kind of an event. A kind that is not switched on is void and stands in nobody's way.
type Kind uint16

// The kinds that this build knows.
const (
	KindKeyEpoch     Kind = 1  // new key for content: [KeyEpoch]
	KindInviteCreate Kind = 2  // [InviteCreate]
	KindAdmit        Kind = 3  // new member with a device: [Admit]
	KindRoleGrant    Kind = 4  // higher role: [RoleGrant]
	KindRevoke       Kind = 5  // member and all devices out: [Revoke]
	KindChainOpen    Kind = 10 // further chain of the own device: [ChainOpen]
	KindInviteRevoke Kind = 11 // invite admits nobody any more: [InviteRevoke]
)

// rule is what the capability table says of one kind.
type rule struct {
	name      string
	body      func() body // a fresh body to decode into
	role      Role        // least role of the author
	reductive bool        // takes standing away
	root      bool        // the root may do it
}

// rules is the capability table.
var rules = map[Kind]rule{
	KindKeyEpoch:     {name: "KeyEpoch", body: func() body { return new(KeyEpoch) }, role: Editor},
	KindInviteCreate: {name: "InviteCreate", body: func() body { return new(InviteCreate) }, role: Manager, root: true},
	KindAdmit:        {name: "Admit", body: func() body { return new(Admit) }, role: Editor, root: true},
	KindRoleGrant:    {name: "RoleGrant", body: func() body { return new(RoleGrant) }, role: Manager, root: true},
	KindRevoke:       {name: "Revoke", body: func() body { return new(Revoke) }, role: Manager, root: true, reductive: true},
	KindChainOpen:    {name: "ChainOpen", body: func() body { return new(ChainOpen) }, role: Viewer},
	KindInviteRevoke: {name: "InviteRevoke", body: func() body { return new(InviteRevoke) }, role: Manager, root: true, reductive: true},
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
