package journal

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/sync/envelope"
)

// writer is what this session knows of the chains that it writes on. There is one, but where a chain cannot be used, or
// could not be used for one document, edits have the client ID of a later one, which is opened before they are signed.
//
//	         ┌ clean, or nobody else could know more ─▶ edits are signed at once
//	start ───┤
//	         └ in doubt ─▶ edits are held under the next chain's client ID
//	                       ─▶ Pulled ─▶ OpenChain ─▶ signed; if the number was taken, what is held is re-issued
type writer struct {
	no         uint32          // for documents that are opened
	ours       map[uint32]bool // chains that nobody can hold newer parts of
	introduced map[uint32]bool // in this session
	doubt      bool            // others may hold newer parts of this device's chains: open none before Pulled
	opening    bool            // a chain is being opened
	wanted     bool            // an introduction was asked for
	trouble    string          // what the last alert said, so that it is said once
}

// startWriter chooses the session's chain; j.mu is held.
func (j *Journal) startWriter(unclean bool) {
	j.own = writer{ours: map[uint32]bool{}, introduced: map[uint32]bool{}}
	j.view(func(r reading) {
		j.own.doubt = unclean && !r.alone(j.self.Device)
		last, ok := uint32(0), false
		for _, c := range r.now.Chains() {
			if c.Device != j.self.Device {
				continue
			}
			j.own.ours[c.No] = !j.own.doubt
			if r.usable(j, c.No) {
				last, ok = c.No, true
			}
		}
		if j.own.no = last; !ok {
			j.own.no = r.nextChain(j.self.Device)
		}
		for _, h := range j.outbox {
			j.own.no = max(j.own.no, h.ChainNo)
		}
	})
	j.renumber()
}

// alone reports whether a device is the only live one: nobody else can know more than it.
func (r reading) alone(device identity.DeviceID) bool {
	live := r.now.Devices()
	return len(live) == 1 && live[0].ID == device
}

func (j *Journal) clientOf(no uint32) uint64 {
	return uint64(identity.ClientID([32]byte(j.project), j.self.Device, no))
}

// usable reports whether a chain of this device may be signed on.
func (r reading) usable(j *Journal, no uint32) bool {
	c, ok := r.now.Chain(j.self.Device, no)
	_, cut := r.now.Cut(j.self.Device, no)
	_, forked := j.forks[chainKey{j.self.Device, no}]
	return ok && c.Owned && !cut && !forked && j.own.ours[no]
}

