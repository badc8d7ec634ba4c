package membership

import (
	"sync"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
)

// heldBack reports whether a quarantine in force holds a member back by this device's clock: the member's devices get no
// keys meanwhile.
func (p *Project) heldBack(s *governance.State, m identity.MemberID) bool {
	now := uint64(max(p.reg.cfg.Now().Unix(), 0))
	for _, q := range s.Quarantines() {
		if q.Member == m && now < q.Expires {
			return true
		}
	}
	return false
}

// patience bounds how often devices in quarantine are answered.
type patience struct {
	mu      sync.Mutex
	devices map[identity.DeviceID]*bucket
}

// patient reports whether a device is to be answered now. Only those in quarantine are ever told to come later.
func (p *Project) patient(device identity.DeviceID) bool {
	s := p.State()
	d, ok := s.Device(device)
	p.patience.mu.Lock()
	defer p.patience.mu.Unlock()
	if !ok || !p.heldBack(s, d.Member) {
		delete(p.patience.devices, device)
		return true
	}
	b := p.patience.devices[device]
	if b == nil {
		b = &bucket{}
		if p.patience.devices == nil {
			p.patience.devices = map[identity.DeviceID]*bucket{}
		}
		p.patience.devices[device] = b
	}
	b.fill(p.reg.cfg.Now(), heldPerSec, heldBurst)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
