package governance

import "fmt"

// Role is what a member may do. Higher roles include lower ones; the gaps are room for later roles.
type Role uint8

// The roles of version 1. None is that of somebody who is no member.
const (
	None    Role = 0
	Viewer  Role = 10
	Editor  Role = 20
	Manager Role = 30
)

// String returns the role's name.
func (r Role) String() string {
	switch r {
	case None:
		return "none"
	case Viewer:
		return "viewer"
	case Editor:
		return "editor"
	case Manager:
		return "manager"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// known reports whether r is a role that version 1 gives.
func (r Role) known() bool { return r == Viewer || r == Editor || r == Manager }

// Act is something that a device asks to do outside the log; see [State.May].
type Act uint8

// What [State.May] answers for.
const (
	ActRead     Act = iota + 1 // receive content and keys
	ActPresence                // show presence, acknowledge, open chains
	ActWrite                   // write documents and assets
	ActMint                    // mint key epochs
	ActHost                    // serve invites that list the device
	ActManage                  // invite, grant and remove up to editor
)

// needs returns the least role for a.
func (a Act) needs() Role {
	switch a {
	case ActRead, ActPresence:
		return Viewer
	case ActWrite, ActMint, ActHost:
		return Editor
	}
	return Manager
}

// governs reports whether a is an act of governance, which a suspended device has lost.
func (a Act) governs() bool { return a != ActRead && a != ActPresence && a != ActWrite }
