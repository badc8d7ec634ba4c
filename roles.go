package collab

import (
	"context"
	"fmt"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/sync/membership"
)

// SetRole gives a member another role, higher or lower. A manager decides on editors and viewers; naming or lowering a
// manager needs the manager quorum. Who becomes a viewer goes on reading, and what he wrote stays as far as it has arrived here;
// later edits of his count nowhere. Lowering takes no key away, so that none is replaced.
//
// It fails with [ErrNoChange] if the member has the role already; with *[DeniedError], and [ErrDenied], that says which rule
// stands in the way and what would be needed; or with [ErrUnreachable] if this device has to meet another member first. To end
// a membership use [Session.Revoke], or [Session.Leave] for one's own.
func (s *Session) SetRole(ctx context.Context, who MemberID, r Role) error {
	if err := s.alive(); err != nil {
		return err
	}
	doing := fmt.Sprintf("give %s the role %s", who.Short(), r)
	kind, body, err := s.roleChange(who, r)
	if err != nil {
		return wrap(doing, err)
	}
	_, err = s.membership.Propose(ctx, kind, body)
	return s.denied(doing, err)
}

// roleChange is the act that gives a member a role.
func (s *Session) roleChange(who MemberID, r Role) (governance.Kind, any, error) {
	switch now := s.membership.State().Role(who); {
	case now == r && r != governance.None:
		return 0, nil, fmt.Errorf("%w: that is the role", ErrNoChange)
	case now < r || now == governance.None:
		return governance.KindRoleGrant, &governance.RoleGrant{Member: who, Role: r}, nil
	case r >= RoleEditor:
		return governance.KindRoleDrop, &governance.RoleDrop{Member: who, Role: r}, nil
	}
	cuts, err := s.journal.Cuts(who)
	return governance.KindRoleDrop, &governance.RoleDrop{Member: who, Role: r, Cuts: cuts}, err
}

// SetRole gives a member another role by the root's authority, as [Session.SetRole] does by a manager's: also to or from
// manager, and when there is no manager any more. This device only carries the act. A root of several holders acts by as many of
// them as its threshold says; one alone fails with *[DeniedError].
func (a *Authority) SetRole(who MemberID, r Role) error {
	s := a.session
	if err := s.alive(); err != nil {
		return err
	}
	doing := fmt.Sprintf("give %s the role %s by the root", who.Short(), r)
	kind, body, err := s.roleChange(who, r)
	if err != nil {
		return wrap(doing, err)
	}
	_, err = s.membership.Propose(s.node.life, kind, body, governance.WithHolders(a.Authority))
	return wrap(doing, err)
}

// Revoke removes a member by the root's authority, as [Session.Revoke] does by a manager's, and managers too.
func (a *Authority) Revoke(who MemberID, reason string) error {
	s := a.session
	if err := s.alive(); err != nil {
		return err
	}
	doing := "remove " + who.Short() + " by the root"
	if err := checkReason(reason); err != nil {
		return wrap(doing, err)
	}
	cuts, err := s.journal.Cuts(who)
	if err != nil {
		return wrap(doing, err)
	}
	removal := membership.Removal{Member: who, Cuts: cuts, Reason: reason, Notify: true}
	_, err = s.membership.Remove(s.node.life, removal, governance.WithHolders(a.Authority))
	return wrap(doing, err)
}
