package journal

import "github.com/studio-whip/collab/identity"

// HeldTo returns the number of the newest envelope of a chain that is held here; 0 if none is. A chain of which
// something is held has introduced its device.
func (j *Journal) HeldTo(device identity.DeviceID, chainNo uint32) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c := j.chains[chainKey{device, chainNo}]; c != nil {
		return c.head
	}
	return 0
}
