package journal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/task"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

// Self is this device.
type Self struct {
	Identity wire.ID           // id of the member's identity certificate
	Device   identity.DeviceID // id of the device certificate
	Keys     *identity.DeviceKeys
}

// Config is what a journal works with.
type Config struct {
	Store      *store.Store
	Governance Governance
	Self       Self
	Random     io.Reader        // nonces; production passes crypto/rand.Reader
	Now        func() time.Time // only for how long something waits or is held back; nil: time.Now
	Logger     *slog.Logger     // nil: none
	// Provisional is for how long a manager's proposal of a quarantine holds before others have voted, by this device's
	// own choice; 0: [Provisional], negative: not at all.
	Provisional time.Duration
}

// Journal is the content of one project. It is safe for concurrent use; functions given to it are called in order, one
// at a time, without its lock.
type Journal struct {
	store   *store.Store
	gov     Governance
	project genesis.ProjectID
	self    Self
	random  io.Reader
	clock   func() time.Time
	log     *slog.Logger

	tasks     *task.Group
	wakeBuild chan struct{} // there may be something to rebuild, verify or save
	wakeSend  chan struct{} // there may be something to publish
	wakeOpen  chan struct{} // a chain may have to be opened
	wakeHold  chan struct{} // what is held back may end at another time

	provisional time.Duration
	maxHeld     int // MaxHeld

	// appending is held by Append, so that own edits keep their order, and never while an observer runs.
	appending sync.Mutex

	// mu guards what follows. It is never held while a function of the user or of crdt's observers runs, and nobody
	// who holds it waits for a replica's gate.
	mu       sync.Mutex
	closed   bool
	chains   map[chainKey]*chain
	replicas map[DocID]*Replica
	index    *Replica // the document of names
	waiting  waitlist
	retrying bool
	forks    map[chainKey]uint64 // chains with a proven contradiction, and where it is
	own      writer
	holds    holds
	outbox   []*held
	heldNo   uint64 // number of the newest record in the stored outbox
	unsent   []*envelope.Envelope
	sending  bool

	// What is to be told, in order; telling is set while somebody does.
	told    []func()
	telling bool
	onOwn   []func(*envelope.Envelope)
	onGap   []func(Gap)
	onAlert []func(Alert)
	onHeld  []func()
	heldWas int // length of the outbox when onHeld was last told

	idle *sync.Cond // something has been done; see Settled
}

// Open opens the journal of a project in the project's store.
func Open(ctx context.Context, cfg Config) (*Journal, error) {
	j := &Journal{
		store: cfg.Store, gov: cfg.Governance, project: cfg.Governance.ID(), self: cfg.Self, random: cfg.Random,
		clock: cfg.Now, log: cfg.Logger,
		wakeBuild: make(chan struct{}, 1), wakeSend: make(chan struct{}, 1), wakeOpen: make(chan struct{}, 1),
		wakeHold: make(chan struct{}, 1), provisional: cmp.Or(cfg.Provisional, Provisional), maxHeld: MaxHeld, holds: newHolds(),
		chains: map[chainKey]*chain{}, replicas: map[DocID]*Replica{}, forks: map[chainKey]uint64{},
		waiting: waitlist{buckets: map[identity.DeviceID]*bucket{}},
	}
	j.idle = sync.NewCond(&j.mu)
	if j.clock == nil {
		j.clock = time.Now
	}
	if j.log == nil {
		j.log = slog.New(slog.DiscardHandler)
	}
	if err := j.load(); err != nil {
		return nil, fmt.Errorf("journal: open: %w", err)
	}
	j.tasks = task.New(ctx)
	j.tasks.Go("publish", j.publish)
	j.tasks.Go("build", j.build)
	j.tasks.Go("open chain", j.openChains)
	j.tasks.Go("holds", j.watchHolds)
	j.poke(j.wakeBuild)
	j.poke(j.wakeOpen)
	return j, nil
}

// load reads what the store holds and decides under which chain this session writes.
func (j *Journal) load() error {
	unclean := false
	err := j.store.Update(func(tx *store.Tx) error {
		var err error
		if _, unclean, err = tx.Map(metaMap).Get(openedKey); err != nil {
			return err
		}
		return errors.Join(tx.Map(metaMap).Put(openedKey, []byte{1}), j.loadChains(tx), j.loadForks(tx), j.loadOutbox(tx), j.loadHolds(tx))
	})
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.limitChains()
	j.startWriter(unclean)
	j.reviewHolds()
	j.index, err = j.openReplica(identity.DocumentID([32]byte(j.project), indexName), indexName)
	return err
}

