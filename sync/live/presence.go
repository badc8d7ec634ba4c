package live

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/sync/envelope"
)

// State is one client's presence in one document.
type State struct {
	Member identity.MemberID
	Device identity.DeviceID
	Client uint32          // Yjs client ID
	JSON   json.RawMessage // nil once the client has gone
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

// presences holds who is here. Nothing of it is stored.
type presences struct {
	wake  chan struct{}
	stale atomic.Bool // somebody may have left the roster
	hail  atomic.Bool // somebody has come

	mu      sync.Mutex
	remotes map[presenceKey]remote
	counts  map[writerKey]int // states of each client
	own     map[docID]*ownState
}

func newPresences() *presences {
	return &presences{
		wake: make(chan struct{}, 1), remotes: map[presenceKey]remote{}, counts: map[writerKey]int{}, own: map[docID]*ownState{},
	}
}

// signal has the presences looked through.
func (p *presences) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// SetPresence shows a JSON state, at most [MaxPresence] bytes, in a document. States less than 250 ms apart are sent
// once, the newest. It fails with [ErrTooLarge], [ErrNotJSON] or [ErrClosed].
func (t *Topic) SetPresence(doc [16]byte, state []byte) error {
	if err := checkState(state); err != nil {
		return err
	}
	if t.closed.Load() {
		return ErrClosed
	}
	t.presence.set(doc, bytes.Clone(state))
	return nil
}

func checkState(state []byte) error {
	if len(state) > MaxPresence {
		return fmt.Errorf("%w: presence state of %d bytes, at most %d", ErrTooLarge, len(state), MaxPresence)
	}
	if !json.Valid(state) || string(bytes.TrimSpace(state)) == "null" {
		return ErrNotJSON
	}
	return nil
}

// ClearPresence tells the others that this client has left the document.
func (t *Topic) ClearPresence(doc [16]byte) { t.presence.set(doc, nil) }

// Presence lists the states of others in a document, by client.
func (t *Topic) Presence(doc [16]byte) []State {
	p, now := t.presence, t.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []State
	for key, r := range p.remotes {
		if key.doc == doc && now.Before(r.until) && t.shows(key.device) {
			out = append(out, r.State)
		}
	}
	slices.SortFunc(out, func(a, b State) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), bytes.Compare(a.Device[:], b.Device[:]))
	})
	return out
}

// OnPresence calls fn with each state of others that comes, changes or goes in a document, one at a time and in order;
// states that follow one another faster than fn returns are given once, the newest. fn may call the topic, but not
// Close. After stop, no further call begins.
func (t *Topic) OnPresence(doc [16]byte, fn func(State)) (stop func()) {
	return t.notices.observe(doc, fn)
}

// takePresence takes in another client's state.
func (t *Topic) takePresence(e *envelope.Ephemeral, member identity.MemberID, payload []byte) {
	body, err := parsePresence(payload)
	if err != nil {
		return
	}
	key := presenceKey{writerKey{e.Device, e.ChainNo}, body.Doc}
	st := State{Member: member, Device: e.Device, Client: identity.ClientID(e.Project, e.Device, e.ChainNo)}
	if len(body.State) > 0 && t.shows(e.Device) {
		st.JSON = body.State
	}
	if t.presence.take(key, st, t.cfg.Now()) {
		t.notices.tell(key, st)
	}
}

// take keeps a state or drops one that has gone, and reports whether anything has changed.
func (p *presences) take(key presenceKey, st State, now time.Time) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, known := p.remotes[key]
	switch {
	case st.JSON == nil:
		p.drop(key)
		return known
	case !known && (len(p.remotes) >= maxPresences || p.counts[key.writerKey] >= maxPresencesOne):
		return false
	case !known:
		p.counts[key.writerKey]++
	}
	p.remotes[key] = remote{State: st, until: now.Add(presenceLife)}
	return !bytes.Equal(before.JSON, st.JSON)
}

// drop forgets a state; p.mu is held.
func (p *presences) drop(key presenceKey) {
	if _, known := p.remotes[key]; !known {
		return
	}
	delete(p.remotes, key)
	if p.counts[key.writerKey]--; p.counts[key.writerKey] == 0 {
		delete(p.counts, key.writerKey)
	}
}

// dropStale drops the states of others that were not renewed, or whose device is not shown any more, and says when to
// look again.
func (t *Topic) dropStale(now time.Time) (wait time.Duration) {
	p := t.presence
	roster := p.stale.Swap(false)
	wait = presenceLife
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, r := range p.remotes {
		left := r.until.Sub(now) // much too long if the clock was set back
		if left > 0 && left < 2*presenceLife && (!roster || t.shows(key.device)) {
			wait = min(wait, left)
			continue
		}
		p.drop(key)
		r.JSON = nil
		t.notices.tell(key, r.State)
	}
	return wait
}
