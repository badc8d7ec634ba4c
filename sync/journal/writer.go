package journal

import (
	"context"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/sync/envelope"
)

// writer is the chain that this session writes on.
//
//	         ┌ clean, or nobody else could know more ─▶ open: edits are signed at once
//	start ───┤
//	         └ in doubt ─▶ edits are held under the next chain's client ID
//	                       ─▶ Pulled ─▶ OpenChain ─▶ open; if the number was taken, what is held is re-issued
type writer struct {
	no         uint32
	client     uint64
	open       bool // the chain stands and may be signed on
	doubt      bool // others may hold newer parts of this device's chains: do not open one before Pulled
	introduced bool
	wanted     bool // an introduction was asked for
}

// startWriter chooses the session's chain; j.mu is held.
func (j *Journal) startWriter(unclean bool) {
	j.view(func(r reading) {
		live := r.now.Devices()
		alone := len(live) == 1 && live[0].ID == j.self.Device
		j.own.doubt = unclean && !alone
		no, ok := r.lastUsable(j)
		if j.own.open = ok && !j.own.doubt && j.fits(no); !j.own.open {
			no = r.nextChain(j.self.Device)
		}
		j.own.no = no
	})
	j.own.client = j.clientOf(j.own.no)
	for _, h := range j.outbox {
		if h.Client != j.own.client {
			j.reissueHeld(h.Client)
		}
	}
}

func (j *Journal) clientOf(no uint32) uint64 {
	return uint64(identity.ClientID([32]byte(j.project), j.self.Device, no))
}

// fits reports whether what the outbox holds was made on a chain. What was made on a later one, which was not opened
// before the store was closed, can only become the edits of a chain on which nothing was written.
func (j *Journal) fits(no uint32) bool {
	return !slices.ContainsFunc(j.outbox, func(h *held) bool { return h.Client != j.clientOf(no) })
}

// lastUsable returns this device's newest chain that may be signed on.
func (r reading) lastUsable(j *Journal) (no uint32, ok bool) {
	for _, c := range r.now.Chains() {
		if c.Device == j.self.Device && r.usable(j, c.No) {
			no, ok = c.No, true
		}
	}
	return no, ok
}

func (r reading) usable(j *Journal, no uint32) bool {
	c, ok := r.now.Chain(j.self.Device, no)
	_, cut := r.now.Cut(j.self.Device, no)
	_, forked := j.forks[chainKey{j.self.Device, no}]
	return ok && c.Owned && !cut && !forked
}

// nextChain returns the number that the device's next chain will have.
func (r reading) nextChain(device identity.DeviceID) (no uint32) {
	for _, c := range r.now.Chains() {
		if c.Device == device {
			no = max(no, c.No+1)
		}
	}
	return no
}

// checkWriter moves to the next chain if the present one has been cut, forked or has lost its client ID; and if the
// next one's number has been taken meanwhile, to the one after. j.mu is held.
func (j *Journal) checkWriter() {
	var next uint32
	var move, lost bool
	j.view(func(r reading) {
		c, stands := r.now.Chain(j.self.Device, j.own.no)
		switch {
		case j.own.open:
			move, lost = !r.usable(j, j.own.no), stands && !c.Owned
		case stands && !j.opening:
			move = true
		}
		next = r.nextChain(j.self.Device)
	})
	if move {
		j.switchTo(next, lost)
	}
}

// noticeOwn looks at an envelope from outside: if it is one of this device's own chain that this device does not hold,
// its store is older than what it has sent before, and the chain must not be written on any more.
func (j *Journal) noticeOwn(c *chain, e *envelope.Envelope) {
	if e.Device != j.self.Device || e.Seq <= c.head || j.own.no != e.ChainNo || !j.own.open {
		return
	}
	j.alert(Alert{Kind: AlertDoubt, Device: e.Device, ChainNo: e.ChainNo, Seq: e.Seq})
	j.own.doubt = true
	j.view(func(r reading) { j.switchTo(r.nextChain(j.self.Device), false) })
}

// switchTo makes another chain, which is not open yet, the one to write on. Edits that are not signed yet become its
// edits; if the old chain has lost its client ID, all its edits do. j.mu is held.
func (j *Journal) switchTo(no uint32, all bool) {
	old := j.own
	j.own = writer{
		no: no, client: j.clientOf(no),
		doubt: old.doubt, wanted: old.wanted || old.introduced,
	}
	if all {
		if err := j.recall(chainKey{j.self.Device, old.no}); err != nil {
			j.alert(Alert{Kind: AlertChain, Device: j.self.Device, ChainNo: old.no, Err: err})
		}
	}
	j.reissueHeld(old.client)
	for _, r := range j.replicas {
		r.moves = append(r.moves, move{from: old.client, base: r.base(all), to: j.own.client})
		r.stale = true
	}
	j.poke(j.wakeBuild)
	j.poke(j.wakeOpen)
}

