package collab

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/sync/membership"
)

// Bounds of an invite.
const (
	defaultInviteLife = 72 * time.Hour
	maxInviteLife     = 30 * 24 * time.Hour
	maxInviteUses     = 1000
)

// Invite returns a code that lets its holder in, by default once, as an editor, within 72 hours. Whoever holds the code
// can use it: send it by a way that you trust, and log it nowhere. Only managers invite; others get *[DeniedError], and
// [ErrDenied].
//
// The code names this device's addresses, so this node must be running and reachable when it is used.
func (s *Session) Invite(ctx context.Context, o InviteOptions) (code string, err error) {
	if err := s.alive(); err != nil {
		return "", err
	}
	if err := s.mayInvite(); err != nil {
		return "", wrap("invite", err)
	}
	if o.Role == governance.None {
		o.Role = RoleEditor
	}
	if o.Expires == 0 {
		o.Expires = defaultInviteLife
	}
	if o.Uses == 0 {
		o.Uses = 1
	}
	if o.Expires < 0 || o.Expires > maxInviteLife {
		return "", fmt.Errorf("collab: invite: expires after %s; choose between nothing (72 h) and %s", o.Expires, maxInviteLife)
	}
	if o.Uses < 0 || o.Uses > maxInviteUses {
		return "", fmt.Errorf("collab: invite: %d uses; choose between 1 and %d", o.Uses, maxInviteUses)
	}
	if o.Approve && s.node.cfg.joinPolicy == nil {
		return "", errors.New("collab: invite: Approve asks a person, but this node has nobody to ask; open it with WithJoinPolicy")
	}
	code, err = s.membership.CreateInvite(ctx, membership.InviteOptions{
		Role: o.Role, Expires: o.Expires, Uses: o.Uses, Approve: o.Approve, Compact: o.Compact,
	})
	return code, s.denied("invite", err)
}

// mayInvite says early what no option could change.
func (s *Session) mayInvite() error {
	st := s.membership.State()
	denied := &DeniedError{Kind: governance.KindInviteCreate}
	switch d, ok := st.Device(s.node.self.Device.ID); {
	case st.Role(s.node.self.Device.Member) < RoleManager:
		denied.Reason, denied.Role = governance.ReasonRole, RoleManager
	case ok && d.Suspended:
		denied.Reason = governance.ReasonEquivocation
	default:
		return nil
	}
	return denied
}

// CancelInvite makes a code worthless at every host that hears of it. Whoever was admitted by it stays. It fails with
// [ErrInviteInvalid] if the code is not of this project, or [ErrDenied].
func (s *Session) CancelInvite(ctx context.Context, code string) error {
	if err := s.alive(); err != nil {
		return err
	}
	return s.denied("cancel invite", s.membership.CancelInvite(ctx, code))
}

// Revoke ends a member's access on all devices, for good: they come back through a new invite only. The act carries a new
// project key, which the removed does not get, and names the last edit of each of the removed's devices that has arrived
// here: those edits and what lies before them stay, whenever they reach others; later ones count nowhere and
// disappear where they were shown. The removed keeps what they have read. reason is signed history that every member
// can read, the removed too; at most 512 bytes.
//
// It returns when the removal is saved. Members who are connected learn of it at once, others when they connect, and
// everybody closes the connections of the removed then. It needs a manager, and two of them to remove a manager: then it
// is proposed to the others, and *[PendingError] says so. They agree with [Session.Vote], and it comes about by itself when the
// devices of enough of them meet, within a week. Any other
// error is a *[DeniedError], and [ErrDenied], that says which rule stands in the way and what would be needed: nobody
// removes themselves, and who is no member cannot be removed. [ErrTooLarge] is about the reason, and [ErrUnreachable]
// means that this device has to meet another member first.
func (s *Session) Revoke(ctx context.Context, who MemberID, reason string) error {
	if err := s.alive(); err != nil {
		return err
	}
	doing := "remove " + who.Short()
	body, err := s.removal(who, reason)
	if err != nil {
		return wrap(doing, err)
	}
	return s.act(ctx, doing, governance.KindRevoke, body, "")
}

// removal is the act that removes a member; the removed may be told why.
func (s *Session) removal(who MemberID, reason string) (*governance.Revoke, error) {
	if err := checkReason(reason); err != nil {
		return nil, err
	}
	if err := s.removable(who); err != nil {
		return nil, err
	}
	return &governance.Revoke{Member: who, Reason: reason, Notify: 1}, nil
}

// removable says early what no signature could change.
func (s *Session) removable(who MemberID) error {
	denied := &DeniedError{Kind: governance.KindRevoke}
	switch {
	case who == s.node.self.Device.Member:
		denied.Reason = governance.ReasonSubject
	case s.membership.State().Role(who) == governance.None:
		denied.Reason = governance.ReasonAbsent
	default:
		return nil
	}
	return denied
}

