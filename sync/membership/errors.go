package membership

import "errors"

// Errors of this package. Those of joining are the errors of package invite and of the transport.
var (
	// ErrClosed means that the project or registry was closed.
	ErrClosed = errors.New("membership: closed")
	// ErrUnknownProject means that the store holds no such project; found or join it first.
	ErrUnknownProject = errors.New("membership: project is not in this store; found it, or join it with an invite")
	// ErrExists means that the store or the registry has this project already.
	ErrExists = errors.New("membership: project is here already; open it")
	// ErrNoHost means that the registry has no transport yet.
	ErrNoHost = errors.New("membership: no network; start the node's transport first")
	// ErrRefused means that a peer closed without an answer, as members do to who is no member of the project.
	ErrRefused = errors.New("membership: the peer does not share this project with us")
	// ErrProtocol means that a peer broke the protocol.
	ErrProtocol = errors.New("membership: the peer broke the events protocol")
	// ErrNotMember means that a device is not, or no longer, live in the project.
	ErrNotMember = errors.New("membership: device is no member of the project")
	// ErrUnknownInvite means that no such invite was made in this project.
	ErrUnknownInvite = errors.New("membership: no such invite in this project")
	// ErrInvite means that an invite cannot be made as asked.
	ErrInvite = errors.New("membership: invite cannot be made")
	// ErrNoEpoch means that the key needed for an act is not held yet; it arrives from another member.
	ErrNoEpoch = errors.New("membership: the project's current key has not arrived yet; connect to another member")
	// ErrNotAdmitted means that the host's log does not hold this device's admission.
	ErrNotAdmitted = errors.New("membership: the host's log does not admit this device; ask for a new invite")
	// ErrUnknownProposal means that no such proposal of a root record is open here.
	ErrUnknownProposal = errors.New("membership: no such proposal is open; it may have been decided or have come to its end")
	// ErrTooManyActs means that too many acts wait for managers: decide on those first.
	ErrTooManyActs = errors.New("membership: too many proposed acts wait for managers; decide on those first")
	// ErrCosigners means that devices that have to sign an event are not reached or do not sign it yet.
	ErrCosigners = errors.New("membership: devices that must co-sign are not reached, or are not ready")
	// ErrRootFork means that two records claim to be the next version of the root, and the root is suspended: compare the
	// records with people you trust and pin one.
	ErrRootFork = errors.New("membership: the root is forked; compare the records with people you trust and pin one")
	// ErrRootBehind means that later root records or events before them are missing here: connect to another member first.
	ErrRootBehind = errors.New("membership: the root has moved on and this device lacks a part; connect to another member first")
	// ErrInDoubt means that the store was not closed cleanly, so that events of this device may be missing from it:
	// connect to another member first.
	ErrInDoubt = errors.New("membership: this device's own history is in doubt after a crash; connect to another member first")
)
