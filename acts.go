package collab

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/membership"
)

// act does what this device's owner may do alone. What other managers must sign as well is proposed to them, and
// *[PendingError] says under which id.
func (s *Session) act(ctx context.Context, doing string, kind governance.Kind, body any, note string) error {
	id, err := s.membership.ProposeAct(ctx, kind, body, note)
	if err != nil {
		return s.denied(doing, err)
	}
	if !id.IsZero() {
		return s.pending(ProposalID(id))
	}
	return nil
}

// pending says for how many others a proposal waits.
func (s *Session) pending(id ProposalID) error {
	e := &PendingError{Proposal: id}
	for _, p := range s.proposals() {
		if p.ID == id {
			e.Needed = p.Needed
		}
	}
	return e
}

// actProposals are the acts that several managers, or several holders of the root, must sign.
type actProposals struct{ *Session }

func (a actProposals) open() []Proposal {
	var out []Proposal
	for _, x := range a.acts() {
		p, _ := actProposal(x)
		out = append(out, p)
	}
	return out
}

// acts leaves out what cannot be shown, as an admission by the root: nobody is to sign what he does not see.
func (a actProposals) acts() []membership.Act {
	return slices.DeleteFunc(a.membership.Acts(), func(x membership.Act) bool {
		_, shown := actProposal(x)
		return !shown
	})
}

func actProposal(x membership.Act) (p Proposal, shown bool) {
	p = Proposal{
		ID: ProposalID(x.ID), AsRoot: x.AsRoot, Target: x.Subject, By: x.By, Reason: x.Note, For: x.Approved,
		Needed: max(0, x.Needed-len(x.Approved)), Mine: x.Mine, Ends: x.Expires, Drops: x.Drops,
	}
	switch b := x.Body.(type) {
	case *governance.RoleGrant:
		p.Kind, p.Role = ProposalGrant, b.Role
	case *governance.RoleDrop:
		p.Kind, p.Role = ProposalDrop, b.Role
	case *governance.Revoke:
		p.Kind, p.Reason = ProposalRemoval, b.Reason
	case *governance.DeviceRemove:
		p.Kind, p.Device, p.Stolen = ProposalDeviceRemoval, b.Device, b.Stolen == 1
	case *governance.LiftQuarantine:
		p.Kind = ProposalLift
		if b.Device != nil {
			p.Kind, p.Device = ProposalDeviceLift, *b.Device
		}
	case *governance.Endorse:
		p.Kind, p.Events = ProposalEndorse, b.Events
	default:
		return Proposal{}, false
	}
	return p, true
}

func (a actProposals) vote(ctx context.Context, id ProposalID, approve bool, from []Custodian) (bool, error) {
	acts, me := a.acts(), a.node.self.Device.Member
	k := slices.IndexFunc(acts, func(x membership.Act) bool { return ProposalID(x.ID) == id })
	switch {
	case k < 0:
		return false, nil
	case approve && acts[k].AsRoot:
		return true, a.denied("sign as the root", a.membership.SignAct(ctx, acts[k].ID, from))
	case approve:
		return true, a.denied("agree to a proposal", a.membership.ApproveAct(ctx, acts[k].ID))
	case slices.Contains(acts[k].Approved, me):
		return true, a.denied("take an agreement back", a.membership.WithdrawAct(ctx, acts[k].ID))
	}
	return true, wrap("put a proposal away", a.membership.DeclineAct(acts[k].ID))
}

// Late returns the admissions, role grants and invites that count for nothing because they came too late, were used by too many
// at once, or stood beside an equivocation, although those who made them might do so: [Session.Endorse] brings them back,
// [Session.Explain] says why each is void. It is empty for who is no manager.
func (s *Session) Late() []EventID { return s.membership.Late() }

// Endorse brings acts of [Session.Late] back, at most 16, as if this device's owner made them now. What names a manager
// needs as many managers as ever: *[PendingError] says that it waits for others. It fails with *[DeniedError], and [ErrDenied],
// if one of them cannot be brought back, with [ErrNoChange] if none is named, with [ErrTooLarge] if too many are, or with
// [ErrUnreachable].
func (s *Session) Endorse(ctx context.Context, events ...EventID) error {
	if err := s.alive(); err != nil {
		return err
	}
	body, err := endorsement(events)
	if err != nil {
		return wrap("endorse", err)
	}
	return s.act(ctx, "endorse", governance.KindEndorse, body, "")
}

func endorsement(events []EventID) (*governance.Endorse, error) {
	switch {
	case len(events) == 0:
		return nil, fmt.Errorf("%w: no event is named", ErrNoChange)
	case len(events) > governance.MaxEndorsed:
		return nil, fmt.Errorf("%w: %d events, at most %d at a time", ErrTooLarge, len(events), governance.MaxEndorsed)
	}
	return &governance.Endorse{Events: wire.SortIDs(slices.Clone(events))}, nil
}

// What governance asks of the documents. Until the session is up there is no answer, and it asks again.

var errNotUp = errors.New("collab: the session is not up yet")

func (s *Session) cutsOf(who MemberID) ([]governance.Cut, error) {
	if !s.started.Load() {
		return nil, errNotUp
	}
	return s.journal.Cuts(who)
}

func (s *Session) settledContent(ctx context.Context) ([]governance.Cut, error) {
	if !s.started.Load() {
		return nil, errNotUp
	}
	return s.journal.Content(ctx)
}

func (s *Session) countsHere(c governance.Cut) bool { return s.started.Load() && s.journal.Counts(c) }
