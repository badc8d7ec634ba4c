package collab

import (
	"context"
	"fmt"
	"iter"

	"github.com/studio-whip/collab/governance"
)

// Device is one device of a member.
type Device struct {
	ID        DeviceID
	Owner     MemberID
	This      bool // the device on which this program runs
	Suspended bool // it signed two acts in one place: it decides nothing until that is lifted, see Session.LiftSuspension
}

// Devices yields the devices that have a place in the project, ascending by ID.
func (s *Session) Devices() iter.Seq[Device] {
	return func(yield func(Device) bool) {
		for _, d := range s.membership.State().Devices() {
			if !yield(Device{ID: d.ID, Owner: d.Member, This: d.ID == s.node.self.Device.ID, Suspended: d.Suspended}) {
				return
			}
		}
	}
}

// LiftSuspension gives a device its say back. A device that has signed two different acts in one place, which a program that was
// changed or a store that was set back does, is suspended everywhere by itself: it reads and writes, but no act of its counts but
// those that take something away. [SecurityAlert] tells of it, with [AlertEquivocation].
//
// Find out first what happened: if the device was stolen, [Session.Revoke] its owner. Lifting it takes a manager, of a manager's device the manager quorum
// without its owner, who are asked (*[PendingError]); of a device that is not a manager's, another device of its owner will do. It fails with [ErrNoChange] if the device is not
// suspended, or with *[DeniedError], and [ErrDenied], that says what would be needed.
func (s *Session) LiftSuspension(ctx context.Context, id DeviceID) error {
	if err := s.alive(); err != nil {
		return err
	}
	doing := "lift the suspension of device " + id.Short()
	body, err := s.suspensionLift(id)
	if err != nil {
		return wrap(doing, err)
	}
	return s.act(ctx, doing, governance.KindLiftQuarantine, body, "")
}

func (s *Session) suspensionLift(id DeviceID) (*governance.LiftQuarantine, error) {
	if d, ok := s.membership.State().Device(id); ok && !d.Suspended {
		return nil, fmt.Errorf("%w: it is not suspended", ErrNoChange)
	}
	return &governance.LiftQuarantine{Device: &id}, nil
}

// RemoveDevice ends one device's access: what [Session.Revoke] is for a member, with all that is said there of keys and edits.
// stolen says that it was in other hands: acts of its that nobody had heard of fall as well, unless others have built on them.
// A manager removes the device of an editor or a viewer, several managers that of a manager, who are asked (*[PendingError]),
// and everybody their own other devices.
//
// As long as a member has one device only, they stay in the list without a way in: [Session.Revoke] them, and invite who comes with a
// new machine. For this device there is [Session.Leave]. It fails with [ErrNoChange] if the device has no place in the project, or
// with *[DeniedError], and [ErrDenied], that says what would be needed.
func (s *Session) RemoveDevice(ctx context.Context, id DeviceID, stolen bool) error {
	if err := s.alive(); err != nil {
		return err
	}
	doing := "remove device " + id.Short()
	body, err := s.deviceRemoval(id, stolen)
	if err != nil {
		return wrap(doing, err)
	}
	return s.act(ctx, doing, governance.KindDeviceRemove, body, "")
}

func (s *Session) deviceRemoval(id DeviceID, stolen bool) (*governance.DeviceRemove, error) {
	if d, ok := s.membership.State().Device(id); !ok || !d.Live {
		return nil, fmt.Errorf("%w: it has no place in the project", ErrNoChange)
	}
	if id == s.node.self.Device.ID {
		return nil, &DeniedError{Kind: governance.KindDeviceRemove, Reason: governance.ReasonSubject}
	}
	body := &governance.DeviceRemove{Device: id}
	if stolen {
		body.Stolen = 1
	}
	return body, nil
}

// devicesChanged tells of devices that were caught signing two things in one place.
func (s *Session) devicesChanged(before, after *governance.State) {
	for _, d := range after.Devices() {
		if was, ok := before.Device(d.ID); !d.Suspended || ok && was.Suspended {
			continue
		}
		alert := SecurityAlert{
			Kind: AlertEquivocation, Who: d.Member, Detail: fmt.Sprintf("device %s signed two acts in one place; it is suspended", d.ID.Short()),
		}
		s.membership.View(func(log *governance.Log) { alert.Event, _ = log.Equivocation(d.ID) })
		s.sendAlert(alert)
	}
}

// tellUnlawful tells of acts that no program which keeps the rules would have signed.
func (s *Session) tellUnlawful(added []EventID) {
	var alerts []SecurityAlert
	s.membership.View(func(log *governance.Log) {
		for _, id := range added {
			reason, unlawful := log.Unlawful(id)
			if !unlawful {
				continue
			}
			e := log.Get(id)
			alert := SecurityAlert{Kind: AlertUnlawfulAct, Event: id, Detail: fmt.Sprintf("%v by device %s: %v", e.Kind, e.Device.Short(), reason)}
			if d, ok := log.State().Device(e.Device); ok {
				alert.Who = d.Member
			}
			alerts = append(alerts, alert)
		}
	})
	for _, a := range alerts {
		s.sendAlert(a)
	}
}

func (s *Session) sendAlert(a SecurityAlert) {
	s.log.Warn("collab: "+a.Kind.String(), "member", a.Who.Short(), "event", a.Event.Short(), "detail", a.Detail)
	s.troubles.note(s.node.cfg.now(), "alert: "+a.Kind.String(), nil)
	s.events.Send(a)
}
