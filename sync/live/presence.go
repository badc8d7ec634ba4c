package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

// State is one client's presence in one document.
type State struct {
	Member identity.MemberID
	Device identity.DeviceID
	Client uint32          // Yjs client ID
	JSON   json.RawMessage // nil once the client has gone
}

// writerKey names who is present: a device's chain is one client.
type writerKey struct {
	device  identity.DeviceID
	chainNo uint32
}

// presenceKey names a state: a client in a document.
type presenceKey struct {
	writerKey
	doc docID
}

// remote is a state of somebody else.
type remote struct {
	State
	until time.Time
}

// own is a state of this client.
type own struct {
	json   []byte // nil: goodbye is to be said
	sent   time.Time
	dirty  bool
	hidden bool // goodbye was said
}

// presences holds who is here. Nothing of it is stored.
type presences struct {
	mu        sync.Mutex
	remotes   map[presenceKey]remote
	own       map[docID]*own
	last      map[orderKey]counter
	observers map[int]observer
	nextID    int
	wake      chan struct{}
	notify    sync.Mutex // observers are called one change at a time, in order
}

// orderKey names a sequence of ephemeral records: presence and messages of a chain are ordered each for themselves, as
// they may take different paths.
type orderKey struct {
	writerKey
	kind envelope.EphemeralKind
}

type observer struct {
	doc docID
	fn  func(State)
}

func newPresences() *presences {
	return &presences{
		remotes: map[presenceKey]remote{}, own: map[docID]*own{}, last: map[orderKey]counter{},
		observers: map[int]observer{}, wake: make(chan struct{}, 1),
	}
}

// newer reports whether a record is newer than the last of its sequence, and remembers it.
func (p *presences) newer(e *envelope.Ephemeral) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := orderKey{writerKey{e.Device, e.ChainNo}, e.Kind}
	last, ok := p.last[key]
	if ok && (e.At < last.at || e.At == last.at && e.N <= last.n) {
		return false
	}
	p.last[key] = counter{e.At, e.N}
	return true
}

// SetPresence shows a JSON state, at most [MaxPresence] bytes, in a document. States less than 250 ms apart are sent
// once, the newest.
func (t *Topic) SetPresence(doc [16]byte, state []byte) {
	t.presence.set(doc, bytes.Clone(state))
}

// ClearPresence tells the others that this client has left the document.
func (t *Topic) ClearPresence(doc [16]byte) { t.presence.set(doc, nil) }

func (p *presences) set(doc docID, state []byte) {
	p.mu.Lock()
	o := p.own[doc]
	if o == nil {
		o = &own{}
		p.own[doc] = o
	}
	o.json, o.dirty, o.hidden = state, true, false
	p.mu.Unlock()
	p.signal()
}

// Renew sends own states again soon: somebody has come who cannot know them.
func (t *Topic) Renew() {
	t.presence.mu.Lock()
	for _, o := range t.presence.own {
		o.dirty = o.dirty || !o.hidden
	}
	t.presence.mu.Unlock()
	t.presence.signal()
}

func (p *presences) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Presence lists the states of others in a document, by client.
func (t *Topic) Presence(doc [16]byte) []State {
	p, now := t.presence, t.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []State
	for key, r := range p.remotes {
		if key.doc == doc && now.Before(r.until) {
			out = append(out, r.State)
		}
	}
	slices.SortFunc(out, func(a, b State) int { return int(int64(a.Client) - int64(b.Client)) })
	return out
}

// OnPresence calls fn with each state of others that comes, changes or goes in a document, one at a time; stop ends
// the calls.
func (t *Topic) OnPresence(doc [16]byte, fn func(State)) (stop func()) {
	p := t.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	id := p.nextID
	p.nextID++
	p.observers[id] = observer{doc, fn}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.observers, id)
	}
}

// tell calls the observers of a document.
func (p *presences) tell(doc docID, st State) {
	p.notify.Lock()
	defer p.notify.Unlock()
	p.mu.Lock()
	var fns []func(State)
	for _, o := range p.observers {
		if o.doc == doc {
			fns = append(fns, o.fn)
		}
	}
	p.mu.Unlock()
	for _, fn := range fns {
		fn(st)
	}
}

