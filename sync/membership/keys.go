package membership

import (
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/store"
)

// keyring holds the epoch keys of a project. All keys are kept: they are needed for reading, whatever became of the
// events that carried them.
type keyring struct {
	held map[governance.EpochID][32]byte
	// asked marks the epochs whose own box was looked for; it is in the object or it is not.
	asked map[governance.EpochID]bool
	// minted is the key that this device has minted last: it needs no box of its own.
	minted secmem.Hidden[newKey]
}

func newKeyring() keyring {
	return keyring{held: map[governance.EpochID][32]byte{}, asked: map[governance.EpochID]bool{}, minted: secmem.Hide(newKey{})}
}

func (k *keyring) wipe() {
	for id := range k.held {
		k.held[id] = [32]byte{}
	}
	clear(k.held)
	clear(k.minted.Get().Key[:])
}

// newKey is a key that was just obtained.
type newKey = epoch.IDKey

// objectsOf returns the epochs that events carry.
func objectsOf(events []*governance.Event) []*governance.KeyEpoch {
	var out []*governance.KeyEpoch
	for _, e := range events {
		body, err := governance.DecodeBody(e)
		if err != nil {
			continue // a kind that this build does not know
		}
		switch b := body.(type) {
		case *governance.KeyEpoch:
			out = append(out, b)
		case *governance.Admit:
			out = appendObject(out, b.Epoch)
		case *governance.Revoke:
			out = appendObject(out, b.Epoch)
		case *governance.DeviceRemove:
			out = appendObject(out, b.Epoch)
		}
	}
	return out
}

func appendObject(list []*governance.KeyEpoch, k *governance.KeyEpoch) []*governance.KeyEpoch {
	if k != nil {
		list = append(list, k)
	}
	return list
}

// openObjects opens the boxes for this device in objects, and what the keys so found hand on. p.mu is held.
func (p *Project) openObjects(objects []*governance.KeyEpoch) []newKey {
	var found []newKey
	for _, o := range objects {
		id := o.ID()
		if _, ok := p.keys.held[id]; ok || p.keys.asked[id] {
			continue
		}
		p.keys.asked[id] = true
		if id == p.keys.minted.Get().ID {
			found = append(found, *p.keys.minted.Get())
		} else if k, ok := p.openObject(o); ok {
			found = append(found, newKey{ID: id, Key: k})
		}
	}
	return p.openPrevious(found, objects)
}

// openObject opens the box for this device in an object, with whichever of its keys that was sealed to. p.mu is held.
func (p *Project) openObject(o *governance.KeyEpoch) (k [epoch.KeySize]byte, ok bool) {
	for _, b := range o.Boxes {
		if b.Device != p.self.Device.ID {
			continue
		}
		if key, here := p.boxKeys.Get(b.KemID); here {
			if k, err := epoch.Open(o, b.Device, key); err == nil {
				return k, true
			}
		}
	}
	return k, false
}

// openPrevious adds the earlier keys that the keys found hand on, and those that they hand on in turn. The objects of
// epochs that are not yet in the log are among objects.
func (p *Project) openPrevious(found []newKey, objects []*governance.KeyEpoch) []newKey {
	known := map[governance.EpochID]bool{}
	for _, k := range found {
		known[k.ID] = true
	}
	object := func(id governance.EpochID) *governance.KeyEpoch {
		for _, o := range objects {
			if o.ID() == id {
				return o
			}
		}
		if e, ok := p.events.EpochObject(id); ok {
			return e.Object
		}
		return nil
	}
	for i := 0; i < len(found); i++ {
		o := object(found[i].ID)
		if o == nil {
			continue
		}
		previous, err := epoch.OpenPrevious(o, found[i].Key)
		if err != nil {
			continue
		}
		for _, k := range previous {
			if _, ok := p.keys.held[k.ID]; ok || known[k.ID] {
				continue
			}
			if o := object(k.ID); o != nil && epoch.Check(o, k.Key) == nil {
				known[k.ID] = true
				found = append(found, k)
			}
		}
	}
	return found
}

// openBoxes opens boxes that a peer gave for epochs in the log. Those that do not open are left out: a device whose
// box is wrong asks somebody else. p.mu is held.
func (p *Project) openBoxes(boxes [][]byte) []newKey {
	var found []newKey
	for _, raw := range boxes {
		b, err := epoch.ParseBox(raw)
		if err != nil {
			continue
		}
		if _, ok := p.keys.held[b.Epoch]; ok {
			continue
		}
		e, ok := p.events.EpochObject(b.Epoch)
		giver, known := p.State().Device(b.Giver)
		key, here := p.boxKeys.Get(b.KemID)
		if !ok || !known || !here {
			continue
		}
		if k, err := b.Open(e.Object, giver.Cert.DK, p.self.Device.ID, key); err == nil {
			found = append(found, newKey{ID: b.Epoch, Key: k})
		}
	}
	return p.openPrevious(found, nil)
}

