package collab

import (
	"encoding/binary"
	"io"
	"testing"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/testbed/forge"
	"github.com/studio-whip/collab/internal/wire"
)

// author signs as a player's device.
func (p *player) author() governance.Author {
	return governance.Author{Keys: p.self.Keys, Device: p.self.Device.ID}
}

// forges makes an event as a modified program of this player would, on what the player's log holds.
func (p *player) forges(kind governance.Kind, body any, edit ...func(*forge.Act)) (raw []byte, id EventID) {
	p.s.membership.View(func(log *governance.Log) {
		act := forge.Act{On: log, Author: p.author(), Kind: kind, Body: body}
		for _, e := range edit {
			e(&act)
		}
		raw, id = act.Sign()
	})
	return raw, id
}

// since makes an act cite parents of long ago.
func since(heads []EventID) func(*forge.Act) { return func(a *forge.Act) { a.Parents = heads } }

// What passes in an exchange of events, as sync/membership/SPEC.md has it.
type (
	forgedHello struct {
		Project ProjectID            `cbor:"1,keyasint"`
		Have    []EventID            `cbor:"2,keyasint"`
		Needs   []governance.EpochID `cbor:"3,keyasint"`
		Book    []struct{}           `cbor:"4,keyasint"`
		Events  [][]byte             `cbor:"5,keyasint"`
	}
	forgedBatch struct {
		Events [][]byte `cbor:"1,keyasint"`
		Boxes  [][]byte `cbor:"2,keyasint"`
		Addrs  [][]byte `cbor:"3,keyasint"`
		Last   bool     `cbor:"4,keyasint"`
	}
)

// brings hands events to another player over a connection of its own, in an exchange made by hand.
func (p *player) brings(t *testing.T, to *player, events ...[]byte) {
	t.Helper()
	until(t, "the two are connected", func() bool { return p.connectedTo(to.self.Device.ID) })
	s, err := p.host.Open(t.Context(), to.self.Device.ID, "/collab/events/1")
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range []any{
		forgedHello{Project: to.s.ID(), Have: to.s.membership.Heads(), Events: events}, forgedBatch{Last: true},
	} {
		raw := wire.Marshal(message)
		if _, err := s.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...)); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.CloseWrite()
	_, _ = io.Copy(io.Discard, s)
	_ = s.Reset()
}

func (p *player) connectedTo(d identity.DeviceID) bool {
	for _, x := range p.host.Connected() {
		if x.Device == d && x.Class == p2p.Member {
			return true
		}
	}
	return false
}

// explains returns why an event counts or not at a player, once it is there.
func (p *player) explains(t *testing.T, id EventID) (x Explanation) {
	t.Helper()
	until(t, "the event has come", func() bool {
		var err error
		x, err = p.s.Explain(id)
		return err == nil
	})
	return x
}

// told waits for an alert about an event.
func told(t *testing.T, alerts <-chan SecurityAlert, kind AlertKind, who MemberID, event EventID) {
	t.Helper()
	for a := range alerts {
		if a.Kind == kind && a.Event == event {
			if a.Who != who {
				t.Errorf("the alert names %s", a.Who.Short())
			}
			return
		}
	}
	t.Errorf("no alert %v of event %s", kind, event.Short())
}

// role waits until a member has a role at all players, who then are in one state.
func role(t *testing.T, who MemberID, want Role, players ...*player) {
	t.Helper()
	until(t, "the role is "+want.String(), func() bool {
		for _, p := range players {
			if p.s.membership.State().Role(who) != want {
				return false
			}
		}
		return true
	})
	agree(t, players...)
}

// troupe is a founder and editors, all connected.
func troupe(t *testing.T, names ...string) []*player {
	t.Helper()
	var out []*player
	for k, name := range names {
		p := newPlayer(t, name)
		if out = append(out, p); k == 0 {
			p.found(t)
		} else {
			p.join(t, out[0])
		}
	}
	for _, p := range out {
		until(t, "everybody is connected", func() bool { return p.s.Status().Peers == len(out)-1 })
	}
	agree(t, out...)
	return out
}

// me is a player's member id.
func (p *player) me() MemberID { return p.self.Device.Member }