func (j *Journal) loadChains(tx *store.Tx) error {
	for k, raw := range tx.Map(headsMap).All() {
		key, err := chainKeyOf(k)
		if err != nil {
			return err
		}
		var h headRecord
		if err := unmarshal(raw, &h); err != nil {
			return err
		}
		j.chains[key] = &chain{
			key: key, client: uint64(identity.ClientID([32]byte(j.project), key.device, key.no)), branch: h.branch(0, 1, 0),
		}
	}
	return errors.Join(tx.Err(), j.loadBranches(tx))
}

// loadBranches reads the further branches of forked chains, and which of them each is held as.
func (j *Journal) loadBranches(tx *store.Tx) error {
	m := tx.Map(branchesMap)
	for _, k := range sortedKeys(m) { // a chain before its branches, and those ascending
		raw, _, err := m.Get(k)
		if err != nil {
			return err
		}
		key, err := chainKeyOf(k[:min(len(k), chainKeySize)])
		if err != nil {
			return err
		}
		c := j.chains[key]
		if c == nil {
			return fmt.Errorf("journal: stored branch of chain %v, of which nothing is held", key)
		}
		if len(k) == chainKeySize {
			continue
		}
		var b branchRecord
		if err := unmarshal(raw, &b); err != nil {
			return err
		}
		if len(c.branches) == 0 {
			c.branches = []*branch{c.branch}
		}
		c.branches = append(c.branches, b.Head.branch(binary.BigEndian.Uint32(k[chainKeySize:]), b.From, b.On))
	}
	for _, c := range j.chains {
		raw, ok, err := m.Get(c.key.bytes())
		if err != nil || !ok {
			if err != nil {
				return err
			}
			continue
		}
		var now currentRecord
		if err := unmarshal(raw, &now); err != nil {
			return err
		}
		i := slices.IndexFunc(c.branches, func(b *branch) bool { return b.no == now.Branch })
		if i < 0 {
			return fmt.Errorf("journal: branch %d of chain %v is not stored", now.Branch, c.key)
		}
		c.branch, c.last = c.branches[i], now.Last
	}
	return tx.Err()
}

func (j *Journal) loadForks(tx *store.Tx) error {
	for k, raw := range tx.Map(forksMap).All() {
		key, err := chainKeyOf(k)
		if err != nil {
			return err
		}
		var f forkRecord
		if err := unmarshal(raw, &f); err != nil {
			return err
		}
		j.forks[key] = f.Seq
		if c := j.chains[key]; c != nil {
			c.forkedAt = f.Seq
		}
	}
	return tx.Err()
}

// loadOutbox reads the own edits that were not signed when the journal was closed.
func (j *Journal) loadOutbox(tx *store.Tx) error {
	m := tx.Map(outboxMap)
	for _, k := range sortedKeys(m) {
		raw, _, err := m.Get(k)
		if err != nil {
			return err
		}
		h := &held{no: binary.BigEndian.Uint64(k)}
		if err := unmarshal(raw, &h.heldRecord); err != nil {
			return err
		}
		j.outbox = append(j.outbox, h)
		j.heldNo = h.no
	}
	return tx.Err()
}

// sortedReplicas lists the open documents in a fixed order.
func (j *Journal) sortedReplicas() []*Replica {
	out := make([]*Replica, 0, len(j.replicas))
	for _, r := range j.replicas {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *Replica) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return out
}

// limitChains says of every chain up to where it counts now. It returns those whose end has moved.
func (j *Journal) limitChains() (moved []*chain) {
	for _, c := range j.sortedChains() {
		if j.reckon(c) {
			moved = append(moved, c)
		}
	}
	return moved
}

// Close signs what can be signed, makes everything durable, ends the journal's goroutines and notes that the store was
// closed in order: the next session may then go on with the same chain, unless this one was in doubt to its end. It does
// not close the store.
func (j *Journal) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	err := j.appendAll(ctx)
	if errors.Is(err, ErrClosed) {
		return nil
	}
	clean, first := j.shut()
	if !first {
		return nil
	}
	j.closeGates()
	err = errors.Join(err, j.tasks.Close())
	return errors.Join(err, j.store.Update(func(tx *store.Tx) error {
		if !clean {
			return nil
		}
		return tx.Map(metaMap).Delete(openedKey)
	}))
}

// shut refuses everything from now on. clean says whether the next session may go on with the same chain.
func (j *Journal) shut() (clean, first bool) {
	j.appending.Lock()
	defer j.appending.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return false, false
	}
	j.closed = true
	j.idle.Broadcast()
	return !j.own.doubt, true
}

