package collab

import "context"

// Compact drops signatures of the governance history that are not needed any more, which are most of its bytes, and returns
// how many events lost theirs. It concerns what happened before the checkpoint 24 before the newest: the managers who signed
// that one are trusted from then on that the signatures were good, by this device and by newcomers who get the history from
// it. What counts, who is a member and every event's id stay what they were and are still verified. A project that may
// have to show its whole signed history to others, by [Session.ExportAudit], should not call it, or on some devices only:
// signatures do not come back here, and an [AuditReport] counts the events without. Other members' devices keep theirs.
func (s *Session) Compact(ctx context.Context) (events int, err error) {
	if err := s.alive(); err != nil {
		return 0, err
	}
	events, err = s.membership.Compact(ctx)
	return events, wrap("compact", err)
}
