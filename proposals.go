package collab

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"time"

	"github.com/studio-whip/collab/genesis"
)

// ProposalID names a proposal: for one of the root, the id of the record that it will be; for a quarantine, the event that
// proposed it.
type ProposalID [32]byte

// ProposalKind is what a [Proposal] is about.
type ProposalKind uint8

// Kinds of proposals.
const (
	ProposalRoot          ProposalKind = iota + 1 // another root record
	ProposalQuarantine                            // to hold back what a member sends: Session.ProposeQuarantine
	ProposalLift                                  // to end a quarantine: Session.LiftQuarantine
	ProposalGrant                                 // a role that several managers must give: Session.SetRole
	ProposalDrop                                  // a lower role for a manager: Session.SetRole
	ProposalRemoval                               // a manager's removal: Session.Revoke
	ProposalEndorse                               // to bring back what made somebody a manager too late: Session.Endorse
	ProposalDeviceRemoval                         // of one device of a manager
	ProposalDeviceLift                            // of the suspension of a manager's device
)

var proposalNames = map[ProposalKind]string{
	ProposalRoot: "change of the root", ProposalQuarantine: "quarantine", ProposalLift: "end of a quarantine",
	ProposalGrant: "higher role", ProposalDrop: "lower role", ProposalRemoval: "removal",
	ProposalEndorse: "endorsement", ProposalDeviceRemoval: "removal of a device", ProposalDeviceLift: "end of a device's suspension",
}

// String names the kind for people.
func (k ProposalKind) String() string {
	if name, ok := proposalNames[k]; ok {
		return name
	}
	return "unknown proposal"
}

// Proposal is an act that waits for others. What is shown here is what is signed.
type Proposal struct {
	ID      ProposalID
	Kind    ProposalKind
	AsRoot  bool       // it is done on the root's authority: its holders sign it, with their root keys
	Target  MemberID   // whom it is about; zero for the root
	Role    Role       // that he would have, if it is about a role
	Device  DeviceID   // of his, if it is about one device
	Stolen  bool       // that device is said to have been in other hands: what nobody had heard of from it would fall as well
	Reason  string     // for people
	By      MemberID   // who proposed it, or of the root's holders who signed it
	For     []MemberID // who has signed or voted, as far as it counts
	Needed  int        // signatures or votes that are missing; of the root, those of present holders
	InForce bool       // a quarantine that has its votes: it holds, and more may support it
	Mine    bool       // it waits for this device's owner: see Session.Vote
	Ends    time.Time  // afterwards nobody signs it any more, and a quarantine is over
	Events  []EventID  // that it would bring back
	Drops   uint64     // of a removal by the root: edits and messages of the target, kept here since, that would count no more

	Holders   []MemberID // of the root: who will hold it
	Threshold int        // of the root: how many of them must sign then
	Waiting   []MemberID // of the root: future holders who have not signed yet
}

// proposals is one kind of act that waits for others.
type proposals interface {
	// open lists what this device knows.
	open() []Proposal
	// vote supports a proposal or takes the support back; known is false if it is none of these.
	vote(ctx context.Context, p ProposalID, approve bool, from []Custodian) (known bool, err error)
}

// proposing lists what can be proposed, in the order in which a person is shown it.
func (s *Session) proposing() []proposals {
	return []proposals{rootProposals{s}, quarantines{s}, actProposals{s}}
}

// Proposals yields the open proposals that this device knows.
func (s *Session) Proposals() iter.Seq[Proposal] {
	return func(yield func(Proposal) bool) {
		for _, p := range s.proposals() {
			if !yield(p) {
				return
			}
		}
	}
}

func (s *Session) proposals() []Proposal {
	var out []Proposal
	for _, of := range s.proposing() {
		out = append(out, of.open()...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(out, func(p Proposal) bool { return s.aside[p.ID] })
}

// Vote supports a proposal: it signs what [Proposal] shows. Once nothing is missing it is in force everywhere, without
// anybody doing more. With approve false a vote that was given for a quarantine, or for what several managers or holders of the root must
// sign, is taken back; any other proposal is put away here, and not shown again while the session lives: others are not told.
//
// The root, and what is done on its authority ([Proposal.AsRoot]), is signed with the owner's root key, whose shares are asked of from: the custodians of the key that the owner
// holds, of the one that he has offered, or of both. Such a signature is out once it is given: programs that keep to it heed that it is taken back, a changed one of
// who proposed the act need not. Other proposals are signed by this device, and from is not looked at.
//
// It fails with [ErrNoProposal], also for one whose time is over or which was taken back; with [ErrDenied], which says what would
// be needed, if the owner has no say in it or has signed another root proposal that this one does not withdraw, as a
// *[DeniedError] unless it is of the root; with [ErrQuarantined]; or with *[QuorumError].
func (s *Session) Vote(ctx context.Context, p ProposalID, approve bool, from ...Custodian) error {
	if err := s.alive(); err != nil {
		return err
	}
	for _, of := range s.proposing() {
		if known, err := of.vote(ctx, p, approve, slices.Clone(from)); known {
			return err
		}
	}
	return fmt.Errorf("%w: vote on %x", ErrNoProposal, p[:4])
}

// putAside hides a proposal on this device.
func (s *Session) putAside(p ProposalID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aside[p] = true
}

// tellProposals tells of what was proposed, signed or voted on since it last did.
func (s *Session) tellProposals() {
	told := map[ProposalID]Proposal{}
	for _, p := range s.proposals() {
		seen := p
		seen.Drops = 0 // it grows with whatever the target writes
		told[p.ID] = seen
		if was, ok := s.proposed[p.ID]; !ok || !reflect.DeepEqual(was, seen) {
			s.events.Send(ProposalChanged{Proposal: p})
		}
	}
	for id, was := range s.proposed {
		if _, open := told[id]; !open {
			s.events.Send(ProposalChanged{Proposal: was, Gone: true})
		}
	}
	s.proposed = told
}

// rootProposals are those of the next root record.
type rootProposals struct{ *Session }

func (r rootProposals) open() []Proposal {
	var out []Proposal
	for _, x := range r.membership.RootProposals() {
		p := Proposal{
			ID: ProposalID(x.ID), Kind: ProposalRoot, Reason: x.Next.Reason, Threshold: int(x.Next.Policy.Threshold),
			By: x.By, For: x.Signed, Waiting: x.Now, Needed: x.Before, Mine: x.Mine, Ends: x.Expires,
		}
		for _, h := range x.Next.Holders {
			p.Holders = append(p.Holders, h.Member)
		}
		out = append(out, p)
	}
	return out
}

func (r rootProposals) vote(ctx context.Context, p ProposalID, approve bool, from []Custodian) (bool, error) {
	known := slices.ContainsFunc(r.open(), func(x Proposal) bool { return x.ID == p })
	if !known {
		return false, nil
	}
	if !approve {
		return true, wrap("put a proposal away", r.membership.DeclineRoot(genesis.RootID(p)))
	}
	return true, wrap("sign a proposal", r.membership.SignRoot(ctx, genesis.RootID(p), from))
}
