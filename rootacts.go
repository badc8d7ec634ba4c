package collab

import (
	"fmt"

	"github.com/studio-whip/collab/governance"
)

// What the root does in place of managers: for a project whose managers are gone or cannot agree. It needs no manager, and
// no role of its caller. If the root has several holders, each act is signed with this one's key and proposed to the others,
// as [Session.SetRole] is to managers: *[PendingError] says under which id. They see it in [Session.Proposals] and sign it by [Session.Vote]; it comes about
// on the device on which it was proposed, the next time that it is online after enough have signed. A device proposes one act at a time: the next one that it makes, of
// any kind, ends an earlier one that still waits. So does, for what gives something to somebody, a checkpoint; for all, a change of the root, or
// of the standing of whom it is about. Propose it again then.

// SetRole is [Session.SetRole] on the root's authority. It fails with [ErrNoChange], with [ErrDenied] if the caller's key is not of the version of the root that
// counts, with [ErrRootFork], or with [ErrUnreachable] if this device lacks a part of the root's history.
func (a *Authority) SetRole(who MemberID, r Role) error {
	kind, body, err := a.session.roleChange(who, r)
	return a.act(fmt.Sprintf("give %s the role %s as the root", who.Short(), r), kind, body, err)
}

// Revoke is [Session.Revoke] on the root's authority. It fails as [Authority.SetRole].
func (a *Authority) Revoke(who MemberID, reason string) error {
	body, err := a.session.removal(who, reason)
	return a.act("remove "+who.Short()+" as the root", governance.KindRevoke, body, err)
}

// RemoveDevice is [Session.RemoveDevice] on the root's authority. It fails as [Authority.SetRole].
func (a *Authority) RemoveDevice(id DeviceID, stolen bool) error {
	body, err := a.session.deviceRemoval(id, stolen)
	return a.act("remove device "+id.Short()+" as the root", governance.KindDeviceRemove, body, err)
}

// LiftQuarantine is [Session.LiftQuarantine] on the root's authority. It fails as [Authority.SetRole], or with
// [ErrNoProposal].
func (a *Authority) LiftQuarantine(who MemberID) error {
	var err error
	if len(a.session.ballots(who)) == 0 {
		err = ErrNoProposal
	}
	return a.act("end the quarantine of "+who.Short()+" as the root", governance.KindLiftQuarantine, &governance.LiftQuarantine{Member: &who}, err)
}

// LiftSuspension is [Session.LiftSuspension] on the root's authority. It fails as [Authority.SetRole].
func (a *Authority) LiftSuspension(id DeviceID) error {
	body, err := a.session.suspensionLift(id)
	return a.act("lift the suspension of device "+id.Short()+" as the root", governance.KindLiftQuarantine, body, err)
}

// Endorse is [Session.Endorse] on the root's authority. It fails as [Authority.SetRole].
func (a *Authority) Endorse(events ...EventID) error {
	body, err := endorsement(events)
	return a.act("endorse as the root", governance.KindEndorse, body, err)
}

// act makes an act, or proposes it to the other holders, unless something forbids it already.
func (a *Authority) act(doing string, kind governance.Kind, body any, forbidden error) error {
	s := a.session
	if err := s.alive(); err != nil {
		return err
	}
	if forbidden != nil {
		return wrap(doing, forbidden)
	}
	id, err := s.membership.ProposeAsRoot(s.node.life, kind, body, "", a)
	if err == nil && !id.IsZero() {
		return s.pending(ProposalID(id))
	}
	return s.denied(doing, err)
}
