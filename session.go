package collab

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/feed"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/task"
	"github.com/studio-whip/collab/sync/assets"
	"github.com/studio-whip/collab/sync/coordinator"
	"github.com/studio-whip/collab/sync/foundation"
	"github.com/studio-whip/collab/sync/journal"
	"github.com/studio-whip/collab/sync/live"
	"github.com/studio-whip/collab/sync/membership"
)

// Session is one open project. Methods are safe for concurrent use.
type Session struct {
	node        *Node
	id          ProjectID
	log         *slog.Logger
	store       *store.Store
	membership  *membership.Project
	journal     *journal.Journal
	live        *live.Topic
	foundation  *foundation.Foundation
	files       *assets.Assets
	coordinator *coordinator.Coordinator
	events      *feed.Feed[Event]
	watchers    *task.Group // subscriptions
	tasks       *task.Group

	started   atomic.Bool   // all tiers are up
	edits     atomic.Uint64 // own edits so far,
	exchanged atomic.Uint64 // and how many of them were there when a completed round began

	leaving  sync.Once // see offline
	leaveErr error
	ending   sync.Once
	done     chan struct{}
	closing  sync.Once
	closeErr error
	gone     chan struct{} // closed when everything has been given back

	mu     sync.Mutex
	docs   map[[16]byte]*Doc
	err    error               // why the session ends, once it does
	closed bool                // Close has begun
	aside  map[ProposalID]bool // proposals that were put away here

	departing bool // Leave is under way

	telling sync.Mutex
	told    Status // what StatusChanged said last; telling guards it

	troubles troubles

	ceremony sync.Mutex // held by whoever changes the root's shares

	proposed map[ProposalID]Proposal // as told of last; owned by governanceChanged

	borrowed int // how many parts of the node use it that nobody else has opened; guarded by node.mu
}

// newSession brings up a project's tiers from the lowest to the highest; what came up is taken down if one fails.
func newSession(n *Node, id ProjectID, start func(membership.Config) (*membership.Project, error)) (_ *Session, err error) {
	s := &Session{
		node: n, id: id, log: n.cfg.logger.With("project", id.Short()), docs: map[[16]byte]*Doc{}, aside: map[ProposalID]bool{}, done: make(chan struct{}), gone: make(chan struct{}),
		events: newEvents(n.metrics.Missed), watchers: task.New(n.tasks.Context()), tasks: task.New(n.tasks.Context()),
	}
	st, record, err := n.home.openStore(id, s.storeStopped)
	if err != nil {
		return nil, errors.Join(wrap("open the project's store", err), s.shutDown())
	}
	s.store = st
	defer func() {
		if err != nil {
			err = errors.Join(err, s.shutDown())
			if known, e := n.home.has(id); e == nil && !known {
				n.home.discard(record)
			}
		}
	}()
	mark, err := n.home.rootMark(n.life, id)
	if err != nil {
		return nil, err
	}
	s.membership, err = start(membership.Config{
		Store: st, JoinPolicy: n.cfg.policy(), RootMark: mark.id, Checkpoints: n.cfg.checkpoints,
		Cuts: s.cutsOf, Content: s.settledContent, Counts: s.countsHere,
	})
	if err != nil {
		return nil, wrap("open the project", err)
	}
	if err := s.openContent(); err != nil {
		return nil, err
	}
	if !s.membership.Removed() {
		if err := s.online(); err != nil {
			return nil, err
		}
	}
	if s.membership.Removed() { // also while the tiers came up
		s.ended(s.whyOut())
	}
	if s.membership.SetBack() {
		s.rootAlert(AlertRootBehind, fmt.Sprintf("version %d was in force on this device and is missing: its store was set back", mark.n))
	}
	if err := s.markRoot(n.life); err != nil {
		return nil, err
	}
	record.Title = s.membership.Root().Title
	if err := n.home.remember(record); err != nil {
		return nil, wrap("remember the project", err)
	}
	return s, nil
}

// openContent brings up the journal and the files: what is on this device can be read.
func (s *Session) openContent() (err error) {
	n := s.node
	s.journal, err = journal.Open(n.tasks.Context(), journal.Config{
		Store: s.store, Governance: s.membership,
		Self:   journal.Self{Identity: n.self.Identity.ID, Device: n.self.Device.ID, Keys: n.self.Keys},
		Random: n.cfg.random, Now: n.cfg.now, Logger: s.log, Provisional: n.cfg.provisional,
	})
	if err != nil {
		return wrap("open the documents", err)
	}
	s.files, err = n.files.Join(n.tasks.Context(), assets.Config{
		Project: s.id, State: s.membership.State, Journal: s.journal, Store: s.store, Device: n.self.Device.ID,
	})
	if err != nil {
		return wrap("open the files", err)
	}
	s.listenToFiles()
	return nil
}

