package membership

import (
	"context"
	"fmt"
	"io"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/wire"
)

// actHello opens an exchange of proposed acts, on either side.
type actHello struct {
	Project genesis.ProjectID `cbor:"1,keyasint"`
	Have    []wire.ID         `cbor:"2,keyasint"` // proposals and votes held
}

// actBatch carries what the other side lacks, proposals before the votes on them. The last one of a side says so.
type actBatch struct {
	Proposals [][]byte `cbor:"1,keyasint"`
	Votes     [][]byte `cbor:"2,keyasint"`
	Last      bool     `cbor:"3,keyasint"`
}

func (h *actHello) check() error {
	if len(h.Have) > maxActsHad {
		return fmt.Errorf("%w: %d proposed acts and votes had", ErrProtocol, len(h.Have))
	}
	return nil
}

func (b *actBatch) check() error {
	if len(b.Proposals)+len(b.Votes) > maxActBatch {
		return fmt.Errorf("%w: batch of %d proposed acts, %d votes", ErrProtocol, len(b.Proposals), len(b.Votes))
	}
	if !b.Last && len(b.Proposals)+len(b.Votes) == 0 {
		return fmt.Errorf("%w: empty batch of proposed acts that is not the last", ErrProtocol)
	}
	return nil
}

// serveActs answers a manager's or holder's exchange of proposed acts.
func (r *Registry) serveActs(_ context.Context, s *p2p.Stream) {
	var h actHello
	named := func() genesis.ProjectID { return h.Project }
	r.serveExchange(s, "proposed acts", &h, named, func(p *Project) error { return p.followActs(s, s.Device(), &h) })
}

// sharesActs reports whether a device and this one may decide acts together: as managers, or as holders of the root.
func (p *Project) sharesActs(device identity.DeviceID) bool {
	self := p.self.Device.ID
	return p.mayPropose(self) && p.mayPropose(device) || p.holdsRoot(self) && p.holdsRoot(device)
}

// exchangeActs brings the proposed acts up to date with a device that may decide on them too. Events come before them, because they name
// events; nothing that went well before fails because of them.
func (p *Project) exchangeActs(ctx context.Context, host *p2p.Host, device identity.DeviceID) {
	if !p.sharesActs(device) {
		return
	}
	if err := onStream(ctx, host, device, protocolActs, func(s *p2p.Stream) error { return p.leadActs(s, device) }); err != nil {
		p.log.Debug("membership: exchange of proposed acts", "device", device.Short(), "err", err)
	}
	p.conclude()
	p.wakeCheckpoints() // somebody is there who may sign one
}

func (p *Project) leadActs(rw io.ReadWriter, device identity.DeviceID) error {
	var theirs actHello
	if err := p.greet(rw, p.actHello(device), &theirs, &theirs.Project); err != nil {
		return err
	}
	if err := p.absorbActs(rw, device); err != nil {
		return err
	}
	if err := p.answerActs(rw, device, &theirs); err != nil {
		return err
	}
	return receive(rw, &actBatch{})
}

func (p *Project) followActs(rw io.ReadWriter, device identity.DeviceID, theirs *actHello) error {
	if !p.sharesActs(device) {
		return fmt.Errorf("%w: %s is no manager's or holder's", ErrNotMember, device.Short())
	}
	if err := send(rw, p.actHello(device)); err != nil {
		return err
	}
	if err := p.answerActs(rw, device, theirs); err != nil {
		return err
	}
	if err := p.absorbActs(rw, device); err != nil {
		return err
	}
	p.conclude()
	p.wakeCheckpoints()
	return send(rw, &actBatch{Last: true})
}

// actHello names what a peer may be told of and is held here.
func (p *Project) actHello(device identity.DeviceID) *actHello {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &actHello{Project: p.id}
	for _, o := range p.actsFor(device) {
		h.Have = append(h.Have, wire.ID(o.id))
		for _, v := range o.votes {
			h.Have = append(h.Have, v.id())
		}
	}
	h.Have = h.Have[:min(len(h.Have), maxActsHad)]
	return h
}

// actsFor returns the open proposals that concern a device's member: not those to take his own standing away. p.mu is
// held.
func (p *Project) actsFor(device identity.DeviceID) []*openAct {
	d, ok := p.State().Device(device)
	if !ok {
		return nil
	}
	var out []*openAct
	for _, o := range p.acts {
		if p.maySpeak(device, o.actRecord) && !p.ended(o.actRecord) && !(reduces(o.Kind) && p.events.Subject(o.content) == d.Member) {
			out = append(out, o)
		}
	}
	return out
}

// answerActs sends what a peer lacks, by its hello. It stops when the peer has no part in it any more.
func (p *Project) answerActs(w io.Writer, device identity.DeviceID, theirs *actHello) error {
	had := map[wire.ID]bool{}
	for _, id := range theirs.Have {
		had[id] = true
	}
	var proposals, votes [][]byte
	p.mu.Lock()
	for _, o := range p.actsFor(device) {
		if !had[wire.ID(o.id)] {
			proposals = append(proposals, o.raw)
		}
		for _, v := range o.votes {
			if !had[v.id()] {
				votes = append(votes, v.raw)
			}
		}
	}
	p.mu.Unlock()
	for {
		b, size := &actBatch{}, 0
		for ; len(proposals) > 0 && len(b.Proposals) < maxActBatch && size < maxBatchBytes; proposals = proposals[1:] {
			size += len(proposals[0])
			b.Proposals = append(b.Proposals, proposals[0])
		}
		for ; len(proposals) == 0 && len(votes) > 0 && len(b.Proposals)+len(b.Votes) < maxActBatch && size < maxBatchBytes; votes = votes[1:] {
			size += len(votes[0])
			b.Votes = append(b.Votes, votes[0])
		}
		b.Last = len(proposals)+len(votes) == 0
		if !p.sharesActs(device) {
			return fmt.Errorf("%w: %s is no manager's or holder's", ErrNotMember, device.Short())
		}
		if err := send(w, b); err != nil || b.Last {
			return err
		}
	}
}

// absorbActs takes a peer's batches until its last. What is new goes on to others.
func (p *Project) absorbActs(r io.Reader, device identity.DeviceID) error {
	fresh := false
	defer func() {
		if fresh {
			p.told(device)
		}
	}()
	for range maxActBatches {
		var b actBatch
		if err := receive(r, &b); err != nil {
			return err
		}
		if !p.sharesActs(device) {
			return fmt.Errorf("%w: %s is no manager's or holder's", ErrNotMember, device.Short())
		}
		taken, err := p.takeActs(&b)
		fresh = fresh || taken
		if err != nil || b.Last {
			return err
		}
	}
	return fmt.Errorf("%w: proposed acts without end", ErrProtocol)
}
