package collab

import (
	"context"
	"fmt"

	"github.com/studio-whip/collab/governance"
)

// SetRole gives a member another role, higher or lower. A manager decides on editors and viewers; naming or lowering a
// manager needs the manager quorum: if others have to agree it is proposed to them, and *[PendingError] says so, as by
// [Session.Revoke]. Who becomes a viewer goes on reading, and what he wrote stays as far as it has arrived here;
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
	return s.act(ctx, doing, kind, body, "")
}

// roleChange is the act that gives a member a role.
func (s *Session) roleChange(who MemberID, r Role) (governance.Kind, any, error) {
	switch now := s.membership.State().Role(who); {
	case now == r && r != governance.None:
		return 0, nil, fmt.Errorf("%w: that is the role", ErrNoChange)
	case now < r || now == governance.None:
		return governance.KindRoleGrant, &governance.RoleGrant{Member: who, Role: r}, nil
	}
	return governance.KindRoleDrop, &governance.RoleDrop{Member: who, Role: r}, nil
}
