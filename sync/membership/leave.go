package membership

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
)

// Leave ends this device's owner's membership on all their devices, with the last envelopes of their chains, and tells the
// members who are connected, for at most farewellTime. told is how many of them have confirmed it: nobody else hears of it
// from this device any more, as it has no place in the project then. It fails as Propose does.
func (p *Project) Leave(ctx context.Context, cuts []governance.Cut) (told int, err error) {
	return p.depart(ctx, governance.KindLeave, governance.Leave{Cuts: cuts})
}

// EndSelf is Leave by the owner's own revocation, which also keeps whoever has stolen the identity's keys from acting.
func (p *Project) EndSelf(ctx context.Context, r *governance.SelfRevoke, cuts []governance.Cut) (told int, err error) {
	return p.depart(ctx, governance.KindCarry, governance.Carry{SelfRevoke: r.Raw, Cuts: cuts})
}

func (p *Project) depart(ctx context.Context, kind governance.Kind, body any) (told int, err error) {
	id, err := p.Propose(ctx, kind, body)
	if err != nil {
		return 0, err
	}
	host := p.reg.transport()
	if host == nil {
		return 0, nil
	}
	heard, asked := make(chan bool), 0
	for _, x := range host.Connected() {
		if x.Class != p2p.Member || !p.allowed(x.Device) {
			continue
		}
		device := x.Device
		if p.tasks.Go("take leave", func(ctx context.Context) error {
			err := p.takeLeave(ctx, host, device, id)
			if err != nil {
				p.log.Debug("membership: a member may not know that this one has left", "device", device.Short(), "err", err)
			}
			heard <- err == nil
			return nil
		}) {
			asked++
		}
	}
	for range asked {
		if <-heard {
			told++
		}
	}
	return told, nil
}

// takeLeave tells a member that this device's owner has left.
func (p *Project) takeLeave(ctx context.Context, host *p2p.Host, device identity.DeviceID, id governance.EventID) error {
	ctx, cancel := context.WithTimeout(ctx, farewellTime)
	defer cancel()
	s, err := host.Open(ctx, device, protocolEvents)
	if err != nil {
		return err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	_ = s.SetDeadline(time.Now().Add(farewellTime))
	return p.part(s, []governance.EventID{id})
}

// receipt answers a device that has just brought the end of its own membership: this is held here. It fails if
// that is not what it brought.
func (p *Project) receipt(rw io.Writer, device identity.DeviceID, theirs *hello) error {
	d, _ := p.State().Device(device)
	h := &hello{Project: p.id}
	p.mu.Lock()
	for _, raw := range theirs.Events {
		if e, err := governance.ParseEvent(raw); err == nil && d != nil && p.events.Has(e.ID) && p.ends(e, d.Member) {
			h.Have = append(h.Have, e.ID)
		}
	}
	p.mu.Unlock()
	if len(h.Have) > 0 {
		return send(rw, h)
	}
	return fmt.Errorf("%w: %s", ErrNotMember, device.Short())
}

// confirms reports whether a hello is the receipt for some events.
func (h *hello) confirms(events []governance.EventID) bool { return slices.Equal(h.Have, events) }

// ends reports whether an event takes a member's place in the project. p.mu is held.
func (p *Project) ends(e *governance.Event, member identity.MemberID) bool {
	body, err := governance.DecodeBody(e)
	if err != nil {
		return false
	}
	switch b := body.(type) {
	case *governance.Revoke:
		return b.Member == member
	case *governance.Leave:
		d, ok := p.State().Device(e.Device)
		return ok && d.Member == member
	case *governance.Carry:
		r, err := governance.ParseSelfRevoke(b.SelfRevoke)
		return err == nil && r.Member == member
	case *governance.DeviceRemove:
		d, ok := p.State().Device(b.Device)
		return ok && d.Member == member
	}
	return false
}
