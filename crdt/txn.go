package crdt

// Origin says where a transaction came from.
type Origin struct {
	Local bool // made by Update, not by ApplyUpdate
	Tag   any  // what WithOrigin was given
}

// TxnOption tags a transaction; see WithOrigin. Every TxnOption also is an ApplyOption.
type TxnOption func(*Origin)

func (o TxnOption) apply(c *applyConfig) { o(&c.origin) }

// WithOrigin tags a transaction so that observers and undo managers can tell edits apart.
func WithOrigin(tag any) TxnOption { return func(o *Origin) { o.Tag = tag } }

// Txn is a transaction on one Doc. It must not outlive the function it was passed to.
//
// Every transaction that is handed to the application is a new Txn, so that one kept too long is found out; what it
// takes down lies in a ledger that the document uses again and again.
//
//	Txn ──▶ Txn.ledger ◀── Doc
//	ended: a Txn that points nowhere
type Txn struct {
	doc *Doc // nil once the transaction has ended
	*ledger
}

// ledger is what a transaction has done so far.
type ledger struct {
	id     uint64
	origin Origin

	touched []uint32 // clients that got structs; their state before is in client.before
	deletes []span
	merge   []unitID // splits, to be undone at commit where possible
	work    []ref    // scratch of the walks over nested types
	dirty   []*branch
	garbage bool  // deleted something that has content
	rare    *rare // nil for nearly all transactions
}

// rare is what only few transactions have.
type rare struct {
	calls    []call   // to observers of types
	later    []func() // to be called behind them
	subs     SubdocEvent
	conflict *ClientConflict
	captured func() // to be called when undo managers have seen the transaction, with the lock held
	atEnd    func() // to be called when everything is done, with the lock held
}

// extra returns the rare part, making it.
func (t *Txn) extra() *rare {
	if t.rare == nil {
		t.rare = new(rare)
	}
	return t.rare
}

// ReadTxn is a consistent read-only view; every Txn is one too.
type ReadTxn struct{ doc *Doc }

// Reader is what reading methods take: *Txn or *ReadTxn.
type Reader interface{ document() *Doc }

func (t *Txn) document() *Doc     { return t.doc }
func (t *ReadTxn) document() *Doc { return t.doc }

// Update runs fn in one transaction and emits at most one update. A CRDT cannot roll back: if fn returns an error,
// changes made before it stay, are emitted, and Update returns that error.
//
// Pass the tx down: calling Update, ApplyUpdate or View inside fn deadlocks. Observers of this and of earlier
// transactions have been called when Update returns, unless another goroutine, or this one further up its stack, is
// calling observers already and goes on to call these.
func (d *Doc) Update(fn func(*Txn) error, opts ...TxnOption) error {
	o := Origin{Local: true}
	if len(opts) > 0 {
		o = tagged(o, opts)
	}
	err := d.transact(o, fn)
	d.feed.deliver()
	return err
}