// online brings up the tiers that exchange documents with the members.
func (s *Session) online() (err error) {
	n := s.node
	s.foundation = n.tier2.Join(foundation.Config{
		Project: s.id, State: s.membership.State, Journal: s.journal, Pull: s.membership.Pull,
	})
	s.coordinator = coordinator.New(coordinator.Config{
		Host: n.host, Self: n.self.Device.ID, State: s.membership.State, Addresses: s.membership.Addresses,
		Rounds: []coordinator.Round{
			{Name: "governance events", Run: s.membership.Pull},
			{Name: "content", Run: s.pullContent},
		},
		Brought: s.foundation.Brought, Tiers: n.tiers, OnPeer: s.peerChanged, OnRound: s.roundEnded,
		Metrics: n.metrics, Logger: s.log,
	})
	s.live, err = n.gossip.Join(live.Config{
		Project: s.membership, Journal: s.journal, Keys: n.self.Keys, Identity: n.self.Identity, Device: n.self.Device,
		Random: n.cfg.random, Now: n.cfg.now, Logger: s.log,
		OnGap: s.coordinator.Gap, OnMessage: s.message, OnError: s.storeFailed,
	})
	if err != nil {
		return wrap("join the project's topic", err)
	}
	s.journal.OnOwn(s.live.Publish)
	s.journal.OnGap(func(journal.Gap) { s.coordinator.Gap() })
	s.journal.OnAlert(s.alert)
	s.journal.OnHeld(s.statusChanged)
	s.journal.OnHold(s.holdChanged)
	s.membership.OnChange(s.governanceChanged)
	s.journal.Changed() // what changed before it was being told
	s.proveForks()
	s.tasks.Go("coordinator", s.coordinator.Serve)
	s.started.Store(true)
	return nil
}

// offline takes down the tiers that reach others, from the highest to the lowest.
func (s *Session) offline() error {
	s.leaving.Do(func() {
		var errs []error
		if s.live != nil {
			errs = append(errs, s.live.Close())
		}
		errs = append(errs, s.tasks.Close())
		if s.foundation != nil {
			s.foundation.Close()
		}
		s.leaveErr = errors.Join(errs...)
	})
	return s.leaveErr
}

// shutDown takes all tiers down.
func (s *Session) shutDown() error {
	errs := []error{s.offline()}
	s.events.Close() // ends subscriptions, which the watchers wait for
	errs = append(errs, s.watchers.Close())
	if s.files != nil {
		errs = append(errs, s.files.Close())
	}
	if s.journal != nil {
		errs = append(errs, s.journal.Close())
	}
	if s.membership != nil {
		errs = append(errs, s.membership.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}

// fail notes why the session ends, unless it ends already.
func (s *Session) fail(err error) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false
	}
	s.err = err
	return true
}

// end tells those who wait that the session has ended.
func (s *Session) end() { s.ending.Do(func() { close(s.done) }) }

// ended ends a session whose owner has no place in the project any more: nothing goes out, what is here stays to be read until
// Close.
func (s *Session) ended(why error) {
	if !s.fail(why) {
		return
	}
	s.log.Warn("collab: this device's owner is no member any more", "why", why)
	s.statusChanged()
	s.events.End()
	if err := errors.Join(s.offline(), s.store.Flush(s.node.tasks.Context())); err != nil {
		s.log.Warn("collab: end of a session whose owner is no member any more", "err", err)
	}
	s.end()
}

// expelled ends a session that learns that its owner is no member any more, unless Leave is about to.
func (s *Session) expelled() {
	s.mu.Lock()
	departing := s.departing
	s.mu.Unlock()
	if !departing {
		s.ended(s.whyOut())
	}
}

// whyOut says how the owner's membership ended.
func (s *Session) whyOut() error {
	why := ErrRevoked
	s.membership.View(func(log *governance.Log) {
		for e := range log.Audit(EventID{}) {
			switch {
			case !e.Counts || e.Subject != s.node.self.Device.Member:
			case e.Kind == governance.KindLeave:
				why = ErrLeft
			case e.Kind == governance.KindRevoke, e.Kind == governance.KindCarry:
				why = ErrRevoked
			}
		}
	})
	return why
}

