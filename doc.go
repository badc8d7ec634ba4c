package collab

import (
	"context"
	"fmt"
	"sync"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/sync/journal"
)

// Doc is a shared Yjs document kept in sync and on disk. Methods are safe for concurrent use.
//
// If a change of governance takes away edits that were shown, the document is rebuilt. Handles taken from [Doc.Text],
// [Doc.Map], [Doc.Array] and [Doc.XML] before are then out of use: take them anew in each Update or View. Observers given
// to [Doc.OnUpdate] stay.
type Doc struct {
	s        *Session
	replica  *journal.Replica
	presence *Presence

	mu        sync.Mutex
	observers map[int]*docObserver
	nextID    int
}

// docObserver is a function given to OnUpdate and its subscription to the present document.
type docObserver struct {
	fn   func([]byte, crdt.Origin)
	stop func()
}

// Doc opens the document with this name, creating it if absent. Equal names give the same *Doc. Names are at most
// 128 bytes of UTF-8 without control characters, else the error is journal.ErrName. Others learn of a new name when
// something is written. It does not wait for the network: what others have written comes in as it arrives.
func (s *Session) Doc(ctx context.Context, name string) (*Doc, error) {
	if err := s.readable(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, wrap("open document", err)
	}
	replica, err := s.journal.Doc(name)
	if err != nil {
		return nil, wrap("open document", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.docs[replica.ID]; d != nil {
		return d, nil
	}
	d := &Doc{s: s, replica: replica, observers: map[int]*docObserver{}}
	d.presence = &Presence{doc: d}
	replica.OnReplaced(d.replaced) // first: a replacement in between would leave the observer behind
	d.OnUpdate(d.edited)
	s.docs[replica.ID] = d
	return d, nil
}

// edited sends own edits on their way and tells of all.
func (d *Doc) edited(update []byte, o crdt.Origin) {
	if o.Local {
		d.s.edits.Add(1)
		d.s.live.Edited(d.replica.ID, update)
	}
	d.s.events.Send(DocChanged{Doc: d.replica.Name, Remote: !o.Local})
}

// replaced moves the observers to the rebuilt document.
func (d *Doc) replaced(_, after *crdt.Doc) {
	d.mu.Lock()
	for _, o := range d.observers {
		o.stop()
		o.stop = after.OnUpdate(o.fn)
	}
	d.mu.Unlock()
	d.s.events.Send(DocChanged{Doc: d.replica.Name, Remote: true})
}

// Docs lists the names of the project's documents, sorted.
func (s *Session) Docs() []string { return s.journal.Names() }

// Name returns the document's name.
func (d *Doc) Name() string { return d.replica.Name }

// Text returns the text at a root name; equal names give the same text. Indexes and lengths count UTF-16 code units, as
// in Yjs; crdt.UTF16Len converts.
func (d *Doc) Text(name string) *crdt.Text { return d.replica.CRDT().Text(name) }

// Map returns the map at a root name; equal names give the same map.
func (d *Doc) Map(name string) *crdt.Map { return d.replica.CRDT().Map(name) }

// Array returns the list at a root name; equal names give the same list. Texts, maps and lists nest in lists and maps:
// see crdt.NewMap.
func (d *Doc) Array(name string) *crdt.Array { return d.replica.CRDT().Array(name) }

// XML returns the XML fragment at a root name; equal names give the same fragment. It holds elements and formatted texts,
// as rich-text editors on Yjs keep their documents.
func (d *Doc) XML(name string) *crdt.XML { return d.replica.CRDT().XML(name) }

// View runs fn with a consistent read-only view and returns what fn returns. Calling View or Update inside fn may
// deadlock.
func (d *Doc) View(fn func(*crdt.ReadTxn) error) error { return d.replica.CRDT().View(fn) }

// OnUpdate calls fn after each transaction that changed the document, in commit order, with its Yjs v1 update; stop
// ends the calls. It runs outside the transaction, so fn may read and edit, but must not wait ([Doc.WaitSaved],
// [Session.Close]). fn may keep update but must not change it.
func (d *Doc) OnUpdate(fn func(update []byte, o crdt.Origin)) (stop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := d.nextID
	d.nextID++
	d.observers[id] = &docObserver{fn: fn, stop: d.replica.CRDT().OnUpdate(fn)}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if o := d.observers[id]; o != nil {
			o.stop()
			delete(d.observers, id)
		}
	}
}

// Update runs fn in one transaction and queues at most one update for the others. It returns when the edit is applied
// in memory; a group commit makes it durable within 100 ms, see [Doc.WaitSaved]. Calling Update or View inside fn
// deadlocks: pass the tx down. A viewer's Update fails with [ErrDenied] and changes nothing, as it does with [ErrClosed]
// after Close.
//
// A CRDT cannot roll back: if fn returns an error, changes made before it stay and Update returns that error.
func (d *Doc) Update(fn func(*crdt.Txn) error) error {
	if err := d.s.alive(); err != nil {
		return err
	}
	if err := d.s.mayWrite(); err != nil {
		return err
	}
	var own error
	err := d.replica.Update(func(tx *crdt.Txn) error {
		own = fn(tx)
		return own
	})
	if own != nil {
		return own // as it is: it is the caller's
	}
	return wrap("edit", err)
}

// Export returns the whole document as one Yjs v1 update; it opens in Yjs and yrs.
func (d *Doc) Export() ([]byte, error) {
	update, err := d.replica.CRDT().EncodeUpdate(nil)
	return update, wrap("export document", err)
}

// WaitSaved blocks until what was edited before the call is durable on this device: it survives a crash and a power
// cut from then on. It must not be called from an observer or a transaction.
func (d *Doc) WaitSaved(ctx context.Context) error {
	if err := d.s.alive(); err != nil {
		return err
	}
	if err := d.s.live.Flush(ctx); err != nil {
		return wrap("save", err)
	}
	return wrap("save", d.s.journal.WaitSaved(ctx))
}

// WaitSynced blocks until the document has everything that at least one reachable peer has. It fails with
// [ErrUnreachable] if nobody could be reached before ctx ends; a member in quarantine, with whom no content is exchanged, does
// not count.
func (d *Doc) WaitSynced(ctx context.Context) error {
	if err := d.s.alive(); err != nil {
		return err
	}
	return wrap("synchronise", d.s.coordinator.WaitSynced(ctx))
}

// Unverified reports whether the document still rests on a peer's snapshot; it is verified in the background from the
// signed edits themselves.
func (d *Doc) Unverified() bool { return d.replica.Unverified() }

// Digest is equal on replicas that hold equal state.
func (d *Doc) Digest() [32]byte { return d.replica.CRDT().Digest() }

// Presence returns who is here and where their cursor is.
func (d *Doc) Presence() *Presence { return d.presence }

// mayWrite fails with [ErrDenied] unless this device may write documents now.
func (s *Session) mayWrite() error {
	role := s.membership.State().Role(s.node.self.Device.Member)
	if role < RoleEditor {
		return fmt.Errorf("%w: edit: your role is %s, documents need an editor; ask a manager for a grant", ErrDenied, role)
	}
	return nil
}
