package governance

import (
	"fmt"
	"iter"

	"github.com/studio-whip/collab/identity"
)

// Explanation says why an event counts, or why not.
type Explanation struct {
	Counts    bool
	Contested bool    // it counts although its device equivocated, as others had built on it: people should look
	Reason    Reason  // ReasonNone if it counts
	Because   string  // the reason, for people
	Culprit   EventID // the event that causes it, zero if none does
}

// Explain says whether an event counts in the state of all events, and why. It fails with [ErrUnknownEvent].
func (l *Log) Explain(id EventID) (Explanation, error) {
	i, ok := l.h.byID[id]
	if !ok {
		return Explanation{}, fmt.Errorf("governance: explain: %w: %s", ErrUnknownEvent, id.Short())
	}
	return l.h.explain(i, l.h.verdictNow(l.h.maximal(l.heads))), nil
}

func (h *history) explain(i int, v *verdict) Explanation {
	_, f := v.why(h, i)
	x := Explanation{Counts: f.ok(), Contested: f.ok() && v.contested.has(i), Reason: f.reason, Because: f.reason.String()}
	if x.Contested {
		x.Because = "it counts: others had built on it before its device was seen to sign two events of one number"
	}
	if f.culprit != none {
		x.Culprit = h.entries[f.culprit].id
	}
	return x
}

// AuditEntry is one line of the project's history.
type AuditEntry struct {
	ID      EventID
	Event   *Event
	Kind    Kind
	Device  identity.DeviceID // author
	Member  identity.MemberID // whose device it is
	Subject identity.MemberID // whom it is about; zero if nobody
	RootAct bool              // on the root holders' authority
	Explanation
}

// Audit iterates the events taken after the given one (zero: all) in the order in which they were taken, which
// respects causality, each with its standing in the state of all events. Of an event that the log does not hold
// nothing follows.
func (l *Log) Audit(after EventID) iter.Seq[AuditEntry] {
	return func(yield func(AuditEntry) bool) {
		from, ok := l.h.byID[after]
		if !ok && !after.IsZero() {
			return
		}
		v := l.h.verdictNow(l.h.maximal(l.heads))
		for i := from + 1; i < len(l.h.entries); i++ {
			e := l.h.entries[i]
			if !yield(AuditEntry{
				ID: e.id, Event: e.event, Kind: e.kind, Device: e.device, Member: e.author, Subject: e.subject,
				RootAct: e.rootAct, Explanation: l.h.explain(i, v),
			}) {
				return
			}
		}
	}
}