// takePresence takes in another client's state.
func (t *Topic) takePresence(e *envelope.Ephemeral, member identity.MemberID, payload []byte) {
	var body presencePayload
	if wire.Unmarshal(payload, &body, MaxPresence+64) != nil || len(body.State) > MaxPresence ||
		len(body.State) > 0 && !json.Valid(body.State) {
		return
	}
	p := t.presence
	key := presenceKey{writerKey{e.Device, e.ChainNo}, body.Doc}
	st := State{
		Member: member, Device: e.Device, JSON: body.State,
		Client: identity.ClientID(e.Project, e.Device, e.ChainNo),
	}
	p.mu.Lock()
	before, known := p.remotes[key]
	switch {
	case len(body.State) == 0:
		st.JSON = nil
		delete(p.remotes, key)
	case known || len(p.remotes) < maxPresences:
		p.remotes[key] = remote{State: st, until: t.cfg.Now().Add(presenceLife)}
	}
	p.mu.Unlock()
	if changed := !known && st.JSON != nil || known && !bytes.Equal(before.JSON, st.JSON); changed {
		p.tell(body.Doc, st)
	}
}

// servePresence sends own states when they are due and drops those of others that were not renewed.
func (t *Topic) servePresence(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := min(t.sendDue(ctx), t.dropStale())
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-t.presence.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// sendDue sends what changed at least 250 ms after the last time, and renews the rest every 15 s. It says when the next
// one is due.
func (t *Topic) sendDue(ctx context.Context) (wait time.Duration) {
	wait = presenceRenew
	p := t.presence
	p.mu.Lock()
	due := map[docID][]byte{}
	now := t.cfg.Now()
	for doc, o := range p.own {
		at := o.sent.Add(presenceRenew)
		if o.dirty {
			at = o.sent.Add(presenceEvery)
		}
		switch {
		case o.hidden && !o.dirty:
		case at.After(now):
			wait = min(wait, at.Sub(now))
		default:
			due[doc] = o.json
		}
	}
	p.mu.Unlock()
	for doc, state := range due {
		wait = min(wait, t.sendPresence(ctx, doc, state))
	}
	return wait
}

// sendPresence sends one state and says when it is due again.
func (t *Topic) sendPresence(ctx context.Context, doc docID, state []byte) time.Duration {
	err := t.sendEphemeral(ctx, envelope.Presence, wire.Marshal(presencePayload{Doc: doc, State: state}))
	if errors.Is(err, ErrNotReady) {
		return presenceEvery
	}
	if err != nil {
		t.cfg.Logger.Debug("presence not sent", "err", err)
	}
	p := t.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.own[doc]
	o.sent = t.cfg.Now()
	if bytes.Equal(o.json, state) {
		o.dirty, o.hidden = false, state == nil
	}
	return presenceEvery
}

// dropStale drops the states of others that were not renewed and says when to look again.
func (t *Topic) dropStale() time.Duration {
	p := t.presence
	now := t.cfg.Now()
	wait := presenceLife
	gone := map[presenceKey]State{}
	p.mu.Lock()
	for key, r := range p.remotes {
		if left := r.until.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		delete(p.remotes, key)
		r.JSON = nil
		gone[key] = r.State
	}
	p.mu.Unlock()
	for key, st := range gone {
		p.tell(key.doc, st)
	}
	return wait
}

// goodbye tells the others that this client leaves every document.
func (t *Topic) goodbye(ctx context.Context) {
	p := t.presence
	p.mu.Lock()
	var docs []docID
	for doc, o := range p.own {
		if !o.hidden {
			docs = append(docs, doc)
		}
	}
	p.mu.Unlock()
	for _, doc := range docs {
		_ = t.sendEphemeral(ctx, envelope.Presence, wire.Marshal(presencePayload{Doc: doc})) // a courtesy
	}
}
