package membership

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
)

// Pull exchanges events with a connected member: afterwards both hold the union of what they held before, as well as
// keys and addresses that one lacked. It fails with [ErrNotMember], [ErrRefused], [ErrProtocol], [ErrNoHost] or an
// error of the transport.
func (p *Project) Pull(ctx context.Context, device identity.DeviceID) error {
	return p.within("pull", func(own context.Context) error {
		own, cancel := context.WithCancelCause(own)
		defer cancel(nil)
		defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
		if err := p.announceAddresses(); err != nil {
			return err
		}
		return p.exchange(own, device, nil)
	})
}

// exchange opens a stream to a device and leads an exchange that begins with news.
func (p *Project) exchange(ctx context.Context, device identity.DeviceID, news []governance.EventID) error {
	host := p.reg.transport()
	if host == nil {
		return ErrNoHost
	}
	if p.Removed() {
		return fmt.Errorf("%w: this one was removed", ErrNotMember)
	}
	if !p.allowed(device) {
		return fmt.Errorf("%w: %s", ErrNotMember, device.Short())
	}
	if err := p.exchangeRoots(ctx, host, device); err != nil {
		return fmt.Errorf("membership: exchange with %s: %w", device.Short(), err)
	}
	err := onStream(ctx, host, device, protocolEvents, func(s *p2p.Stream) error { return p.lead(s, device, news) })
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return fmt.Errorf("membership: exchange with %s: %w", device.Short(), err)
	}
	p.exchangeActs(ctx, host, device)
	return nil
}

