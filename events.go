package collab

import (
	"context"
	"time"

	"github.com/studio-whip/collab/internal/feed"
)

// Event is one of the event structs below. Events are hints for a user interface; the state that they speak of can
// always be read from the session.
type Event interface{ isEvent() }

type (
	// PeerChanged says that a member's device came, went, or is reached by another path.
	PeerChanged struct {
		Who    MemberID
		Online bool
		Path   Path
	}
	// PeerRejected says that somebody tried to connect and was refused. Peer is the transport's name of the stranger.
	PeerRejected struct {
		Peer   string
		Reason error
	}
	// MemberChanged says that somebody joined, left or was removed, that a role changed, that a quarantine began or ended, or
	// that a device of theirs was removed. When it says of this device's owner
	// that they are no member any more, the channel is closed soon after; [Session.Err] is [ErrRevoked] or [ErrLeft].
	MemberChanged struct{ Member Member }
	// DocChanged says that a document changed, here or, if Remote, elsewhere.
	DocChanged struct {
		Doc    string
		Remote bool
	}
	// AssetChanged says that a file was added, replaced or removed (its ID is empty then), or is whole on this device.
	AssetChanged struct{ Asset AssetInfo }
	// AssetProgress says that more of a file has come, at most four times a second for each.
	AssetProgress struct {
		Path     string
		Progress Progress
	}
	// RootChanged says that another version of the root record is in force.
	RootChanged struct {
		From, To RootID
		Version  uint32
	}
	// ProposalChanged says that something was proposed, that others have signed it or voted on it, or, with Gone, that it is open
	// no more: it came about, was taken back or overtaken, or its time was over when something else changed.
	ProposalChanged struct {
		Proposal Proposal // as it was, if Gone
		Gone     bool
	}
	// SecurityAlert is something a person should look at.
	SecurityAlert struct {
		Kind   AlertKind
		Who    MemberID
		Event  EventID
		Detail string
	}
	// QuarantineChanged says that what a member writes from now on is held back on this device, or is shown again. Of this
	// device's owner it says what the others do. MemberChanged tells of the vote; this of its effect here, which a manager's
	// proposal has at once and which ends by this device's clock.
	QuarantineChanged struct {
		Member MemberID
		Held   bool
		Until  time.Time // when it ends by itself, if Held
		Detail string    // why, for people
	}
	// StoreChanged says that the store on this device has failed (Err says how) or works again (nil).
	StoreChanged struct{ Err error }
	// Message is what a member sent with [Session.Broadcast].
	Message struct {
		From    MemberID
		Topic   string
		Payload []byte
	}
	// StatusChanged says that [Session.Status] gives another answer.
	StatusChanged struct{ Status Status }
	// Missed says that Count events were dropped here because the subscriber was slow; read the state again.
	Missed struct{ Count uint64 }
)

func (PeerChanged) isEvent()       {}
func (PeerRejected) isEvent()      {}
func (MemberChanged) isEvent()     {}
func (DocChanged) isEvent()        {}
func (AssetChanged) isEvent()      {}
func (AssetProgress) isEvent()     {}
func (RootChanged) isEvent()       {}
func (ProposalChanged) isEvent()   {}
func (SecurityAlert) isEvent()     {}
func (QuarantineChanged) isEvent() {}
func (StoreChanged) isEvent()      {}
func (Message) isEvent()           {}
func (StatusChanged) isEvent()     {}
func (Missed) isEvent()            {}

// AlertKind is what a [SecurityAlert] is about.
type AlertKind uint8