// takeBoxes keeps the keys in boxes that a peer gave.
func (p *Project) takeBoxes(boxes [][]byte) error {
	if len(boxes) == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return err
	}
	found := p.openBoxes(boxes)
	if len(found) == 0 {
		return nil
	}
	if err := p.write(func(tx *store.Tx) error { return p.putKeys(tx, found) }); err != nil {
		return err
	}
	p.hold(found)
	p.changes.add(step{Change: p.nothingChanged()})
	return nil
}

func (p *Project) putKeys(tx *store.Tx, keys []newKey) error {
	m := tx.Map(p.names.epochs)
	for _, k := range keys {
		if err := m.Put(k.ID[:], k.Key[:]); err != nil {
			return err
		}
	}
	return nil
}

func (p *Project) hold(keys []newKey) {
	for _, k := range keys {
		p.keys.held[k.ID] = k.Key
	}
}

// needs returns the epochs that count and whose keys this device lacks although it may read, as far as one message asks for them.
// p.mu is held.
func (p *Project) needs() []governance.EpochID {
	s := p.State()
	if !s.May(p.self.Device.ID, governance.ActRead) {
		return nil
	}
	var out []governance.EpochID
	for _, e := range s.Epochs() {
		if _, ok := p.keys.held[e.ID]; !ok && len(out) < maxNeeds {
			out = append(out, e.ID)
		}
	}
	return out
}

// give seals the keys of epochs, as far as they are held, to a device that may read and is not in quarantine. p.mu is
// held.
func (p *Project) give(ids []governance.EpochID, device identity.DeviceID) [][]byte {
	s := p.State()
	d, ok := s.Device(device)
	if !ok || !s.May(device, governance.ActRead) || p.heldBack(s, d.Member) {
		return nil
	}
	var out [][]byte
	for _, id := range ids {
		k, ok := p.keys.held[id]
		if _, counts := s.Epoch(id); !ok || !counts {
			continue
		}
		to := epoch.Recipient{Device: device, KEM: d.KEM}
		raw, err := epoch.SealBox(p.reg.cfg.Random, epoch.IDKey{ID: id, Key: k}, to, p.author())
		if err != nil {
			p.log.Warn("membership: seal a key", "err", err)
			continue
		}
		out = append(out, raw)
	}
	return out
}

// giveAll seals what a newcomer needs to read everything: the newest keys, which hand on all that they can, and those
// that they do not reach. p.mu is held.
func (p *Project) giveAll(device identity.DeviceID) [][]byte {
	s := p.State()
	reached := map[governance.EpochID]bool{}
	var ids []governance.EpochID
	if e, ok := s.SendingEpoch(); ok {
		ids = append(ids, e.ID)
		p.reach(e.ID, reached)
	}
	for _, e := range s.EpochTips() {
		if !reached[e.ID] {
			ids = append(ids, e.ID)
			p.reach(e.ID, reached)
		}
	}
	for _, e := range s.Epochs() {
		if !reached[e.ID] {
			ids = append(ids, e.ID)
			p.reach(e.ID, reached)
		}
	}
	return p.give(ids[:min(len(ids), maxBoxes)], device)
}

// reach marks an epoch whose key is held and all that its key opens.
func (p *Project) reach(id governance.EpochID, reached map[governance.EpochID]bool) {
	k, ok := p.keys.held[id]
	e, known := p.events.EpochObject(id)
	if !ok || !known || reached[id] {
		return
	}
	reached[id] = true
	previous, err := epoch.OpenPrevious(e.Object, k)
	if err != nil {
		return
	}
	for _, q := range previous {
		p.reach(q.ID, reached)
	}
}

// EpochKey returns the key of an epoch. ok is false if it is not held (yet); if the epoch counts it is asked for at
// every exchange with another member.
func (p *Project) EpochKey(id governance.EpochID) (key [32]byte, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key, ok = p.keys.held[id]
	return key, ok
}

// SendingEpoch returns the epoch to seal under, which all who hold the same events agree on, and its key. ok is false
// while none is usable, as after two concurrent removals until somebody has minted, and while its key has not
// arrived; OnChange tells when that changes.
func (p *Project) SendingEpoch() (id governance.EpochID, key [32]byte, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, usable := p.State().SendingEpoch()
	if !usable {
		return id, key, false
	}
	key, ok = p.keys.held[e.ID]
	return e.ID, key, ok
}
