package collab_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/studio-whip/collab"
)

// families lists what a gatherer shows, with all labels and values.
func families(t *testing.T, g prometheus.Gatherer) map[string]string {
	t.Helper()
	all, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range all {
		out[f.GetName()] = f.String()
	}
	return out
}

// total sums a family's counters whose text names the label value.
func total(t *testing.T, g prometheus.Gatherer, family, label string) (sum float64) {
	t.Helper()
	all, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if f.GetName() == family && strings.Contains(fmt.Sprint(m.GetLabel()), fmt.Sprintf("%q", label)) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// Two people work; one of them counts. What is shown names nobody, and it goes when the node does.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	ada, ben := openNode(t, "Ada", collab.WithMetrics(reg)), openNode(t, "Ben")
	a := create(t, ada)
	doc := open(t, a, "secret script")
	insert(t, doc, 0, "INT. HOUSE")
	code := invite(t, a, collab.InviteOptions{})
	b := join(t, ben, code)
	theirs := open(t, b, "secret script")
	equal(t, doc, theirs)
	insert(t, theirs, 0, "EXT. GARDEN\n")
	equal(t, doc, theirs)
	add(t, a, "secret.mov", footage(1, 300<<10))
	eventually(t, "a round, an envelope each way and a peer are counted", func() bool {
		return total(t, reg, "collab_rounds_total", "ok") > 0 &&
			total(t, reg, "collab_peers", "quic")+total(t, reg, "collab_peers", "tcp") == 1 &&
			total(t, reg, "collab_envelopes_total", "in") > 0 && total(t, reg, "collab_envelopes_total", "out") > 0 &&
			total(t, reg, "collab_traffic_bytes_total", "live") > 0 && total(t, reg, "collab_traffic_bytes_total", "foundation") > 0 &&
			total(t, reg, "collab_traffic_bytes_total", "assets") > 300<<10
	})

	shown := fmt.Sprint(families(t, reg))
	for _, secret := range []string{
		"Ada", "Ben", "secret", "HOUSE", "Last Reel", code, a.ID().Short(), a.Me().ID.Short(), b.Me().ID.Short(),
	} {
		if strings.Contains(shown, secret) {
			t.Errorf("the metrics show %q", secret)
		}
	}
	if _, err := collab.Open(t.Context(), collab.WithMemory(), collab.WithListen(loopback...), collab.WithMetrics(reg)); err == nil || !strings.Contains(err.Error(), "WrapRegistererWith") {
		t.Errorf("a second node on one registerer: %v", err)
	}
	for _, n := range []*collab.Node{ben, ada} {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left := families(t, reg); len(left) != 0 {
		t.Errorf("after Close: %v", left)
	}

	// Neither we nor the libraries below touch the process's own registry.
	for name := range families(t, prometheus.DefaultGatherer) {
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") { // client_golang's own
			t.Errorf("%s is registered by default", name)
		}
	}
}