// Kinds of alerts.
const (
	AlertEquivocation     AlertKind = iota + 1 // a device signed two different things in one place of its chain
	AlertSnapshotDisputed                      // a peer served a document that its signed history does not give
	AlertDeviceInDoubt                         // this device's store is older than what others hold of it
	AlertUnapplied                             // a signed edit cannot be applied to its document
	AlertCannotWrite                           // own edits are kept but cannot be signed
	AlertDamagedBlock                          // a block of a file is damaged on this device's disk; it is fetched again
	AlertRootFork                              // two records claim to be the next root: root powers are suspended; compare and see PinRoot
	AlertLateRootFork                          // somebody signed another record in the place of a settled one; it has no effect
	AlertRootBehind                            // later root records exist, one before them is missing; the root stays where it is
	AlertRootVersion                           // the next root record needs a newer version of this library
	AlertUnlawfulAct                           // a member's program was changed: it signed what the rules forbid; it has no effect
)

var alertNames = map[AlertKind]string{
	AlertEquivocation: "equivocation", AlertSnapshotDisputed: "disputed snapshot", AlertDeviceInDoubt: "device in doubt",
	AlertRootFork: "fork of the root", AlertLateRootFork: "late fork of the root", AlertRootBehind: "root record missing",
	AlertRootVersion: "root needs a newer version", AlertUnlawfulAct: "unlawful act",
	AlertUnapplied: "edit not applied", AlertCannotWrite: "edits not signed", AlertDamagedBlock: "damaged block",
}

// String names the kind for people.
func (k AlertKind) String() string {
	if name, ok := alertNames[k]; ok {
		return name
	}
	return "unknown alert"
}

// newEvents makes the queue of a session's events: what only tells the latest state of one thing merges.
// missed is told how many events a subscriber did not get.
func newEvents(missed func(uint64)) *feed.Feed[Event] {
	return feed.New(feed.Options[Event]{
		Key: func(e Event) (any, bool) {
			switch e := e.(type) {
			case PeerChanged:
				return struct {
					who MemberID
					of  string
				}{e.Who, "peer"}, true
			case DocChanged:
				return e, true
			case AssetChanged:
				return struct{ path, of string }{e.Asset.Path, "asset"}, true
			case AssetProgress:
				return struct{ path, of string }{e.Path, "progress"}, true
			case StatusChanged:
				return "status", true
			case MemberChanged:
				return struct {
					who MemberID
					of  string
				}{e.Member.ID, "member"}, true
			case QuarantineChanged:
				return struct {
					who MemberID
					of  string
				}{e.Member, "quarantine"}, true
			case ProposalChanged:
				return e.Proposal.ID, true
			case SecurityAlert:
				return e, true // the same one said twice
			}
			return nil, false
		},
		Keep: func(e Event) bool {
			switch e.(type) {
			case PeerRejected, PeerChanged, DocChanged, AssetChanged, AssetProgress, Message: // others send them at will
				return false
			}
			return true
		},
		Missed: func(n uint64) Event {
			missed(n)
			return Missed{Count: n}
		},
	})
}

// Events returns a channel of all events from now on, closed when ctx ends or the session does; cancel ctx when you
// stop reading. It never blocks the session: the queue holds 256. Of what has a present state (all but PeerRejected, RootChanged,
// StoreChanged and Message) only the latest waits, and an alert is told once. When the queue is full the oldest are dropped, and one
// [Missed] tells how many: first what others can send at will, as messages, refusals and edits, and only if nothing of that
// waits what was decided about members, proposals and the root, and alerts.
func (s *Session) Events(ctx context.Context) <-chan Event { return s.events.Subscribe(ctx) }

// Subscribe is [Session.Events] for one type of event. A slow subscriber misses events in silence; subscribe to
// [Missed] as well, or read the state again from time to time.
func Subscribe[T Event](ctx context.Context, s *Session) <-chan T {
	out := make(chan T)
	in := s.Events(ctx)
	if !s.watchers.Go("subscription", func(context.Context) error {
		defer close(out)
		for e := range in {
			t, ok := e.(T)
			if !ok {
				continue
			}
			select {
			case out <- t:
			case <-ctx.Done():
				return nil
			case <-s.watchers.Context().Done():
				return nil
			}
		}
		return nil
	}) {
		close(out)
	}
	return out
}
