package journal

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// DocID names a document: [identity.DocumentID] of its name.
type DocID = [16]byte

// Origin tags the transactions that the journal makes when it applies an envelope of somebody else's; see
// [crdt.Origin].
type Origin struct {
	Device  identity.DeviceID // author
	ChainNo uint32
	Seq     uint64
}

// Replica is an open document. It stays open until the journal is closed.
type Replica struct {
	ID   DocID
	Name string // empty if it was opened by its id and nobody has told its name

	j    *Journal
	gate *gate
	doc  atomic.Pointer[crdt.Doc] // changes while the gate and j.mu are held

	// emitted guards fresh: own updates that the document has emitted and Append has not taken yet. It is a lock of its
	// own because documents emit while the journal may be locked.
	emitted sync.Mutex
	fresh   [][]byte

	// The rest is guarded by j.mu.
	stop       func() // ends the subscription to doc
	onReplaced []func(before, after *crdt.Doc)
	content
	todo     []edit // accepted edits that are not applied yet
	applying bool
	stale    bool              // does not show what counts any more: to be rebuilt
	named    bool              // the index knows the name
	starved  bool              // edits were dropped because too much waited: to be rebuilt when what they waited for is there
	no       uint32            // own chain under whose client ID it is edited,
	past     []uint32          // and those that it has left; what they have emitted may not be taken yet
	signed   map[uint32]uint64 // by own chain: the clocks below are in envelopes
	moves    []move            // what edits have to go through that were made before a renumbering
	adopted  *snapshotCore     // snapshot of another device that the document rests on, nil if none
	giver    identity.DeviceID
}

// content says which envelopes are in a document.
type content struct {
	entries uint64 // envelopes of the document, whether they count or not
	tail    int    // of these, how many were added since the last local snapshot,
	bytes   int    // and how many bytes of edits they have
	spans   map[chainKey]extent
}

// extent is which envelopes of one chain are in a document: those up to top that belong to it. skipped is the first
// that was left out because it did not count, or is held back; 0: none.
type extent struct{ top, skipped uint64 }

// current reports whether the same envelopes would be in the document if it were built now.
func (c *content) current(j *Journal) bool {
	for key, x := range c.spans {
		shown := j.chain(key).shown()
		if x.top > shown || x.skipped > 0 && x.skipped <= shown {
			return false
		}
	}
	return true
}

// add notes the next envelope of the document and reports whether it is shown, as those of its chain up to a place are.
func (c *content) add(key chainKey, seq, upTo uint64, size int) bool {
	if c.spans == nil {
		c.spans = map[chainKey]extent{}
	}
	x := c.spans[key]
	shown := seq <= upTo
	switch {
	case shown:
		x.top = max(x.top, seq)
	case x.skipped == 0:
		x.skipped = seq
	}
	c.spans[key] = x
	c.entries++
	c.tail++
	c.bytes += size
	return shown
}

// edit is what one envelope does to a document.
type edit struct {
	updates [][]byte
	origin  Origin
}

// CRDT returns the document. Read and observe it; edit it through [Replica.Update], inside which it stays the same.
// After a change of governance that takes edits away it is another one: see [Replica.OnReplaced].
func (r *Replica) CRDT() *crdt.Doc { return r.doc.Load() }

// Update edits the document in one transaction, like [crdt.Doc.Update]. It fails with [ErrReadOnly], without a change,
// if this member may not write.
func (r *Replica) Update(fn func(*crdt.Txn) error, opts ...crdt.TxnOption) error {
	r.j.mu.Lock()
	err := r.j.mayWrite()
	if r.j.closed {
		err = ErrClosed
	}
	r.j.mu.Unlock()
	if err != nil {
		return err
	}
	defer r.gate.enter()()
	return r.CRDT().Update(fn, opts...)
}

// OnReplaced calls fn when the document has been rebuilt because other envelopes count now: before is out of use, and
// what was attached to it (observers, handles of shared types, positions) has to be taken from after.
func (r *Replica) OnReplaced(fn func(before, after *crdt.Doc)) {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	r.onReplaced = append(r.onReplaced, fn)
}

// Unverified reports whether the document still rests on a snapshot whose envelopes have not all arrived.
func (r *Replica) Unverified() bool {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	return r.adopted != nil
}

// Blocked lists the edits that shown or waiting ones depend on and that are not there: they have not arrived, or do not
// count. What depends on them is kept but not shown.
func (r *Replica) Blocked() []crdt.Range { return r.CRDT().Missing() }

