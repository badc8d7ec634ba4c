package membership

import (
	"context"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
)

// Addresses returns where a live device said it can be reached, best first; nil if it is not known. They are hints:
// the transport checks who answers.
func (p *Project) Addresses(device identity.DeviceID) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	rec := p.book[device]
	if d, ok := p.State().Device(device); rec == nil || !ok || !d.Live {
		return nil
	}
	return slices.Clone(rec.Addrs)
}

// SetAddresses tells the members where this device can be reached: multiaddresses, best first, of which the first 8
// are used. It is remembered and sent to all connected members. Without a call the transport's own addresses are used,
// as they are when the project opens and at every Pull.
func (p *Project) SetAddresses(ctx context.Context, addrs []string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("membership: set addresses: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addressed = true
	return p.setAddresses(addrs)
}

// announceAddresses tells the members of the transport's addresses, unless the caller has set others.
func (p *Project) announceAddresses() error {
	host := p.reg.transport()
	if host == nil {
		return nil
	}
	addrs := host.Addrs()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.addressed || len(addrs) == 0 || p.Removed() {
		return nil
	}
	return p.setAddresses(addrs)
}

// setAddresses signs and keeps a new record if the addresses are others than before. p.mu is held.
func (p *Project) setAddresses(addrs []string) error {
	addrs = slices.DeleteFunc(slices.Clone(addrs), func(a string) bool { return wire.CheckText(a, MaxAddressSize) != nil })
	addrs = addrs[:min(len(addrs), MaxAddresses)]
	self := p.self.Device.ID
	if err := p.usable(); err != nil {
		return err
	}
	// The clock keeps the number rising even if the store is lost; it decides nothing else.
	seq := uint64(max(p.reg.cfg.Now().Unix(), 1))
	if old := p.book[self]; old != nil {
		if slices.Equal(slices.Sorted(slices.Values(old.Addrs)), slices.Sorted(slices.Values(addrs))) {
			return nil
		}
		seq = max(seq, old.Seq+1)
	}
	rec, err := newAddressRecord(p.self.Keys, addressCore{Project: p.id, Device: self, Seq: seq, Addrs: addrs})
	if err != nil {
		return err
	}
	if err := p.keep([]*addressRecord{rec}); err != nil {
		return err
	}
	p.outbox.spread(nil, self)
	return nil
}

// keep stores address records. p.mu is held.
func (p *Project) keep(list []*addressRecord) error {
	err := p.write(func(tx *store.Tx) error {
		for _, rec := range list {
			if err := tx.Map(p.names.addresses).Put(rec.Device[:], rec.raw); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, rec := range list {
		p.book[rec.Device] = rec
	}
	return nil
}

// takeAddresses keeps those of received records that are of live devices, newer than what is held, and signed. Others
// are left out: they prove nothing about who sent them.
func (p *Project) takeAddresses(raws [][]byte) error {
	if len(raws) == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return err
	}
	var news []*addressRecord
	for _, raw := range raws {
		rec, err := parseAddressRecord(raw)
		if err != nil || rec.Project != p.id {
			continue
		}
		d, ok := p.State().Device(rec.Device)
		old := p.book[rec.Device]
		if !ok || !d.Live || old != nil && old.Seq >= rec.Seq || rec.verify(d.Cert.DK) != nil {
			continue
		}
		news = append(news, rec)
	}
	if len(news) == 0 {
		return nil
	}
	return p.keep(news)
}

// bookEntries says which records are held. p.mu is held.
func (p *Project) bookEntries() []bookEntry {
	var out []bookEntry
	for _, d := range p.State().Devices() {
		if rec := p.book[d.ID]; rec != nil && len(out) < maxBook {
			out = append(out, bookEntry{Device: d.ID, Seq: rec.Seq})
		}
	}
	return out
}

// bookFor returns records of live devices that are newer than what a peer has, its own device's first. p.mu is held.
func (p *Project) bookFor(has []bookEntry, limit int) [][]byte {
	seqs := make(map[identity.DeviceID]uint64, len(has))
	for _, e := range has {
		seqs[e.Device] = e.Seq
	}
	var out [][]byte
	add := func(id identity.DeviceID) {
		if rec := p.book[id]; rec != nil && rec.Seq > seqs[id] && len(out) < limit {
			out = append(out, rec.raw)
		}
	}
	add(p.self.Device.ID)
	for _, d := range p.State().Devices() {
		if d.ID != p.self.Device.ID {
			add(d.ID)
		}
	}
	return out
}