// tagged is apart from Update so that updating without options allocates nothing for them.
func tagged(o Origin, opts []TxnOption) Origin {
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// transact runs fn under the writer lock and commits, even if fn panics.
func (d *Doc) transact(o Origin, fn func(*Txn) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.begin(new(Txn), o)
	defer func() {
		t.retryDeletes() // somebody may have named clocks that are filled only now
		t.commit()
	}()
	return fn(t)
}

// View runs fn with a consistent read-only view.
func (d *Doc) View(fn func(*ReadTxn) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t := &ReadTxn{d}
	defer func() { t.doc = nil }()
	return fn(t)
}

// begin starts a transaction; the writer lock is held.
func (d *Doc) begin(t *Txn, o Origin) *Txn {
	d.txns++
	l := &d.ledger
	l.id, l.origin, l.garbage, l.rare = d.txns, o, false, nil
	l.touched, l.deletes, l.merge, l.work, l.dirty = l.touched[:0], l.deletes[:0], l.merge[:0], l.work[:0], l.dirty[:0]
	t.doc, t.ledger = d, l
	return t
}

// touch notes that a client is about to get structs.
func (t *Txn) touch(c uint32) {
	cl := &t.doc.clients[c]
	if cl.txn != t.id {
		cl.txn, cl.before = t.id, cl.state
		t.touched = append(t.touched, c)
	}
}

// stateBefore is a client's state at the start of the transaction.
func (t *Txn) stateBefore(c uint32) uint32 {
	cl := &t.doc.clients[c]
	if cl.txn == t.id {
		return cl.before
	}
	return cl.state
}

// changed notes that observers of a branch have something to hear.
func (t *Txn) changed(b *branch) {
	if len(b.observers) == 0 && !t.doc.watchesAll() || b.dirty == t.id {
		return
	}
	b.dirty = t.id
	t.dirty = append(t.dirty, b)
}

// empty says whether the transaction changed nothing.
func (t *Txn) empty() bool {
	if len(t.deletes) > 0 {
		return false
	}
	for _, c := range t.touched {
		if cl := &t.doc.clients[c]; cl.state != cl.before {
			return false
		}
	}
	return true
}

// commit ends the transaction: events are computed while what was deleted still is there, then the document is
// tidied, then the update is encoded. Nobody is called before the lock is gone.
func (t *Txn) commit() {
	d := t.doc
	var cleanup *Txn
	if !t.empty() || t.rare != nil || len(t.merge) > 0 {
		cleanup = t.prepare()
		t.settleAll()
	}
	if t.rare != nil && t.rare.atEnd != nil {
		t.rare.atEnd()
	}
	d.recycle(t.ledger)
	t.doc, t.ledger = nil, nil
	if cleanup != nil {
		cleanup.commit()
	}
}

// prepare does what must see the transaction's deletions before they are collected: events, steps to undo, and the
// transaction that cleans up behind it, which it returns.
func (t *Txn) prepare() (cleanup *Txn) {
	d := t.doc
	if len(d.undo) > 0 {
		t.captureAll()
	}
	if t.rare != nil && t.rare.captured != nil {
		t.rare.captured()
	}
	var gone spans
	if d.cleanup {
		gone = spansOf(t.deletes) // in the order in which clients were met: what is cleaned depends on it
	}
	t.deletes = mergeSpans(t.deletes)
	if len(t.dirty) > 0 {
		t.extra().calls = t.events()
	}
	if t.wantsCleanup() {
		d.txns++
		cleanup = &Txn{d, &ledger{id: d.txns, origin: Origin{Local: true}}}
		cleanup.cleanupAfter(t, gone)
	}
	return cleanup
}

// captureAll offers the transaction to the undo managers.
func (t *Txn) captureAll() {
	if t.empty() {
		return
	}
	for _, u := range t.doc.undo {
		u.capture(t)
	}
}

// settleAll tidies the document and hands the transaction to its observers.
func (t *Txn) settleAll() {
	d := t.doc
	t.finish()
	wanted, v2 := d.feed.wantsUpdates()
	if !wanted && t.rare == nil {
		return
	}
	e := event{origin: t.origin, rare: t.rare}
	if wanted && !t.empty() {
		e.update = t.encode()
		if v2 {
			e.v2 = toV2(e.update)
		}
	}
	d.feed.push(e)
}

// watchesAll says whether somebody wants to know which branches a transaction changes, observed or not.
func (d *Doc) watchesAll() bool { return d.deep > 0 || len(d.undo) > 0 || d.cleanup }

// recycle gives up memory of a transaction that is much more than an edit needs.
func (d *Doc) recycle(l *ledger) {
	const much = 4096
	clear(l.dirty)
	l.rare, l.origin = nil, Origin{}
	if cap(l.touched)+cap(l.deletes)+cap(l.merge)+cap(l.work) > much {
		*l = ledger{}
	}
	if cap(d.typed)+cap(d.out)+cap(d.table)+cap(d.since) > 16*much {
		d.typed, d.out, d.table, d.since = nil, nil, nil, nil
	}
}
