package governance

import "github.com/studio-whip/collab/identity"

// Equivocation returns an event that shows why a device is suspended: the second of its number, or a proof. ok is false if it
// is not.
func (l *Log) Equivocation(device identity.DeviceID) (shown EventID, ok bool) {
	v := l.viewNow()
	for _, ev := range v.h.evidence[device] {
		if i := v.unforgiven(device, ev, v.in); i != none {
			return v.h.entries[i].id, true
		}
	}
	return EventID{}, false
}
