package governance

import "fmt"

// Reason says why an event counts for nothing. The numbers are part of the state digest and never change.
type Reason uint8

// Reasons. ReasonNone is that of an event that counts.
const (
	ReasonNone         Reason = 0
	ReasonKind         Reason = 1  // its kind is not switched on
	ReasonQuota        Reason = 2  // too many unsettled events or chains of its device
	ReasonRootAct      Reason = 3  // too few root holders signed, or the root may not do this
	ReasonCertificate  Reason = 4  // a certificate in it does not verify
	ReasonProof        Reason = 5  // the invite's proof does not verify for these certificates and this host
	ReasonDevice       Reason = 6  // the author's device is not live
	ReasonRole         Reason = 7  // the author's role does not suffice, or the role given is none
	ReasonQuorum       Reason = 8  // more managers must sign, or the root
	ReasonCosigner     Reason = 9  // a cosigner is unfit or not needed
	ReasonAbsent       Reason = 10 // its subject is no member
	ReasonPresent      Reason = 11 // its subject is a member already
	ReasonNoRaise      Reason = 12 // it does not raise its subject
	ReasonReadmission  Reason = 13 // who was removed comes back through a manager or the root only
	ReasonSubject      Reason = 14 // its author or a cosigner is its subject
	ReasonInvite       Reason = 15 // the invite does not exist, or another has its id
	ReasonHost         Reason = 16 // the author is no host of the invite
	ReasonInviteRole   Reason = 17 // the invite does not give this role, or not to this member
	ReasonChain        Reason = 18 // the chain's number does not follow the device's last
	ReasonEpoch        Reason = 19 // the epoch is not for this event or not for its roster
	ReasonNotOwed      Reason = 20 // the device has minted and no further epoch was owed
	ReasonEquivocation Reason = 21 // its device signed two events of one number
	ReasonInviteUsed   Reason = 22 // the invite was used up before
	ReasonPending      Reason = 23 // the invite was used up concurrently; a manager may admit
	ReasonStripped     Reason = 24 // a concurrent removal took a signer's standing
	ReasonCycle        Reason = 25 // it fell in a cycle of removals
	ReasonCancelled    Reason = 26 // the invite was cancelled
	ReasonLate         Reason = 27 // it gives something and does not know of a settled checkpoint; a manager may endorse
	ReasonOvertaken    Reason = 28 // a signer had lost his standing in a settled checkpoint that it does not know of
	ReasonStale        Reason = 29 // it does not know of a checkpoint that was settled long ago
	ReasonExpired      Reason = 30 // its invite or its author's certificate had expired
	ReasonCheckpoint   Reason = 31 // its number does not follow from checkpoints that count in its past
	ReasonTime         Reason = 32 // it sets the project's time back
	ReasonDigest       Reason = 33 // it signs another state than that of its past
	ReasonContent      Reason = 34 // it settles more of a chain than counts
	ReasonQuarantine   Reason = 35 // its author was in quarantine
	ReasonVoter        Reason = 36 // its author may not vote on this
	ReasonRenewal      Reason = 37 // the quarantine was renewed before; a manager must act
	ReasonEnded        Reason = 38 // the quarantine it votes on had ended
	ReasonEndorse      Reason = 39 // it names an event that cannot be brought back
	ReasonNoDrop       Reason = 40 // it does not lower its subject
	ReasonEnds         Reason = 41 // its subject ended his identity himself
	ReasonLift         Reason = 42 // it does not name the device's last event
	ReasonRevocation   Reason = 43 // the self-revocation in it does not verify
	ReasonSuperseded   Reason = 64 // root holders signed it whom a later root record has replaced
	ReasonSuspended    Reason = 65 // two records claim to be the next root, so that the present one may do nothing
)

