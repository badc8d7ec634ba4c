package membership

import (
	"context"
	"slices"
	"sync"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
)

// outbox brings news to the connected members, one exchange at a time with each.
type outbox struct {
	p *Project

	mu    sync.Mutex
	peers map[identity.DeviceID]*pending
}

// pending is what one peer has yet to be told. It is in the map while a task is at work on it.
type pending struct {
	news []governance.EventID
	done bool // nothing was asked for since the task last looked
}

// spread sends events to all connected members but the one they came from; without events it only has them exchange
// what they hold. It does not wait.
func (o *outbox) spread(news []governance.EventID, from identity.DeviceID) {
	host := o.p.reg.transport()
	if host == nil {
		return
	}
	for _, x := range host.Connected() {
		d, ok := o.p.State().Device(x.Device)
		if x.Class == p2p.Member && ok && d.Live && x.Device != from {
			o.send(x.Device, news)
		}
	}
}

func (o *outbox) send(device identity.DeviceID, news []governance.EventID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b := o.peers[device]; b != nil {
		b.news, b.done = append(b.news, news...), false
		return
	}
	b := &pending{news: slices.Clone(news)}
	if o.p.tasks.Go("news", func(ctx context.Context) error { o.serve(ctx, device); return nil }) {
		o.peers[device] = b
	}
}

// serve exchanges with a device until it has been told everything. A failed exchange is left to the next Pull.
func (o *outbox) serve(ctx context.Context, device identity.DeviceID) {
	for {
		o.mu.Lock()
		b := o.peers[device]
		if b == nil || b.done || ctx.Err() != nil {
			delete(o.peers, device)
			o.mu.Unlock()
			return
		}
		news := b.news
		b.news, b.done = nil, true
		o.mu.Unlock()
		if err := o.p.exchange(ctx, device, news); err != nil {
			o.p.log.Debug("membership: news", "device", device.Short(), "err", err)
		}
	}
}

// changed does what a step of governance asks of this device.
func (p *Project) changed(s step) {
	if p.Removed() {
		p.tendBoxKeys()
		return // the others' is the word now
	}
	if gone := p.gone(s.Before, s.After); len(gone) > 0 {
		p.farewell(gone, s.Added)
	}
	if len(s.Added) > 0 || s.root {
		p.outbox.spread(s.Added, s.from)
	}
	p.owe()
	p.tidyActs()
	p.conclude()
	p.wakeCheckpoints()
	p.tendBoxKeys()
}