// Audit yields the signed governance events after the given one (zero: from the first) in an order that respects
// causality. The error is [ErrClosed], alone and once.
func (s *Session) Audit(after EventID) iter.Seq2[AuditEntry, error] {
	return func(yield func(AuditEntry, error) bool) {
		if err := s.readable(); err != nil {
			yield(AuditEntry{}, err)
			return
		}
		var entries []governance.AuditEntry
		s.membership.View(func(log *governance.Log) {
			for e := range log.Audit(after) {
				entries = append(entries, e)
			}
		})
		names := s.names()
		for _, e := range entries {
			if !yield(auditEntry(e, names), nil) {
				return
			}
		}
	}
}

// Explain says whether an event counts, why not, and which other event voids it.
func (s *Session) Explain(id EventID) (Explanation, error) {
	if err := s.readable(); err != nil {
		return Explanation{}, err
	}
	var (
		x   Explanation
		err error
	)
	s.membership.View(func(log *governance.Log) { x, err = log.Explain(id) })
	return x, wrap("explain event", err)
}

// names maps members to what they call themselves.
func (s *Session) names() map[MemberID]string {
	names := map[MemberID]string{}
	for _, m := range s.membership.State().Members() {
		names[m.ID] = m.Cert.Display
	}
	return names
}

func auditEntry(e governance.AuditEntry, names map[MemberID]string) AuditEntry {
	out := AuditEntry{ID: e.ID, By: e.Member, Kind: e.Kind.String(), Counts: e.Counts, Raw: e.Event.Raw}
	if e.Event.THint != nil {
		out.Time = time.Unix(int64(*e.Event.THint), 0)
	}
	out.Summary = summary(e, names)
	if !e.Counts {
		out.Summary += " (void: " + e.Because + ")"
	}
	return out
}

// summary says in words what an event does.
func summary(e governance.AuditEntry, names map[MemberID]string) string {
	name := func(id MemberID) string {
		if n, ok := names[id]; ok {
			return n
		}
		return id.Short()
	}
	by := name(e.Member)
	body, err := governance.DecodeBody(e.Event)
	if err != nil {
		return fmt.Sprintf("%s: an act of kind %d that this build does not know", by, e.Kind)
	}
	switch b := body.(type) {
	case *governance.KeyEpoch:
		return by + " minted a new project key"
	case *governance.InviteCreate:
		return fmt.Sprintf("%s invited %d %s(s)", by, b.MaxUses, b.Role)
	case *governance.InviteRevoke:
		return by + " cancelled an invite"
	case *governance.Admit:
		who := "somebody"
		if cert, err := identity.ParseIdentityCert(b.Identity); err == nil {
			who = cert.Display
		}
		return fmt.Sprintf("%s admitted %s as %s", by, who, b.Role)
	case *governance.RoleGrant:
		return fmt.Sprintf("%s made %s %s", by, name(b.Member), b.Role)
	case *governance.RoleDrop:
		return fmt.Sprintf("%s lowered %s to %s", by, name(b.Member), b.Role)
	case *governance.Revoke:
		return fmt.Sprintf("%s removed %s: %s", by, name(b.Member), b.Reason)
	case *governance.DeviceRemove:
		what := "a device"
		if b.Stolen == 1 {
			what = "a stolen device"
		}
		return fmt.Sprintf("%s removed %s of %s", by, what, name(e.Subject))
	case *governance.Leave:
		return by + " left"
	case *governance.ChainOpen:
		return fmt.Sprintf("%s opened chain %d", by, b.ChainNo)
	case *governance.KeyUpdate:
		return by + " renewed the key to which secrets are sealed"
	case *governance.Carry:
		who := name(e.Subject)
		if who == by {
			return by + " ended the own identity"
		}
		return fmt.Sprintf("%s ended the identity of %s, by its own revocation key", by, who)
	case *governance.Checkpoint:
		return fmt.Sprintf("%s settled the history, checkpoint %d", by, b.Number)
	case *governance.FrontierExtend:
		return fmt.Sprintf("%s let more of %d chain(s) count", by, len(b.Cuts))
	case *governance.Endorse:
		return fmt.Sprintf("%s endorsed %d earlier act(s)", by, len(b.Events))
	case *governance.EquivocationProof:
		return by + " showed that a device signed two things in one place"
	case *governance.QuarantinePropose:
		return fmt.Sprintf("%s asked to hold back %s: %s", by, name(b.Member), b.Reason)
	case *governance.QuarantineVote:
		if b.Withdraw == 1 {
			return by + " took back a vote for a quarantine"
		}
		return by + " voted for a quarantine"
	case *governance.LiftQuarantine:
		if b.Device != nil {
			return fmt.Sprintf("%s lifted the suspension of a device of %s", by, name(e.Subject))
		}
		return fmt.Sprintf("%s asked to end, or ended, the quarantine of %s", by, name(*b.Member))
	}
	return by + ": " + e.Kind.String()
}

// policy asks the host's person; nil admits everybody who holds a valid invite.
func (c *config) policy() membership.JoinPolicy {
	if c.joinPolicy == nil {
		return nil
	}
	return func(ctx context.Context, r membership.JoinRequest) error {
		return c.joinPolicy(ctx, JoinRequest{Identity: identityOf(r.Identity), Words: r.Words})
	}
}