// reissueHeld rewrites the outbox from an old client ID to that of the chain to write on.
func (j *Journal) reissueHeld(old uint64) {
	bases := map[DocID]uint64{}
	for _, h := range j.outbox {
		if h.Client != old {
			continue
		}
		for _, u := range h.Updates {
			created, _, _ := crdt.Inspect(u)
			for _, c := range created {
				if b, ok := bases[h.Doc]; c.Client == old && (!ok || c.From < b) {
					bases[h.Doc] = c.From
				}
			}
		}
	}
	for _, h := range j.outbox {
		if h.Client != old {
			continue
		}
		h.Client = j.own.client
		base, ok := bases[h.Doc]
		for i, u := range h.Updates {
			if !ok {
				break // only deletions
			}
			moved, err := reissue(u, move{old, base, j.own.client})
			if err != nil {
				j.alert(Alert{Kind: AlertChain, Device: j.self.Device, Doc: h.Doc, Err: err})
				continue
			}
			h.Updates[i] = moved
		}
		if no, rec := h.no, h.heldRecord; no > 0 {
			j.write(func(tx *store.Tx) error { return put(tx, outboxMap, seqKey(no), rec) })
		}
	}
}

// recall puts everything that was signed on a chain of this device back at the front of the outbox: the chain counts for
// nothing any more, as another has a claim to its client ID.
func (j *Journal) recall(key chainKey) error {
	c := j.chains[key]
	if c == nil {
		return nil
	}
	var back []*held
	for seq := uint64(1); seq <= c.head; seq++ {
		e, err := j.envelopeAt(key, seq)
		if err != nil {
			return err
		}
		if e.Kind != envelope.KindUpdate {
			continue
		}
		updates, err := j.updates(e)
		if err != nil {
			return err
		}
		back = append(back, &held{heldRecord: heldRecord{Doc: e.Doc, Client: c.client, Updates: updates}, silent: true})
	}
	j.outbox = append(back, j.outbox...)
	// Stored anew in this order: what was stored already would otherwise come first after a restart.
	for _, h := range j.outbox {
		if no := h.no; no > 0 {
			j.write(func(tx *store.Tx) error { return tx.Map(outboxMap).Delete(seqKey(no)) })
			h.no = 0
		}
		j.keepHeld(h)
	}
	return nil
}

// Pulled tells the journal that governance events and chains were exchanged with another live device: what this device
// has written before is here now, as far as that one knew. A device in doubt may then open its next chain.
func (j *Journal) Pulled(device identity.DeviceID) {
	j.mu.Lock()
	defer j.unlock()
	live := false
	j.view(func(r reading) {
		d, ok := r.now.Device(device)
		live = ok && d.Live && device != j.self.Device
	})
	if live && j.own.doubt {
		j.own.doubt = false
		j.poke(j.wakeOpen)
	}
}

// openChains opens a chain whenever one is needed.
func (j *Journal) openChains(ctx context.Context) error {
	for {
		select {
		case <-j.wakeOpen:
		case <-ctx.Done():
			return nil
		}
		j.mu.Lock()
		need := !j.closed && !j.own.open && !j.own.doubt && (len(j.outbox) > 0 || j.own.wanted) && j.mayWrite() == nil
		j.opening = need
		j.mu.Unlock()
		if !need {
			continue
		}
		no, err := j.gov.OpenChain(ctx)
		j.mu.Lock()
		j.opening = false
		if err != nil {
			if ctx.Err() == nil {
				j.alert(Alert{Kind: AlertChain, Device: j.self.Device, ChainNo: j.own.no, Err: fmt.Errorf("journal: open a chain: %w", err)})
			}
		} else {
			j.opened(no)
		}
		j.unlock()
	}
}

// opened goes on with a chain that has just been opened; j.mu is held.
func (j *Journal) opened(no uint32) {
	if no != j.own.no {
		j.switchTo(no, false)
	}
	j.view(func(r reading) { j.own.open = r.usable(j, no) })
	if !j.own.open {
		j.checkWriter() // the number's client ID is taken: on to the next
		return
	}
	j.limitChains()
	j.flush()
}
