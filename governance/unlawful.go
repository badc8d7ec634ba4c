package governance

// Unlawful reports whether an event is forbidden by what its own author knew, and why: no program that keeps the rules signs
// such a one, as [Log.Propose] refuses it. Events that fell to what others did beside them are not among these, nor are those of kinds
// that this build does not know, nor acts of a root that has moved on.
func (l *Log) Unlawful(id EventID) (Reason, bool) {
	i, ok := l.h.byID[id]
	if !ok || i == 0 {
		return ReasonNone, false
	}
	switch r := l.h.entries[i].own.reason; r {
	case ReasonNone, ReasonKind, ReasonSuperseded, ReasonSuspended:
		return ReasonNone, false
	default:
		return r, true
	}
}