// onStream runs fn on a stream of an exchange that it opens to a device, for at most exchangeTime.
func onStream(ctx context.Context, host *p2p.Host, device identity.DeviceID, protocol string, fn func(*p2p.Stream) error) error {
	s, err := host.Open(ctx, device, protocol)
	if err != nil {
		return err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	_ = s.SetDeadline(time.Now().Add(exchangeTime))
	if err := fn(s); err != nil {
		_ = s.Reset()
		return err
	}
	return nil
}

// greet sends the hello of the side that opened a stream and reads the other's, which must be of this project.
func (p *Project) greet(rw io.ReadWriter, ours, theirs checker, project *genesis.ProjectID) error {
	if err := send(rw, ours); err != nil {
		return err
	}
	if err := receive(rw, theirs); err != nil {
		if errors.Is(err, ErrProtocol) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if *project != p.id {
		return fmt.Errorf("%w: another project in the answer", ErrProtocol)
	}
	return nil
}

// lead is the side that opened the stream: hello, then the other's hello and batches, then ours, then its last word.
func (p *Project) lead(rw io.ReadWriter, device identity.DeviceID, news []governance.EventID) error {
	var theirs hello
	if err := p.greet(rw, p.hello(news), &theirs, &theirs.Project); err != nil {
		return err
	}
	if err := p.absorb(rw, device); err != nil {
		return err
	}
	if err := p.answer(rw, device, &theirs); err != nil {
		return err
	}
	var last batch
	if err := receive(rw, &last); err != nil {
		return err
	}
	p.caughtUp(device)
	return p.takeBatch(device, &last)
}

// follow is the side that was asked; the hello has been read and its sender is a member.
func (p *Project) follow(rw io.ReadWriter, device identity.DeviceID, theirs *hello) error {
	if _, err := p.take(device, theirs.Events); err != nil {
		return err
	}
	if !p.allowed(device) { // the news was its own removal, or that of who brought it
		return p.receipt(rw, device, theirs)
	}
	if err := send(rw, p.hello(nil)); err != nil {
		return err
	}
	if err := p.answer(rw, device, theirs); err != nil {
		return err
	}
	if err := p.absorb(rw, device); err != nil {
		return err
	}
	p.caughtUp(device)
	return send(rw, &batch{Last: true})
}

// caughtUp ends the doubt about this device's own events: what a peer had of them is here.
func (p *Project) caughtUp(device identity.DeviceID) {
	p.mu.Lock()
	doubt := p.doubt
	p.doubt = false
	p.mu.Unlock()
	if doubt {
		p.owe()
		p.tendBoxKeys()
	}
}

// hello says what is held here, and brings news as far as it fits and is signed.
func (p *Project) hello(news []governance.EventID) *hello {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &hello{Project: p.id, Have: p.sample(), Needs: p.needs(), Book: p.bookEntries()}
	size := 0
	for _, id := range news {
		e := p.events.Get(id)
		if e == nil || e.Compacted() || len(h.Events) == maxBatch || size+len(e.Raw) > maxPushed {
			break
		}
		size += len(e.Raw)
		h.Events = append(h.Events, e.Raw)
	}
	return h
}

// sample names the heads, and events further and further before them, so that a peer who knows none of the heads
// still finds most of what both have. p.mu is held.
func (p *Project) sample() []governance.EventID {
	out := p.events.Heads()
	out = out[:min(len(out), maxHave/2)]
	var all []governance.EventID
	for e := range p.events.All() {
		all = append(all, e.ID)
	}
	for back := 1; back <= len(all) && len(out) < maxHave; back *= 2 {
		out = append(out, all[len(all)-back])
	}
	return out
}

// lacking returns the events that a peer does not have who has these and all before them, in causal order. p.mu is
// held.
func (p *Project) lacking(have []governance.EventID) [][]byte {
	known := p.closure(have)
	var out [][]byte
	for e := range p.events.All() {
		if !known[e.ID] {
			out = append(out, e.Raw)
		}
	}
	return out
}

// closure returns those of the events named that are held, with all that lies before them. p.mu is held.
func (p *Project) closure(of []governance.EventID) map[governance.EventID]bool {
	found := map[governance.EventID]bool{}
	for queue := of; len(queue) > 0; queue = queue[1:] {
		id := queue[0]
		e := p.events.Get(id)
		if e == nil || found[id] {
			continue
		}
		found[id] = true
		queue = append(queue, e.Parents...)
	}
	return found
}

// answer sends what a peer lacks, by its hello. It stops when the peer is no member any more.
func (p *Project) answer(w io.Writer, device identity.DeviceID, theirs *hello) error {
	p.mu.Lock()
	events := p.lacking(theirs.Have)
	b := &batch{Boxes: p.give(theirs.Needs, device), Addrs: p.bookFor(theirs.Book, maxRecords)}
	p.mu.Unlock()
	return sendBatches(w, b, events, func() error {
		if !p.allowed(device) {
			return fmt.Errorf("%w: %s", ErrNotMember, device.Short())
		}
		return nil
	})
}

// sendBatches sends events in as many batches as they need, the first of which is begun. permit is asked before each.
func sendBatches(w io.Writer, b *batch, events [][]byte, permit func() error) error {
	for {
		size := 0
		for len(events) > 0 && len(b.Events) < maxBatch && size < maxBatchBytes {
			size += len(events[0])
			b.Events, events = append(b.Events, events[0]), events[1:]
		}
		b.Last = len(events) == 0
		if err := permit(); err != nil {
			return err
		}
		if err := send(w, b); err != nil || b.Last {
			return err
		}
		b = &batch{}
	}
}

// absorb takes a peer's batches until its last.
func (p *Project) absorb(r io.Reader, device identity.DeviceID) error {
	in := &intake{p: p, from: device}
	defer in.close()
	for {
		var b batch
		if err := receive(r, &b); err != nil {
			return err
		}
		if !p.allowed(device) {
			return fmt.Errorf("%w: %s", ErrNotMember, device.Short())
		}
		if err := in.take(&b); err != nil || b.Last {
			return err
		}
	}
}

func (p *Project) takeBatch(device identity.DeviceID, b *batch) error {
	if _, err := p.take(device, b.Events); err != nil {
		return err
	}
	if err := p.takeBoxes(b.Boxes); err != nil {
		return err
	}
	return p.takeAddresses(b.Addrs)
}
