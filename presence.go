package collab

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/studio-whip/collab/sync/live"
)

// Presence carries small JSON states, at most 4 KiB each, between those who have a document open. It is never stored;
// a state not renewed for 30 s is dropped, as in y-protocols, and this device renews its own.
type Presence struct{ doc *Doc }

// PresenceState is one client's state; a member may have several devices.
type PresenceState struct {
	Who    MemberID
	Client uint64          // Yjs client ID
	State  json.RawMessage // null when the client has gone
}

// Set shows v, encoded as JSON, to the others. States that follow within 250 ms of one another are sent once, the
// newest. It fails with [ErrTooLarge], [ErrClosed], or what encoding gave.
func (p *Presence) Set(v any) error {
	state, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("collab: presence: %w", err)
	}
	if len(state) > live.MaxPresence {
		return fmt.Errorf("%w: presence of %d bytes; at most %d are sent, put larger things into the document", ErrTooLarge, len(state), live.MaxPresence)
	}
	if string(state) == "null" {
		return errors.New("collab: presence null means gone; use Clear")
	}
	if err := p.doc.s.alive(); err != nil {
		return err
	}
	return wrap("presence", p.doc.s.live.SetPresence(p.doc.replica.ID, state))
}

// Clear tells the others that this client has gone. Closing the session does so too.
func (p *Presence) Clear() {
	if topic := p.doc.s.live; topic != nil {
		topic.ClearPresence(p.doc.replica.ID)
	}
}

// Peers yields the last states of the others, by client.
func (p *Presence) Peers() iter.Seq[PresenceState] {
	return func(yield func(PresenceState) bool) {
		if p.doc.s.live == nil {
			return // the session was opened to be read only
		}
		for _, st := range p.doc.s.live.Presence(p.doc.replica.ID) {
			if !yield(presenceState(st)) {
				return
			}
		}
	}
}

// OnChange calls fn with each state of others that comes, changes or goes, in order; stop ends the calls. States that
// follow one another faster than fn returns are given once, the newest.
func (p *Presence) OnChange(fn func(PresenceState)) (stop func()) {
	if p.doc.s.live == nil {
		return func() {}
	}
	return p.doc.s.live.OnPresence(p.doc.replica.ID, func(st live.State) { fn(presenceState(st)) })
}

func presenceState(st live.State) PresenceState {
	return PresenceState{Who: st.Member, Client: uint64(st.Client), State: st.JSON}
}
