package collab

import (
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
)

// Identifiers are SHA-256 hashes of signed records, 32 bytes each.
type (
	// ProjectID names a project: the hash of its first root record.
	ProjectID = genesis.ProjectID
	// RootID names a version of the root record.
	RootID = genesis.RootID
	// MemberID names a person: the hash of their first identity certificate.
	MemberID = identity.MemberID
	// DeviceID names a device: the hash of its certificate.
	DeviceID = identity.DeviceID
	// EventID names a governance event.
	EventID = governance.EventID
)

// Role is what a member may do; higher roles include the lower ones.
type Role = governance.Role

// The roles.
const (
	RoleViewer  = governance.Viewer  // reads and is present
	RoleEditor  = governance.Editor  // writes documents
	RoleManager = governance.Manager // invites, and decides on editors and viewers
)

// Path is how a peer is reached.
type Path uint8

// The paths.
const (
	PathNone   Path = iota // not connected
	PathDirect             // a connection of its own
	PathRelay              // through another member
)

// Identity describes a person.
type Identity struct {
	ID          MemberID
	Name        string
	Fingerprint string // six words (66 bits), for comparing aloud
}

// Member is a person in a project.
type Member struct {
	Identity
	Role   Role
	State  MemberState
	Online bool // at least one of their devices is connected to this one now
}

// MemberState says whether a member has a place in the project.
type MemberState uint8

// The member states.
const (
	MemberActive MemberState = iota
	MemberRemoved
	MemberQuarantined // a vote of the members holds back what they send: see Session.ProposeQuarantine
)

// ProjectInfo is one project of this device.
type ProjectInfo struct {
	ID   ProjectID
	Name string
}

// InviteOptions shape an invite. The zero value invites one editor for 72 hours.
type InviteOptions struct {
	Role    Role          // default RoleEditor, the highest that an invite can give
	Expires time.Duration // default 72 h, at most 30 days
	Uses    int           // default 1, at most 1000
	Approve bool          // ask the person behind WithJoinPolicy before admitting; both sides are shown six words
	Compact bool          // shorter code, for QR: carries the hash of the host's key instead of the key
}

// JoinRequest is what a [JoinPolicy] decides on.
type JoinRequest struct {
	Identity Identity
	Words    []string // short authentication string, six words; the joiner sees the same
}

// ShareHealth is what the drill found at one custodian.
type ShareHealth = genesis.ShareHealth

// AuditEntry is one signed governance event.
type AuditEntry struct {
	ID      EventID
	Time    time.Time // claimed by the author; the order is causal, not by time
	By      MemberID
	Kind    string
	Summary string
	Counts  bool
	Raw     []byte // the signed record as received
}

// Explanation says whether an event counts, why, and which event voids it.
type Explanation = governance.Explanation

// Status is how a session stands. [StatusChanged] is sent when it changes.
type Status struct {
	Peers   int   // members' devices connected now: Direct and Relayed together
	Direct  int   // of these, on a connection of their own
	Relayed int   // of these, through another member
	Held    int   // own edits that are saved but not yet signed and sent
	Pending int64 // bytes of files that are still to come; AssetProgress, not StatusChanged, tells of it
	Synced  bool  // everything that at least one connected peer had when last asked is here
	Root    RootID
	Err     error // the last failure of the store or the network; nil if all is well
}