var reasonTexts = map[Reason]string{
	ReasonNone:         "it counts",
	ReasonKind:         "its kind is not switched on in this project",
	ReasonQuota:        "its device has authored too much that no checkpoint has settled",
	ReasonRootAct:      "too few root holders signed it, or the root may not do this",
	ReasonCertificate:  "a certificate in it does not verify",
	ReasonProof:        "the invite's proof does not verify for these certificates and this host",
	ReasonDevice:       "the author's device is not live",
	ReasonRole:         "the author's role, or the role it gives, does not allow it",
	ReasonQuorum:       "more managers must sign it",
	ReasonCosigner:     "a cosigner is unfit or not needed",
	ReasonAbsent:       "its subject is no member",
	ReasonPresent:      "its subject is a member already",
	ReasonNoRaise:      "it does not raise its subject",
	ReasonReadmission:  "who was removed comes back through a manager or the root only",
	ReasonSubject:      "its author or a cosigner is its subject",
	ReasonInvite:       "the invite does not exist, or another has its id",
	ReasonHost:         "the author is no host of the invite",
	ReasonInviteRole:   "the invite does not give this role, or not to this member",
	ReasonChain:        "the chain's number does not follow the device's last",
	ReasonEpoch:        "the epoch is not for this event or not for its roster",
	ReasonNotOwed:      "the device has minted an epoch before and none is owed",
	ReasonEquivocation: "its device signed two events of one number",
	ReasonInviteUsed:   "the invite was used up before",
	ReasonPending:      "the invite was used up concurrently; a manager may admit",
	ReasonStripped:     "a concurrent removal took a signer's standing",
	ReasonCycle:        "it fell in a cycle of concurrent removals",
	ReasonCancelled:    "the invite was cancelled",
	ReasonLate:         "it came too late: a checkpoint was settled without it; a manager may endorse it",
	ReasonOvertaken:    "a signer had lost his standing in a checkpoint that was settled without it",
	ReasonStale:        "it does not know of a checkpoint that was settled long ago",
	ReasonExpired:      "the invite or the author's certificate had expired",
	ReasonCheckpoint:   "its number does not follow the checkpoints before it",
	ReasonTime:         "it sets the project's time back",
	ReasonDigest:       "it signs another state than that of its past",
	ReasonContent:      "it settles more of a chain than counts",
	ReasonQuarantine:   "its author was in quarantine",
	ReasonVoter:        "its author may not vote on this",
	ReasonRenewal:      "the quarantine was renewed before; a manager must act",
	ReasonEnded:        "the quarantine it votes on had ended",
	ReasonEndorse:      "it names an event that cannot be brought back",
	ReasonNoDrop:       "it does not lower its subject",
	ReasonEnds:         "its subject ended his identity himself",
	ReasonLift:         "it does not name the device's last event",
	ReasonRevocation:   "the self-revocation in it does not verify",
	ReasonSuperseded:   "the root holders who signed it are superseded",
	ReasonSuspended:    "the root is suspended: two records claim to follow it",
}

// String returns the reason for people.
func (r Reason) String() string {
	if s, ok := reasonTexts[r]; ok {
		return s
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// remedies say what would be needed, as far as it is the same for all kinds.
var remedies = map[Reason]string{
	ReasonKind:         "a build that knows it, and a root record that switches it on",
	ReasonQuota:        "a checkpoint, which managers sign",
	ReasonRootAct:      "as many root holders as the root record says, for an act that the root may do, without cosigners or an invite",
	ReasonCertificate:  "certificates that verify, the identity's first",
	ReasonProof:        "a proof made with this invite's secret, or two different signed statements of one place",
	ReasonDevice:       "a device that is a member's and was not removed",
	ReasonRole:         "viewer, editor or manager; on an invite viewer or editor",
	ReasonCosigner:     "no more signers than the act asks for, each another manager in good standing; none on a root act",
	ReasonAbsent:       "a member, an own device that is live, or something open to vote on or to lift",
	ReasonPresent:      "nothing: change the role instead",
	ReasonNoRaise:      "a higher role than the present one",
	ReasonNoDrop:       "a lower role than the present one",
	ReasonReadmission:  "a manager or the root, who admits or signs too",
	ReasonSubject:      "others who sign; to go yourself, leave",
	ReasonInvite:       "an open invite, or another id for a new one",
	ReasonHost:         "one of the hosts that the invite lists, or a manager who admits without it",
	ReasonInviteRole:   "at most the invite's role, for the member that it is for",
	ReasonChain:        "the number after the device's last chain",
	ReasonEpoch:        "an epoch for this event and for the devices live after it",
	ReasonNotOwed:      "a loss that the last epoch does not cover, or a checkpoint",
	ReasonEquivocation: "a manager who lifts the suspension of the device",
	ReasonInviteUsed:   "a new invite",
	ReasonPending:      "a manager who endorses it",
	ReasonCancelled:    "a new invite",
	ReasonExpired:      "a new invite or certificate",
	ReasonCheckpoint:   "the number after the last settled checkpoint's",
	ReasonTime:         "a time not before the last checkpoint's",
	ReasonDigest:       "the digest of the state of its parents",
	ReasonContent:      "content within the cuts in force",
	ReasonQuarantine:   "the end of the quarantine, or a lift",
	ReasonVoter:        "a member whom somebody other than the target admitted as manager, or who has been here for long enough",
	ReasonRenewal:      "a manager",
	ReasonEnded:        "a new proposal",
	ReasonEndorse:      "admissions, grants or invites in its past that are void as late, pending or by equivocation",
	ReasonEnds:         "another identity",
	ReasonLift:         "the device's last event",
	ReasonRevocation:   "a record signed by the member's revocation key",
	ReasonSuperseded:   "the holders of the present root record",
	ReasonSuspended:    "an end to the fork of the root",
}

// Remedy says, for people, what an act that falls for this reason would need; "" where nothing helps.
func (r Reason) Remedy() string { return remedies[r] }

// none stands for no event where an index of one may stand.
const none = -1

// fault is why an event is void: the reason and the event that causes it, or none.
type fault struct {
	reason  Reason
	culprit int
}

func because(r Reason, culprit int) fault { return fault{reason: r, culprit: culprit} }
func simply(r Reason) fault               { return fault{reason: r, culprit: none} }

var fine = fault{culprit: none}

func (f fault) ok() bool { return f.reason == ReasonNone }

// stage is the step of replay in which an event was voided.
type stage uint8

const (
	counts      stage = iota
	stageLocal        // structure, late, or not allowed in its own past
	stageFork         // equivocation
	stageInvite       // rival or over-used invite
	stageStrip        // removed concurrently, or resting on what is void
)
