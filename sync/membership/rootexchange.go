package membership

import (
	"context"
	"fmt"
	"io"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
)

// rootHello opens an exchange of root records, on either side.
type rootHello struct {
	Project genesis.ProjectID `cbor:"1,keyasint"`
	Have    []genesis.RootID  `cbor:"2,keyasint"` // newest first; who has one has all that it follows
}

// rootBatch carries what the other side lacks: records each after what it follows, proposals, and the sender's own offer
// to hold the root. The last one of a side says so.
type rootBatch struct {
	Records   [][]byte `cbor:"1,keyasint"`
	Proposals [][]byte `cbor:"2,keyasint"`
	Offers    [][]byte `cbor:"3,keyasint"` // at most one
	Last      bool     `cbor:"4,keyasint"`
}

func (h *rootHello) check() error {
	if len(h.Have) > maxRootsHad {
		return fmt.Errorf("%w: %d root records had", ErrProtocol, len(h.Have))
	}
	return nil
}

func (b *rootBatch) check() error {
	if len(b.Records) > maxRootBatch || len(b.Proposals) > maxProposals || len(b.Offers) > 1 {
		return fmt.Errorf("%w: batch of %d root records, %d proposals, %d offers",
			ErrProtocol, len(b.Records), len(b.Proposals), len(b.Offers))
	}
	if !b.Last && len(b.Records) == 0 && len(b.Proposals) == 0 {
		return fmt.Errorf("%w: empty batch of root records that is not the last", ErrProtocol)
	}
	return nil
}

// serveRoots answers a member's exchange of root records.
func (r *Registry) serveRoots(_ context.Context, s *p2p.Stream) {
	var h rootHello
	named := func() genesis.ProjectID { return h.Project }
	r.serveExchange(s, "root records", &h, named, func(p *Project) error { return p.followRoots(s, s.Device(), &h) })
}

// exchangeRoots brings the root's records, proposals and offers up to date with a device. Events come after them, because
// they name records.
func (p *Project) exchangeRoots(ctx context.Context, host *p2p.Host, device identity.DeviceID) error {
	if err := onStream(ctx, host, device, protocolRoots, func(s *p2p.Stream) error { return p.leadRoots(s, device) }); err != nil {
		return fmt.Errorf("root records: %w", err)
	}
	return nil
}

func (p *Project) leadRoots(rw io.ReadWriter, device identity.DeviceID) error {
	var theirs rootHello
	if err := p.greet(rw, p.rootHello(), &theirs, &theirs.Project); err != nil {
		return err
	}
	if err := p.absorbRoots(rw, device); err != nil {
		return err
	}
	if err := p.answerRoots(rw, device, &theirs); err != nil {
		return err
	}
	return receive(rw, &rootBatch{})
}

func (p *Project) followRoots(rw io.ReadWriter, device identity.DeviceID, theirs *rootHello) error {
	if err := send(rw, p.rootHello()); err != nil {
		return err
	}
	if err := p.answerRoots(rw, device, theirs); err != nil {
		return err
	}
	if err := p.absorbRoots(rw, device); err != nil {
		return err
	}
	return send(rw, &rootBatch{Last: true})
}

// rootHello names the newest records held.
func (p *Project) rootHello() *rootHello {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &rootHello{Project: p.id}
	records := p.chain.Records()
	for i := len(records) - 1; i >= 0 && len(h.Have) < maxRootsHad; i-- {
		h.Have = append(h.Have, records[i].ID)
	}
	return h
}

// answerRoots sends what a peer lacks, by its hello. It stops when the peer is no member any more.
func (p *Project) answerRoots(w io.Writer, device identity.DeviceID, theirs *rootHello) error {
	p.mu.Lock()
	records := p.rootsLacking(theirs.Have)
	proposals, offers := p.proposalsFor(device), p.offerFor(device)
	p.mu.Unlock()
	for {
		b, size := &rootBatch{}, 0
		for len(records) > 0 && len(b.Records) < maxRootBatch && size < maxBatchBytes {
			size += len(records[0])
			b.Records, records = append(b.Records, records[0]), records[1:]
		}
		for len(records) == 0 && len(proposals) > 0 && len(b.Proposals) < maxProposals && size < maxBatchBytes {
			size += len(proposals[0])
			b.Proposals, proposals = append(b.Proposals, proposals[0]), proposals[1:]
		}
		if b.Last = len(records)+len(proposals) == 0; b.Last {
			b.Offers = offers
		}
		if !p.allowed(device) {
			return fmt.Errorf("%w: %s", ErrNotMember, device.Short())
		}
		if err := send(w, b); err != nil || b.Last {
			return err
		}
	}
}

// rootsLacking returns the records that a peer does not have who has these and all that they follow. p.mu is held.
func (p *Project) rootsLacking(have []genesis.RootID) [][]byte {
	known := map[genesis.RootID]bool{}
	for _, id := range have {
		for r := p.chain.Get(id); r != nil && !known[r.ID]; r = p.chain.Get(r.Prev) {
			known[r.ID] = true
		}
	}
	var out [][]byte
	for _, r := range p.chain.Records() {
		if r.N > 1 && !known[r.ID] {
			out = append(out, r.Raw)
		}
	}
	return out
}

// absorbRoots takes a peer's batches until its last.
func (p *Project) absorbRoots(r io.Reader, device identity.DeviceID) error {
	for range maxRootBatches {
		var b rootBatch
		if err := receive(r, &b); err != nil {
			return err
		}
		if !p.allowed(device) {
			return fmt.Errorf("%w: %s", ErrNotMember, device.Short())
		}
		if len(b.Records) > 0 {
			if err := p.TakeRoots(device, b.Records); err != nil {
				return err
			}
		}
		if err := p.takeProposals(device, b.Proposals); err != nil {
			return err
		}
		if err := p.takeOffers(device, b.Offers); err != nil || b.Last {
			return err
		}
	}
	return fmt.Errorf("%w: root records without end", ErrProtocol)
}
