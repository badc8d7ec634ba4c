package membership

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
)

// farewell tells devices that were just removed of their removal, if they are connected, and then lets the transport
// close their connections. A device that does not listen is cut off all the same, after farewellTime.
func (p *Project) farewell(gone []*governance.Device, added []governance.EventID) {
	host := p.reg.transport()
	connected := map[identity.DeviceID]bool{}
	if host != nil {
		for _, x := range host.Connected() {
			connected[x.Device] = x.Class == p2p.Member || connected[x.Device]
		}
	}
	for _, d := range gone {
		if !connected[d.ID] {
			p.gate.departed(d.Cert)
			continue
		}
		ok := p.tasks.Go("farewell", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, farewellTime)
			defer cancel()
			if err := p.tell(ctx, host, d, added); err != nil {
				p.log.Debug("membership: a removed device may not know of its removal", "device", d.ID.Short(), "err", err)
			}
			p.gate.departed(d.Cert)
			host.Recheck()
			return nil
		})
		if !ok {
			p.gate.departed(d.Cert)
		}
	}
	if host != nil {
		host.Recheck()
	}
}

// tell offers a device its removal, and what the removal rests on as far as the device lacks it. Nothing else is told
// to it, and nothing that it says is heard: it is no member any more.
func (p *Project) tell(ctx context.Context, host *p2p.Host, d *governance.Device, added []governance.EventID) error {
	s, err := host.Open(ctx, d.ID, protocolEvents)
	if err != nil {
		return err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	_ = s.SetDeadline(time.Now().Add(farewellTime))
	return p.part(s, p.removals(d.Member, added))
}

// removals returns those of some events that remove a member; all of them if it is not a removal that ends its standing
// but an admission that turned out to be void.
func (p *Project) removals(member identity.MemberID, added []governance.EventID) []governance.EventID {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.DeleteFunc(slices.Clone(added), func(id governance.EventID) bool {
		e := p.events.Get(id)
		return e == nil || !p.ends(e, member)
	})
	if len(out) == 0 {
		return added
	}
	return out
}

// part leads an exchange about events that remove this side or the other. The other says what it has, or that it has these
// already, and is given what is missing to it of those events and of what lies before them.
func (p *Project) part(rw io.ReadWriter, removals []governance.EventID) error {
	h := p.hello(removals)
	h.Have, h.Needs, h.Book = p.upTo(removals), nil, nil
	if err := send(rw, h); err != nil {
		return err
	}
	var theirs hello
	if err := receive(rw, &theirs); err != nil || theirs.confirms(removals) {
		return err
	}
	for last := false; !last; {
		var b batch
		if err := receive(rw, &b); err != nil {
			return err
		}
		last = b.Last
	}
	if err := sendBatches(rw, &batch{}, p.before(removals, theirs.Have), func() error { return nil }); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(rw, maxFrame)) // until it has read them
	return nil
}

// upTo names some events and a sample of those that lie before them.
func (p *Project) upTo(events []governance.EventID) []governance.EventID {
	p.mu.Lock()
	defer p.mu.Unlock()
	within := p.closure(events)
	sample := slices.DeleteFunc(p.sample(), func(id governance.EventID) bool { return !within[id] })
	out := slices.Concat(events, sample)
	return out[:min(len(out), maxHave)]
}

// before returns, in causal order, the events given and what lies before them, less what a peer has that has these.
func (p *Project) before(events, have []governance.EventID) [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted, known := p.closure(events), p.closure(have)
	var out [][]byte
	for e := range p.events.All() {
		if wanted[e.ID] && !known[e.ID] {
			out = append(out, e.Raw)
		}
	}
	return out
}