// out reports whether err is the end of a session whose owner is no member any more.
func out(err error) bool { return errors.Is(err, ErrRevoked) || errors.Is(err, ErrLeft) }

// revived reports whether the session ended because of a removal that turned out not to count.
func (s *Session) revived() bool {
	return out(s.Err()) && s.readable() == nil && !s.membership.Removed()
}

// Close ends the session: it signs and saves what was edited before the call, gives it to whoever is connected (for at
// most two seconds), waits for every goroutine and closes the store. Closing again waits too and gives the same answer.
//
// What changes or asks others returns [ErrClosed] from then on. What was read before can still be read: the last state
// of documents, members and status, with nobody online. Close must not be called from a function that this package
// calls: an observer, a join policy, a transaction.
//
// A session that has ended before, with [ErrRevoked] or [ErrLeft], is to be closed as well; until then it can be read.
func (s *Session) Close() error {
	s.closing.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

// retire lets nobody be given the session any more.
func (s *Session) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (s *Session) close() error {
	s.retire()
	if s.fail(ErrClosed) {
		s.handOver()
	}
	err := s.shutDown()
	s.node.mu.Lock()
	delete(s.node.sessions, s.id)
	s.node.mu.Unlock()
	s.end()
	close(s.gone)
	s.log.Info("collab: project closed")
	return wrap("close the project", err)
}

// handOverTime is how long Close waits for somebody to take the last edits.
const handOverTime = 2 * time.Second

// handOver gives the last edits to whoever is connected. Who is not reached gets them when this device is back.
func (s *Session) handOver() {
	if s.edits.Load() == s.exchanged.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverTime)
	defer cancel()
	changes := Subscribe[PeerChanged](ctx, s)
	if len(s.coordinator.Online()) == 0 {
		return
	}
	s.watchers.Go("hand over", func(context.Context) error {
		for range changes {
			if len(s.coordinator.Online()) == 0 {
				cancel() // the last of them has gone
			}
		}
		return nil
	})
	err := s.live.Flush(ctx)
	if err == nil {
		err = s.coordinator.WaitSynced(ctx)
	}
	if err != nil {
		s.log.Info("collab: closing before anybody took the last edits", "err", err)
	}
}

// Done is closed when the session has ended for good and everything is saved; Err then says why.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says why the session ends: [ErrClosed], from the moment that Close begins, [ErrRevoked], from the moment that this
// device learns of its owner's removal, or [ErrLeft], when the owner has left. It is nil while the session lives.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// alive fails with the reason once the session ends, or the owner is leaving.
func (s *Session) alive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && s.departing {
		return ErrLeft
	}
	return s.err
}

// readable fails once the session is closed. One whose owner was removed can be read.
func (s *Session) readable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && s.err == nil {
		return ErrClosed // Close has just begun
	}
	if s.closed {
		return s.err
	}
	return nil
}

// ID returns the project's identifier.
func (s *Session) ID() ProjectID { return s.id }

// Name returns the project's name.
func (s *Session) Name() string { return s.membership.Root().Title }

// Me describes this device's owner as a member.
func (s *Session) Me() Member {
	return s.member(s.node.self.Identity, s.membership.State())
}

// Members yields everybody who is or was a member, in the order of admission.
func (s *Session) Members() iter.Seq[Member] {
	return func(yield func(Member) bool) {
		st := s.membership.State()
		for _, m := range st.Members() {
			if !yield(s.member(m.Cert, st)) {
				return
			}
		}
	}
}

// member describes the holder of a certificate in a state.
func (s *Session) member(cert *identity.IdentityCert, st *governance.State) Member {
	m := Member{Identity: identityOf(cert), Role: st.Role(cert.Member()), State: MemberActive}
	if _, held := st.Quarantined(m.ID); held {
		m.State = MemberQuarantined
	}
	if m.Role == governance.None {
		m.State = MemberRemoved
	}
	if s.alive() != nil {
		return m
	}
	m.Online = m.ID == s.node.self.Device.Member
	for _, device := range s.coordinator.Online() {
		if d, ok := st.Device(device); ok && d.Member == m.ID {
			m.Online = true
		}
	}
	return m
}