// usable is the same in the present state; j.mu is held.
func (j *Journal) usable(no uint32) (ok bool) {
	j.view(func(r reading) { ok = r.usable(j, no) })
	return ok
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

// numbers lists the chains that own edits are under which are not signed, or that further edits will be under.
func (j *Journal) numbers() []uint32 {
	used := map[uint32]bool{j.own.no: true}
	for _, h := range j.outbox {
		used[h.ChainNo] = true
	}
	for _, r := range j.replicas {
		used[r.no] = true
		for _, no := range r.past {
			used[no] = true
		}
	}
	return slices.Sorted(maps.Keys(used))
}

// renumber gives edits that cannot be signed under their chain's number another: the chain has been cut, forked or
// has lost its client ID, or its number has been taken by a chain that this session did not open. j.mu is held.
func (j *Journal) renumber() {
	to := map[uint32]uint32{}
	var lost []uint32
	j.view(func(r reading) {
		used := j.numbers()
		next := r.nextChain(j.self.Device)
		for _, no := range used {
			c, stands := r.now.Chain(j.self.Device, no)
			if r.usable(j, no) || stands && j.own.opening {
				continue
			}
			if stands && !c.Owned && j.own.ours[no] {
				lost = append(lost, no)
			}
			free := j.unwritten(r, used)
			if free < 0 {
				free = int64(next)
				next++
			}
			if uint32(free) != no {
				to[no] = uint32(free)
			}
			used = append(used, uint32(free))
		}
	})
	if len(to) == 0 {
		return
	}
	for _, no := range lost {
		if err := j.recall(chainKey{j.self.Device, no}); err != nil {
			j.alert(Alert{Kind: AlertChain, Device: j.self.Device, ChainNo: no, Err: err})
		}
	}
	j.move(to, lost)
}

// unwritten returns a chain that was opened and that nothing is under yet, -1 if there is none.
func (j *Journal) unwritten(r reading, used []uint32) int64 {
	for _, no := range slices.Sorted(maps.Keys(j.own.ours)) {
		if r.usable(j, no) && !slices.Contains(used, no) && j.chains[chainKey{j.self.Device, no}] == nil {
			return int64(no)
		}
	}
	return -1
}

// move makes the edits of some chains that are not signed those of others, under which there is nothing yet. Of the
// lost chains, everything is. j.mu is held.
func (j *Journal) move(to map[uint32]uint32, lost []uint32) {
	moves := j.heldMoves(to)
	j.own.no = renamed(to, j.own.no)
	for _, h := range j.outbox {
		if n, ok := to[h.ChainNo]; ok {
			j.reissueHeld(h, n, moves[h.Doc])
		}
	}
	for _, r := range j.replicas {
		for _, old := range slices.Sorted(maps.Keys(to)) {
			base := r.signed[old]
			if slices.Contains(lost, old) {
				base = 0
			}
			r.moves = append(r.moves, move{from: j.clientOf(old), base: base, to: j.clientOf(to[old])})
		}
		for i, no := range r.past {
			r.past[i] = renamed(to, no)
		}
		r.no = renamed(to, r.no)
		r.stale = true
	}
	j.poke(j.wakeBuild)
	j.poke(j.wakeOpen)
}

func renamed(to map[uint32]uint32, no uint32) uint32 {
	if n, ok := to[no]; ok {
		return n
	}
	return no
}

// heldMoves says for each document in the outbox what moves: of every chain, from its first clock there on.
func (j *Journal) heldMoves(to map[uint32]uint32) map[DocID][]move {
	out := map[DocID][]move{}
	for _, h := range j.outbox {
		n, ok := to[h.ChainNo]
		first, makes := startOf(h.Updates, j.clientOf(h.ChainNo))
		if !ok || !makes {
			continue
		}
		m := move{from: j.clientOf(h.ChainNo), base: first, to: j.clientOf(n)}
		if i := slices.IndexFunc(out[h.Doc], func(o move) bool { return o.from == m.from }); i >= 0 {
			out[h.Doc][i].base = min(out[h.Doc][i].base, first)
		} else {
			out[h.Doc] = append(out[h.Doc], m)
		}
	}
	return out
}

// startOf returns the first clock of a client that updates make structs at.
func startOf(updates [][]byte, client uint64) (first uint64, makes bool) {
	for _, u := range updates {
		created, _, _ := crdt.Inspect(u)
		for _, c := range created {
			if c.Client == client && (!makes || c.From < first) {
				first, makes = c.From, true
			}
		}
	}
	return first, makes
}

func (j *Journal) reissueHeld(h *held, no uint32, moves []move) {
	h.ChainNo = no
	updates := make([][]byte, len(h.Updates)) // a new list: the old one may be on its way to the store
	for i, u := range h.Updates {
		moved, err := reissueAll(u, moves)
		if err != nil {
			j.alert(Alert{Kind: AlertChain, Device: j.self.Device, ChainNo: no, Doc: h.Doc, Err: err})
			return
		}
		updates[i] = moved
	}
	h.Updates = updates
	if no, rec := h.no, h.heldRecord; no > 0 {
		j.write(func(tx *store.Tx) error { return put(tx, outboxMap, seqKey(no), rec) })
	}
}

// noticeOwn looks at an envelope from outside: if it is one of this device's own chains that this device does not hold,
// its store is older than what it has sent before, and none of them must be written on any more.
func (j *Journal) noticeOwn(c *chain, e *envelope.Envelope) {
	if e.Device != j.self.Device || e.Seq <= c.head || !j.own.ours[e.ChainNo] {
		return
	}
	j.alert(Alert{Kind: AlertDoubt, Device: e.Device, ChainNo: e.ChainNo, Seq: e.Seq})
	j.own.doubt = true
	clear(j.own.ours)
	j.renumber()
}

// divert gives a document a chain of its own to go on with, because edits on its present one wait for others that do
// not count: a client's edits are numbered, and those numbers are used. j.mu is held.
func (j *Journal) divert(r *Replica, blocked func(no uint32) bool) {
	r.past = append(r.past, r.no)
	if j.own.no > r.no && !blocked(j.own.no) {
		r.no = j.own.no
		return
	}
	next := uint32(0)
	j.view(func(g reading) { next = g.nextChain(j.self.Device) })
	used := j.numbers()
	j.own.no = max(next, used[len(used)-1]+1)
	r.no = j.own.no
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
		back = append(back, &held{heldRecord: heldRecord{Doc: e.Doc, ChainNo: key.no, Updates: updates}, silent: true})
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
// has written before is here now, as far as that one knew. A device in doubt may then open its next chain, and what is
// held is signed if it can be.
func (j *Journal) Pulled(device identity.DeviceID) {
	j.mu.Lock()
	defer j.unlock()
	if j.closed {
		return
	}
	j.view(func(r reading) {
		d, ok := r.now.Device(device)
		if ok && d.Live && device != j.self.Device {
			j.own.doubt = false
		}
	})
	j.flush()
	j.poke(j.wakeOpen)
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
		need := !j.closed && !j.own.doubt && j.needsChain() && j.mayWrite() == nil
		j.own.opening = need
		j.mu.Unlock()
		if !need {
			continue
		}
		no, err := j.gov.OpenChain(ctx)
		j.mu.Lock()
		j.own.opening = false
		if err != nil {
			if ctx.Err() == nil {
				j.cannotWrite(j.own.no, fmt.Errorf("journal: open a chain: %w", err))
			}
		} else {
			j.own.ours[no], j.own.trouble = true, ""
			j.renumber()
			j.limitChains()
			j.flush()
			j.introduceWanted()
		}
		j.unlock()
	}
}

// introduceWanted makes the introduction that was asked for when there was no chain; j.mu is held.
func (j *Journal) introduceWanted() {
	if !j.own.wanted || !j.usable(j.own.no) {
		return
	}
	j.own.wanted = false
	if _, err := j.introduceNow(); err != nil {
		j.cannotWrite(j.own.no, err)
	}
}

// cannotWrite alerts, unless the last alert said the same.
func (j *Journal) cannotWrite(no uint32, err error) {
	if j.own.trouble != err.Error() {
		j.own.trouble = err.Error()
		j.alert(Alert{Kind: AlertChain, Device: j.self.Device, ChainNo: no, Err: err})
	}
}

// needsChain reports whether something waits to be signed on a chain that does not stand.
func (j *Journal) needsChain() bool {
	return j.own.wanted && !j.usable(j.own.no) ||
		slices.ContainsFunc(j.outbox, func(h *held) bool { return !j.usable(h.ChainNo) })
}
