package crdt

import (
	crand "crypto/rand"
	"encoding/binary"
	"io"
	"sync"

	"github.com/studio-whip/collab/crdt/lib0"
)

// Doc is a Yjs document. It is safe for concurrent use: Update and ApplyUpdate take the writer lock, everything else
// a reader lock.
type Doc struct {
	mu     sync.RWMutex
	limits Limits
	gc     bool
	rand   io.Reader

	// Who we are. self is interned when the first own edit needs it.
	clientID uint64
	fixedID  bool // chosen by the application, not at random
	edited   bool // has own edits made under clientID

	clients     []client
	clientIndex map[uint64]uint32

	items        slab
	arena        arena
	branches     []*branch // 0 is unused
	freeBranches []uint32
	roots        map[string]*branch
	subs         []string
	subIndex     map[string]uint32
	mark         uint32 // last stamp given by a conflict scan

	sameObject map[objectID]objectID // see objectID

	pending pending
	txns    uint64 // transactions so far

	// Memory reused from one transaction to the next.
	remote Txn      // the transaction of ApplyUpdate
	ledger ledger   // of the transaction that runs
	table  []uint32 // client numbers of the update being applied
	since  []since  // clients of the update being encoded
	out    []byte   // the update being encoded
	typed  []byte   // text being inserted

	feed feed
	deep int // observers of types and all inside them

	redone  map[unitID]unitID // see redo.go
	undo    []*Undo
	cleanup bool
	subdocs map[unitID]bool // live subdocuments, and whether they are to be loaded
}

// Option configures a new document.
type Option func(*Doc)

// WithClientID sets the client ID, at most 2^53-1, as SetClientID does.
func WithClientID(id uint64) Option {
	return func(d *Doc) { d.clientID, d.fixedID = id&lib0.MaxSafe, true }
}

// WithRand sets where random client IDs come from; the default is crypto/rand.
func WithRand(r io.Reader) Option { return func(d *Doc) { d.rand = r } }

// WithoutGC keeps the content of deleted items. Documents without collection grow forever, but their old states can
// be read back.
func WithoutGC() Option { return func(d *Doc) { d.gc = false } }

// WithLimits sets what the document accepts from outside.
func WithLimits(l Limits) Option { return func(d *Doc) { d.limits = l.withDefaults() } }

// New returns an empty document, with a random 32-bit client ID unless WithClientID sets one.
func New(opts ...Option) *Doc {
	d := &Doc{
		limits: Limits{}.withDefaults(), gc: true, rand: crand.Reader,
		clientIndex: make(map[uint64]uint32), branches: make([]*branch, 1), roots: make(map[string]*branch),
		subIndex: make(map[string]uint32),
	}
	for _, o := range opts {
		o(d)
	}
	if !d.fixedID {
		d.clientID = d.randomID()
	}
	return d
}

// randomID draws a 32-bit client ID, which is what Yjs can read. Drawing fails only if the random source does, and
// without one no ID is safe to use.
func (d *Doc) randomID() uint64 {
	var b [4]byte
	if _, err := io.ReadFull(d.rand, b[:]); err != nil {
		panic("crdt: no randomness for a client ID: " + err.Error())
	}
	return uint64(binary.BigEndian.Uint32(b[:]))
}

// ClientID returns the ID under which own edits are made.
func (d *Doc) ClientID() uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.clientID
}

// SetClientID sets the ID under which own edits are made, at most 2^53-1. Two replicas must never edit under one ID.
// After the first own edit it returns ErrClientID, until somebody else uses the ID (see OnClientConflict).
func (d *Doc) SetClientID(id uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.edited || id > lib0.MaxSafe {
		return ErrClientID
	}
	d.clientID, d.fixedID = id, true
	return nil
}

// intern returns the number of a client ID.
func (d *Doc) intern(id uint64) uint32 {
	if c, ok := d.clientIndex[id]; ok {
		return c
	}
	c := uint32(len(d.clients))
	d.clients = append(d.clients, client{id: id})
	d.clientIndex[id] = c
	return c
}

// UTF16Len returns the length of s in UTF-16 code units, which is what indexes of a Text count.
func UTF16Len(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}