// closeGates ends waiting for a document to be left alone. Whoever is alone with one may wait for j.mu, so that it is not
// held here.
func (j *Journal) closeGates() {
	j.mu.Lock()
	replicas := j.sortedReplicas()
	j.mu.Unlock()
	for _, r := range replicas {
		r.gate.close()
	}
}

// unlock releases j.mu and delivers what has to be applied and told. Every exported method that changes something ends
// with it.
func (j *Journal) unlock() {
	j.mu.Unlock()
	j.deliver()
}

// deliver applies accepted edits to open documents and tells what there is to tell. If another goroutine, or this one
// further up its stack, is at it already, that one goes on with it.
func (j *Journal) deliver() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		if r := j.toApply(); r != nil {
			r.applying = true
			j.mu.Unlock()
			r.applyNext()
			j.mu.Lock()
			r.applying = false
			continue
		}
		if len(j.told) == 0 || j.telling {
			if j.anyDue() { // what was due waited for what has just been done
				j.poke(j.wakeBuild)
			}
			j.idle.Broadcast()
			return
		}
		fn := j.told[0]
		j.told = j.told[1:]
		j.telling = true
		j.mu.Unlock()
		fn()
		j.mu.Lock()
		j.telling = false
	}
}

// toApply returns a document with edits to apply that nobody is applying to.
func (j *Journal) toApply() *Replica {
	for _, r := range j.replicas {
		if len(r.todo) > 0 && !r.applying {
			return r
		}
	}
	return nil
}

// tell queues fn; j.mu is held.
func (j *Journal) tell(fn func()) { j.told = append(j.told, fn) }

// poke wakes one of the journal's goroutines.
func (j *Journal) poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// OnOwn calls fn with every own envelope once it is durable, in order. Call it before the first Append.
func (j *Journal) OnOwn(fn func(*envelope.Envelope)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.onOwn = append(j.onOwn, fn)
}

// OnGap calls fn whenever something turns out to be missing.
func (j *Journal) OnGap(fn func(Gap)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.onGap = append(j.onGap, fn)
}

// OnAlert calls fn with what a person should look at.
func (j *Journal) OnAlert(fn func(Alert)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.onAlert = append(j.onAlert, fn)
}

// OnHeld calls fn when [Journal.Held] has changed.
func (j *Journal) OnHeld(fn func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.onHeld = append(j.onHeld, fn)
	j.heldWas = len(j.outbox)
}

// Changed tells the journal that the governance log or the keys have changed: what waited is judged again, documents
// whose envelopes count differently now are rebuilt, held edits are signed if that has become possible. Call it after
// every change, in order.
func (j *Journal) Changed() {
	j.mu.Lock()
	defer j.unlock()
	if j.closed {
		return
	}
	j.limitChains()
	j.seek()
	for _, c := range j.sortedChains() {
		if c.astray() {
			j.gap(Gap{Device: c.key.device, ChainNo: c.key.no, After: c.plain})
		}
	}
	j.view(func(r reading) { j.own.doubt = j.own.doubt && !r.alone(j.self.Device) })
	j.reviewHolds()
	j.renumber()
	j.retryAll()
	j.flush()
	j.poke(j.wakeOpen)
}

// WaitSaved returns when everything that was edited, appended or accepted before the call is durable: it survives a
// crash and a power cut from then on. It fails as [Journal.Append] does, or with the store's error or the context's. It
// must not be called by an observer of a document, for whose end it waits.
func (j *Journal) WaitSaved(ctx context.Context) error {
	if err := j.appendAll(ctx); err != nil {
		return err
	}
	if err := j.store.Flush(ctx); err != nil {
		return fmt.Errorf("journal: save: %w", err)
	}
	return nil
}

// Held is how many batches of own edits are stored but not yet signed.
func (j *Journal) Held() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.outbox)
}

// knows reports whether the governance log holds all of heads.
func (j *Journal) knows(heads []governance.EventID) (known bool) {
	j.view(func(r reading) { known = r.knows(heads) })
	return known
}

// publish hands own envelopes over once they are durable.
func (j *Journal) publish(ctx context.Context) error {
	for {
		j.mu.Lock()
		batch := j.unsent
		j.unsent, j.sending = nil, len(batch) > 0
		j.mu.Unlock()
		if len(batch) == 0 {
			select {
			case <-j.wakeSend:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if err := j.store.Flush(ctx); err != nil {
			return fmt.Errorf("own edits are not durable and were not sent: %w", err)
		}
		j.mu.Lock()
		for _, fn := range j.onOwn {
			j.tell(func() {
				for _, e := range batch {
					fn(e)
				}
			})
		}
		j.sending = false
		j.unlock()
	}
}
