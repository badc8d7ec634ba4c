package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/traffic"
)

// scrape reads a registry as "name label value …" to number.
func scrape(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	must(t, err)
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}

// sources are those of a node at rest with two devices connected.
func sources(t *testing.T) Sources {
	tiers := NewTiers(0)
	t.Cleanup(tiers.Close)
	var passed traffic.Counter
	passed.In(2, 300)
	passed.Out(5, 700)
	return Sources{
		Sessions: func() int { return 3 },
		Peers: func() []p2p.Peer {
			return []p2p.Peer{{Class: p2p.Member, Path: p2p.PathQUIC}, {Class: p2p.Member, Path: p2p.PathRelay}, {Class: p2p.Guest, Path: p2p.PathTCP}}
		},
		Queues:  func() map[string]int { return map[string]int{"edits": 4} },
		Traffic: map[string]func() traffic.Totals{"live": passed.Totals},
		Tiers:   tiers,
	}
}

func TestMetrics(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	s := sources(t)
	m, err := NewMetrics(r, s)
	must(t, err)
	at0 := scrape(t, r)

	turn, end, err := s.Tiers.Background(t.Context(), 1000)
	must(t, err)
	done := s.Tiers.Urgent()
	<-turn.Done()
	end()
	m.round(time.Second, nil)
	m.round(time.Second, errDown)
	m.dial(nil)
	m.dial(fmt.Errorf("%w: %w", p2p.ErrUnreachable, errDown))
	m.dial(errDown)
	m.Refused(p2p.Refusal{Peer: "12D3KooWstranger", Reason: fmt.Errorf("stranger: %w", p2p.ErrBadProof), Suppressed: 7})
	m.Missed(9)
	m.StoreFailed()
	got := scrape(t, r)
	for name, want := range map[string]float64{
		"collab_sessions": 3, "collab_peers path=quic": 1, "collab_peers path=tcp": 0, "collab_peers path=relay": 1,
		"collab_rounds_total result=ok": 1, "collab_rounds_total result=failed": 1, "collab_round_duration_seconds": 1,
		"collab_dials_total result=ok": 1, "collab_dials_total result=unreachable": 1, "collab_dials_total result=other": 1,
		"collab_refusals_total reason=bad_proof": 1, "collab_refusals_total reason=other": 7,
		"collab_envelopes_total direction=in tier=live": 2, "collab_envelopes_total direction=out tier=live": 5,
		"collab_traffic_bytes_total direction=in tier=live": 300, "collab_traffic_bytes_total direction=out tier=live": 700,
		"collab_queue_length queue=edits": 4, "collab_queue_length queue=background": 0,
		"collab_urgent_transfers": 1, "collab_urgent_transfers_total": 1, "collab_background_turns": 0,
		"collab_background_turns_total": 1, "collab_background_turns_cut_total": 1, "collab_background_granted_bytes_total": 1000,
		"collab_events_missed_total": 9, "collab_store_errors_total": 1,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
		}
	}
	if a, b := slices.Sorted(maps.Keys(at0)), slices.Sorted(maps.Keys(got)); !slices.Equal(a, b) {
		t.Errorf("series appeared while counting: %v before, %v after", a, b)
	}
	done()
	families, err := r.Gather()
	must(t, err)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	must(t, err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "collab_") || f.GetHelp() == "" {
			t.Errorf("%s: %q", f.GetName(), f.GetHelp())
		}
	}
}

// One registerer takes one node, unless a label tells them apart; Close makes room.
func TestMetricsOfSeveralNodes(t *testing.T) {
	r := prometheus.NewRegistry()
	first, err := NewMetrics(r, sources(t))
	must(t, err)
	if _, err := NewMetrics(r, sources(t)); !errors.Is(err, ErrMetricsTaken) {
		t.Errorf("a second node: %v", err)
	}
	first.Close()
	first.Close()
	if left := scrape(t, r); len(left) != 0 {
		t.Errorf("after Close: %v", left)
	}
	second, err := NewMetrics(r, sources(t))
	must(t, err)
	second.Close()

	shared := prometheus.NewRegistry()
	for _, node := range []string{"a", "b"} {
		m, err := NewMetrics(prometheus.WrapRegistererWith(prometheus.Labels{"node": node}, shared), sources(t))
		must(t, err)
		defer m.Close()
	}
	if got := scrape(t, shared); got["collab_sessions node=a"] != 3 || got["collab_sessions node=b"] != 3 {
		t.Errorf("two nodes report %v", got)
	}
	taken := prometheus.NewRegistry()
	taken.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "collab_sessions", Help: "Somebody else's."}))
	if _, err := NewMetrics(taken, sources(t)); err == nil {
		t.Error("a name that is taken is registered again")
	}
}

// Without metrics nothing is counted and nothing fails.
func TestNoMetrics(t *testing.T) {
	var m *Metrics
	m.round(time.Second, nil)
	m.dial(errDown)
	m.Refused(p2p.Refusal{})
	m.Missed(1)
	m.StoreFailed()
	m.Close()
}

// Rounds and dials of a coordinator are counted.
func TestCoordinatorCounts(t *testing.T) {
	try(t, 2, true, func(t *testing.T, b *bench) {
		r := prometheus.NewRegistry()
		m, err := NewMetrics(r, sources(t))
		must(t, err)
		defer m.Close()
		b.cfg.Metrics = m
		b.serve(func() {
			b.dial = func(_ context.Context, d identity.DeviceID) error {
				if d == b.peers[1] {
					return fmt.Errorf("%w: %w", p2p.ErrRefused, errDown)
				}
				return nil
			}
		})
		b.wait(time.Minute)
		got := scrape(t, r)
		if n := float64(len(b.take(&b.rounds))); n < 2 || got["collab_rounds_total result=ok"] != n || got["collab_rounds_total result=failed"] != 0 {
			t.Errorf("%v rounds, counted %v", n, got)
		}
		if n := float64(len(b.take(&b.dials))); got["collab_dials_total result=refused"] != n-1 || got["collab_dials_total result=ok"] != 1 {
			t.Errorf("%v dials, counted %v", n, got)
		}
	})
}