// Broadcast sends the host's own small message, at most 32 KiB, under a topic of at most 64 bytes to the members who
// are present. Messages of one sender arrive in order or not at all; they are not stored. It does not wait for the network. It fails
// with [ErrTooLarge], [ErrTooFast], [ErrUnreachable] if the project's key has not arrived yet, or [ErrClosed].
func (s *Session) Broadcast(ctx context.Context, topic string, payload []byte) error {
	if err := s.alive(); err != nil {
		return err
	}
	return wrap("broadcast", s.live.Send(ctx, topic, payload))
}

// fetchFirst gets a newcomer the first state from the device that admitted them.
func (s *Session) fetchFirst(ctx context.Context, host identity.DeviceID) error {
	defer s.node.tiers.Urgent()()
	if err := s.membership.Pull(ctx, host); err != nil {
		return err
	}
	return s.foundation.FetchSnapshots(ctx, host)
}

// pullContent runs anti-entropy with a device; what this device wrote before a crash is then here as far as that one
// knew it.
func (s *Session) pullContent(ctx context.Context, device identity.DeviceID) error {
	if s.journal.Withheld(device) {
		return coordinator.ErrPartly // governance only
	}
	edits := s.edits.Load()
	flushed := s.live.Flush(ctx) // a failure is told by the tier itself and holds up nobody else's edits
	switch err := s.foundation.Sync(ctx, device); {
	case errors.Is(err, foundation.ErrRefused) && s.heldByOthers():
		return nil // as long as the quarantine lasts
	case err != nil:
		return err
	}
	if flushed == nil {
		s.exchanged.Store(edits)
	}
	s.journal.Pulled(device)
	s.live.Renew() // now the device can judge it
	return nil
}

// peerConnected passes on what the transport tells.
func (s *Session) peerConnected(device identity.DeviceID, online bool) {
	switch {
	case s.coordinator == nil: // it was opened to be read only
	case online:
		s.coordinator.Connected(device)
	default:
		s.coordinator.Disconnected(device)
	}
}

// What the tiers report becomes events.

func (s *Session) governanceChanged(c membership.Change) {
	s.journal.Changed()
	s.coordinator.RosterChanged(c.Before)
	s.live.RosterChanged()
	s.membersChanged(c.Before, c.After)
	s.devicesChanged(c.Before, c.After)
	s.tellUnlawful(c.Added)
	s.rootChanged(c.RootBefore, c.RootAfter)
	s.tellProposals()
	s.statusChanged()
	if s.membership.Removed() {
		s.node.tasks.Go("expelled", func(context.Context) error { s.expelled(); return nil })
	}
}

// membersChanged tells whose place in the project is another, or has fewer devices.
func (s *Session) membersChanged(before, after *governance.State) {
	lost := map[MemberID]bool{}
	for _, d := range before.Devices() {
		if x, ok := after.Device(d.ID); !ok || !x.Live {
			lost[d.Member] = true
		}
	}
	for _, m := range after.Members() {
		_, was := before.Quarantined(m.ID)
		_, is := after.Quarantined(m.ID)
		if before.Role(m.ID) != after.Role(m.ID) || was != is || lost[m.ID] {
			s.events.Send(MemberChanged{Member: s.member(m.Cert, after)})
		}
	}
}

func (s *Session) message(m live.Message) {
	s.events.Send(Message{From: m.From, Topic: m.Topic, Payload: m.Payload})
}

func (s *Session) storeFailed(err error) {
	s.node.metrics.StoreFailed()
	s.log.Warn("collab: something was not kept on this device", "err", err)
	s.troubles.note(s.node.cfg.now(), "store", err)
	s.events.Send(StoreChanged{Err: err})
}

func (s *Session) alert(a journal.Alert) {
	kinds := map[journal.AlertKind]AlertKind{
		journal.AlertFork: AlertEquivocation, journal.AlertSnapshot: AlertSnapshotDisputed,
		journal.AlertDoubt: AlertDeviceInDoubt, journal.AlertUnapplied: AlertUnapplied, journal.AlertChain: AlertCannotWrite,
	}
	alert := SecurityAlert{Kind: kinds[a.Kind], Detail: a.Kind.String()}
	if a.Err != nil {
		alert.Detail += ": " + a.Err.Error()
	}
	if d, ok := s.membership.State().Device(a.Device); ok {
		alert.Who = d.Member
	}
	s.troubles.note(s.node.cfg.now(), "alert: "+alert.Kind.String(), a.Err)
	if a.Kind == journal.AlertFork {
		s.proveForks()
	}
	s.events.Send(alert)
}
