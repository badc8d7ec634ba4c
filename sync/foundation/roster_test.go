package foundation

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/membership"
)

// raw opens a stream from one node to another as anybody may who is connected, without asking any roster.
func raw(t *testing.T, from, to *node, protocol string, project genesis.ProjectID) *exchange {
	t.Helper()
	st, err := from.host.Open(t.Context(), to.device(), protocol)
	must(t, err)
	t.Cleanup(func() { _ = st.Reset() })
	x := &exchange{stream: st, with: to.device()}
	must(t, x.send(wire.Marshal(opening{Project: project})))
	return x
}

// answered reports how a stream answers its opening: with a frame, or by which error.
func answered(x *exchange, protocol string) error {
	if protocol == protocolSync {
		if err := x.send(wire.Marshal(frontier{})); err != nil {
			return refusal(err)
		}
	}
	_, err := x.receive(maxFrontier, answerTime)
	if err != nil {
		return refusal(err)
	}
	return nil
}

// Two projects on one node: a member of the first, connected, asks for the second's chains and snapshots and gets the
// answer that it gets for a project that does not exist. Nothing is ever told to it of the second.
func TestScenario104ForbiddenLooksUnknown(t *testing.T) {
	scenario.Run(t, 104, "a member of one project asks for another's chains and snapshots: the answer is that for an unknown project, its id is never sent", func(t *testing.T) {
		var asked atomic.Int32
		count := func(h *p2p.Host) {
			for _, protocol := range []string{protocolSync, protocolSnapshot} {
				h.Handle(protocol, p2p.Member, func(context.Context, *p2p.Stream) { asked.Add(1) })
			}
		}
		anna := newNode(t, "anna")
		berta, carl := newNode(t, "berta", count), newNode(t, "carl")
		first, second := anna.found(), anna.found()
		first.join(berta)
		second.join(carl)
		second.write("script", "secret")
		for _, protocol := range []string{protocolSync, protocolSnapshot} {
			open := answered(raw(t, berta, anna, protocol, first.p.ID()), protocol)
			forbidden := answered(raw(t, berta, anna, protocol, second.p.ID()), protocol)
			unknown := answered(raw(t, berta, anna, protocol, genesis.ProjectID{1}), protocol)
			if open != nil {
				t.Errorf("%s of a project of its own: %v", protocol, open)
			}
			if !errors.Is(forbidden, ErrRefused) || forbidden.Error() != unknown.Error() {
				t.Errorf("%s: a forbidden project answers %q, an unknown one %q", protocol, forbidden, unknown)
			}
		}
		for what, run := range map[string]func(context.Context, identity.DeviceID) error{"sync": second.f.Sync, "snapshots": second.f.FetchSnapshots} {
			if err := run(t.Context(), berta.device()); !errors.Is(err, ErrRefused) {
				t.Errorf("%s with a stranger: %v; want ErrRefused", what, err)
			}
		}
		if asked.Load() != 0 {
			t.Error("a stranger was asked about a project")
		}
	})
}

// A removed member whose connection stands, as another project is shared, is refused at each request: on streams that
// were opened before and on new ones, on every protocol.
func TestScenario43RemovedAtEachRequest(t *testing.T) {
	scenario.Run(t, 43, "a revoked peer, still connected through another project, asks for chains and snapshots on old and new streams: refused on each", func(t *testing.T) {
		anna, berta := newNode(t, "anna"), newNode(t, "berta")
		first, second := anna.found(), anna.found()
		first.join(berta)
		kept := second.join(berta)
		for _, r := range []*room{first, second} {
			r.write("script", "text")
		}
		chain := chainOf(t, first, first)
		request := wire.Marshal(ask{Runs: []wanted{{Device: chain.Device, ChainNo: chain.ChainNo}}})

		runs := raw(t, berta, anna, protocolSync, first.p.ID())
		must(t, answered(runs, protocolSync))
		must(t, runs.send(request))
		if run, err := runs.receive(MaxRun, idleTime); err != nil || len(run) == 0 {
			t.Fatalf("a member asks for a run: %d bytes, %v", len(run), err)
		}
		if end, err := runs.receive(MaxRun, idleTime); err != nil || len(end) != 0 {
			t.Fatalf("end of the answer: %d bytes, %v", len(end), err)
		}
		snapshots := raw(t, berta, anna, protocolSnapshot, first.p.ID())
		must(t, answered(snapshots, protocolSnapshot))

		_, err := first.p.Remove(t.Context(), membership.Removal{Member: berta.self.Identity.Member()})
		must(t, err)
		must(t, runs.send(request))
		if run, err := runs.receive(MaxRun, idleTime); err == nil {
			t.Errorf("the removed got %d bytes of a run on an old stream", len(run))
		}
		must(t, snapshots.send(wire.Marshal(wish{Docs: first.j.DocIDs()[:1]})))
		if b, err := snapshots.receive(MaxSnapshot, idleTime); err == nil {
			t.Errorf("the removed got %d bytes of a snapshot on an old stream", len(b))
		}
		for _, protocol := range []string{protocolSync, protocolSnapshot} {
			if err := answered(raw(t, berta, anna, protocol, first.p.ID()), protocol); !errors.Is(err, ErrRefused) {
				t.Errorf("%s on a new stream: %v; want ErrRefused", protocol, err)
			}
			if err := answered(raw(t, berta, anna, protocol, second.p.ID()), protocol); err != nil {
				t.Errorf("%s of the project that is still shared: %v", protocol, err)
			}
		}
		must(t, kept.f.Sync(t.Context(), anna.device()))
		equal(t, []string{"script"}, second, kept)
	})
}

// What one device may have under way is limited, and comes free again.
func TestTooManyAtOnce(t *testing.T) {
	anna := newNode(t, "anna").found()
	berta := anna.join(newNode(t, "berta"))
	for protocol, limit := range map[string]int{protocolSync: maxSyncs, protocolSnapshot: maxFetches} {
		var open []*exchange
		for range limit {
			x := raw(t, berta.node, anna.node, protocol, anna.p.ID())
			must(t, answered(x, protocol))
			open = append(open, x)
		}
		if err := answered(raw(t, berta.node, anna.node, protocol, anna.p.ID()), protocol); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: one more than %d: %v; want ErrRefused", protocol, limit, err)
		}
		for _, x := range open {
			_ = x.Reset()
		}
		eventually(t, "there is room again", func() bool {
			return answered(raw(t, berta.node, anna.node, protocol, anna.p.ID()), protocol) == nil
		})
	}
}

// Close ends what is under way and waits for it.
func TestCloseEndsExchanges(t *testing.T) {
	stuck := make(chan struct{}, 2)
	anna := newNode(t, "anna").found()
	berta := anna.join(newNode(t, "berta", func(h *p2p.Host) {
		h.Handle(protocolSync, p2p.Member, func(ctx context.Context, _ *p2p.Stream) { stuck <- struct{}{}; <-ctx.Done() })
	}))
	done := make(chan error, 1)
	go func() { done <- anna.f.Sync(context.Background(), berta.device()) }()
	served := raw(t, berta.node, anna.node, protocolSync, anna.p.ID())
	must(t, answered(served, protocolSync))
	<-stuck
	anna.f.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("Sync under way: %v; want ErrClosed", err)
	}
	if _, err := served.receive(maxFrontier, answerTime); err == nil {
		t.Error("an exchange that was served goes on")
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- berta.f.Sync(ctx, anna.device()) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) && !errors.Is(err, ErrRefused) {
		t.Errorf("Sync whose context ends: %v", err)
	}
}
