package collab

import (
	"context"
	"slices"
)

// Mute shows no more of what a member writes from now on, or, with on false, everything again. It is private and immediate:
// it changes what this device shows, and nothing for anybody else, the member included. It survives a restart. Where another
// member writes beside such text, the text is shown up to there, so that nobody else's work is lost from sight.
//
// Where the text disappears or comes back in great amounts documents are made anew, as after a removal. It fails with
// [ErrDenied] for this device's owner and for who never was a member, with [ErrClosed], [ErrRevoked] or [ErrLeft].
func (s *Session) Mute(ctx context.Context, who MemberID, on bool) error {
	if err := s.alive(); err != nil {
		return err
	}
	const doing = "mute"
	if err := s.journal.Mute(who, on); err != nil {
		return wrap(doing, err)
	}
	return wrap(doing, s.journal.WaitSaved(ctx))
}

// Muted reports whether the owner of this device has muted a member.
func (s *Session) Muted(who MemberID) bool { return slices.Contains(s.journal.Muted(), who) }