// use makes doc the replica's document; j.mu is held, or the replica is not shared yet.
func (r *Replica) use(doc *crdt.Doc) {
	if r.stop != nil {
		r.stop()
	}
	r.doc.Store(doc)
	r.stop = doc.OnUpdate(func(update []byte, o crdt.Origin) {
		if o.Local {
			r.emitted.Lock()
			r.fresh = append(r.fresh, update)
			r.emitted.Unlock()
		}
	})
}

// unsent returns the own updates that Append has not taken.
func (r *Replica) unsent() [][]byte {
	r.emitted.Lock()
	defer r.emitted.Unlock()
	return slices.Clone(r.fresh)
}

// take returns them and forgets them.
func (r *Replica) take() [][]byte {
	r.emitted.Lock()
	defer r.emitted.Unlock()
	out := r.fresh
	r.fresh = nil
	return out
}

// note takes in that an envelope of the document was accepted; own says that the document shows it already. j.mu is
// held.
func (r *Replica) note(c *chain, it judged, own bool) {
	if !r.content.add(c.key, it.env.Seq, c.shown(), it.env.Size()) {
		return
	}
	if c.key.device == r.j.self.Device {
		r.signed[c.key.no] = max(r.signed[c.key.no], endOf(it.updates, c.client))
	}
	if !own {
		r.todo = append(r.todo, edit{it.updates, Origin{c.key.device, c.key.no, it.env.Seq}})
	}
	if r.tail > tailEnvelopes || r.bytes > tailBytes || r.adopted != nil {
		r.j.poke(r.j.wakeBuild)
	}
}

// endOf returns the clock after the last struct of a client that updates make.
func endOf(updates [][]byte, client uint64) (end uint64) {
	for _, u := range updates {
		created, _, _ := crdt.Inspect(u)
		for _, c := range created {
			if c.Client == client {
				end = max(end, c.To)
			}
		}
	}
	return end
}

// applyNext applies the next accepted edit. It is called without locks, by one goroutine at a time.
func (r *Replica) applyNext() {
	defer r.gate.enter()()
	r.j.mu.Lock()
	if len(r.todo) == 0 { // rebuilt meanwhile, with it
		r.j.mu.Unlock()
		return
	}
	e, doc := r.todo[0], r.CRDT()
	r.todo = r.todo[1:]
	r.j.mu.Unlock()
	dropped, err := apply(doc, e)
	missing := len(doc.Missing()) // never asked for with the journal locked: whoever edits may wait for that lock
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	switch {
	case err != nil || dropped:
		r.failed(e, err)
	case r.starved && missing == 0:
		r.stale = true
		r.j.poke(r.j.wakeBuild)
	}
}

// failed notes that an accepted edit could not be applied; j.mu is held.
func (r *Replica) failed(e edit, err error) {
	r.starved = true
	if err == nil {
		err = errors.New("journal: too many edits wait for others; these are applied when the others are there")
	}
	o := e.origin
	r.j.alert(Alert{Kind: AlertUnapplied, Device: o.Device, ChainNo: o.ChainNo, Seq: o.Seq, Doc: r.ID, Err: err})
}

// apply applies one envelope's updates, in one transaction unless they overlap. dropped says that some would have had
// to wait but did not fit.
func apply(doc *crdt.Doc, e edit) (dropped bool, err error) {
	for _, u := range joined(e.updates) {
		a, err := doc.ApplyUpdate(u, crdt.WithOrigin(e.origin))
		if err != nil {
			return dropped, err
		}
		dropped = dropped || len(a.Dropped) > 0
	}
	return dropped, nil
}

// joined returns one update that says what all of them say, or them as they are if they overlap.
func joined(updates [][]byte) [][]byte {
	if len(updates) < 2 {
		return updates
	}
	var all changes
	for _, u := range updates {
		c, err := parseChanges(u)
		if err != nil {
			return updates
		}
		all.structs = append(all.structs, c.structs...)
		all.deletes = append(all.deletes, c.deletes...)
	}
	sortPieces(all.structs)
	for i := 1; i < len(all.structs); i++ {
		if a, b := &all.structs[i-1], &all.structs[i]; a.client == b.client && a.end() > b.clock {
			return updates
		}
	}
	all.deletes = joinErased(all.deletes)
	return [][]byte{all.encode()}
}

// Digest returns what is equal for replicas that show the same edits, [crdt.Doc.Digest].
func (r *Replica) Digest() wire.ID { return wire.ID(r.CRDT().Digest()) }
