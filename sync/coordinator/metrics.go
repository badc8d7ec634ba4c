package coordinator

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/traffic"
)

// ErrMetricsTaken means that another node reports to the same registerer under the same labels.
var ErrMetricsTaken = errors.New("coordinator: another node reports to this registerer")

// Metrics are what a node reports to Prometheus. Labels have few values, and none of them names a person, a device or a
// project. What happens is counted as it happens; what is, is asked at each scrape. A nil *Metrics counts nothing.
type Metrics struct {
	registerer prometheus.Registerer
	sources    Sources

	rounds      *prometheus.CounterVec
	roundTime   prometheus.Histogram
	dials       *prometheus.CounterVec
	refusals    *prometheus.CounterVec
	missed      prometheus.Counter
	storeErrors prometheus.Counter
}

// Sources are what a scrape asks. All are required; they may be called at any time, also while and after the node
// closes, from several goroutines.
type Sources struct {
	Sessions func() int
	Peers    func() []p2p.Peer
	Queues   func() map[string]int // lengths, by a fixed set of names
	Traffic  map[string]func() traffic.Totals
	Tiers    *Tiers
}

// What a scrape asks for.
var (
	sessionsDesc = prometheus.NewDesc("collab_sessions", "Projects that are open.", nil, nil)
	peersDesc    = prometheus.NewDesc("collab_peers", "Devices of members connected, by path: quic, tcp or relay.", []string{"path"}, nil)
	queueDesc    = prometheus.NewDesc("collab_queue_length",
		"What waits: edits to be signed in a batch, messages to be sent, held batches of edits for a key or a chain, "+
			"background transfers for a turn.", []string{"queue"}, nil)
	envelopesDesc = prometheus.NewDesc("collab_envelopes_total",
		"Signed envelopes carried, by tier (live, foundation) and direction (in, out).", []string{"tier", "direction"}, nil)
	bytesDesc = prometheus.NewDesc("collab_traffic_bytes_total",
		"Bytes of messages carried, without the transport's own, by tier and direction.", []string{"tier", "direction"}, nil)
	urgentDesc = prometheus.NewDesc("collab_urgent_transfers",
		"Transfers under way that somebody waits for, with rounds and snapshots that background transfers give way to.", nil, nil)
	urgentsDesc = prometheus.NewDesc("collab_urgent_transfers_total", "Transfers begun that background transfers gave way to.", nil, nil)
	turnsDesc   = prometheus.NewDesc("collab_background_turns", "Background turns under way.", nil, nil)
	begunDesc   = prometheus.NewDesc("collab_background_turns_total", "Background turns begun.", nil, nil)
	cutDesc     = prometheus.NewDesc("collab_background_turns_cut_total", "Background turns cut short by something urgent.", nil, nil)
	grantedDesc = prometheus.NewDesc("collab_background_granted_bytes_total",
		"Bytes granted to background turns; what was cut is granted again.", nil, nil)
)

// NewMetrics registers a node's metrics with r; it fails with [ErrMetricsTaken], or as r does. Close it.
func NewMetrics(r prometheus.Registerer, s Sources) (*Metrics, error) {
	counter := func(name, help string) prometheus.CounterOpts { return prometheus.CounterOpts{Name: name, Help: help} }
	m := &Metrics{
		registerer: r, sources: s,
		rounds: prometheus.NewCounterVec(counter("collab_rounds_total",
			"Rounds of anti-entropy with a device, by result: ok or failed."), []string{"result"}),
		roundTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "collab_round_duration_seconds", Help: "How long rounds that succeeded took, in seconds.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 8),
		}),
		dials: prometheus.NewCounterVec(counter("collab_dials_total",
			"Dials of members' devices, by result: ok, or why they failed."), []string{"result"}),
		refusals: prometheus.NewCounterVec(counter("collab_refusals_total",
			"Connections and streams of others that were refused, by reason; of a burst only the first have theirs."), []string{"reason"}),
		missed: prometheus.NewCounter(counter("collab_events_missed_total",
			"Events that were dropped because a subscriber was slow.")),
		storeErrors: prometheus.NewCounter(counter("collab_store_errors_total",
			"Failures to keep something on this device.")),
	}
	m.begin()
	if err := r.Register(m); err != nil {
		if taken := new(prometheus.AlreadyRegisteredError); errors.As(err, taken) {
			return nil, ErrMetricsTaken
		}
		return nil, fmt.Errorf("coordinator: register metrics: %w", err)
	}
	return m, nil
}

// begin makes every series appear before it first counts.
func (m *Metrics) begin() {
	for _, result := range []string{"ok", "failed"} {
		m.rounds.WithLabelValues(result)
	}
	m.dials.WithLabelValues("ok")
	for _, r := range dialResults {
		m.dials.WithLabelValues(r.label)
	}
	for _, r := range refusalReasons {
		m.refusals.WithLabelValues(r.label)
	}
	m.dials.WithLabelValues(other)
	m.refusals.WithLabelValues(other)
}

// Close takes the metrics away from the registerer.
func (m *Metrics) Close() {
	if m != nil {
		m.registerer.Unregister(m)
	}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		sessionsDesc, peersDesc, queueDesc, envelopesDesc, bytesDesc, urgentDesc, urgentsDesc, turnsDesc, begunDesc,
		cutDesc, grantedDesc,
	} {
		out <- d
	}
	for _, c := range m.counted() {
		c.Describe(out)
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	for _, c := range m.counted() {
		c.Collect(out)
	}
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	total := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge(sessionsDesc, m.sources.Sessions())
	paths := map[p2p.Path]int{p2p.PathQUIC: 0, p2p.PathTCP: 0, p2p.PathRelay: 0}
	for _, p := range m.sources.Peers() {
		if p.Class == p2p.Member {
			paths[p.Path]++
		}
	}
	for path, n := range paths {
		gauge(peersDesc, n, string(path))
	}
	for tier, passed := range m.sources.Traffic {
		t := passed()
		total(envelopesDesc, t.In.Envelopes, tier, "in")
		total(envelopesDesc, t.Out.Envelopes, tier, "out")
		total(bytesDesc, t.In.Bytes, tier, "in")
		total(bytesDesc, t.Out.Bytes, tier, "out")
	}
	turns := m.sources.Tiers.Stats()
	gauge(queueDesc, turns.Waiting, "background")
	for queue, n := range m.sources.Queues() {
		gauge(queueDesc, n, queue)
	}
	gauge(urgentDesc, turns.Urgent)
	gauge(turnsDesc, turns.Background)
	total(urgentsDesc, turns.Urgents)
	total(begunDesc, turns.Backgrounds)
	total(cutDesc, turns.Cut)
	total(grantedDesc, turns.Granted)
}

func (m *Metrics) counted() []prometheus.Collector {
	return []prometheus.Collector{m.rounds, m.roundTime, m.dials, m.refusals, m.missed, m.storeErrors}
}

// round counts a round.
func (m *Metrics) round(took time.Duration, err error) {
	switch {
	case m == nil:
	case err != nil:
		m.rounds.WithLabelValues("failed").Inc()
	default:
		m.rounds.WithLabelValues("ok").Inc()
		m.roundTime.Observe(took.Seconds())
	}
}

// dial counts a dial.
func (m *Metrics) dial(err error) {
	switch {
	case m == nil:
	case err == nil:
		m.dials.WithLabelValues("ok").Inc()
	default:
		m.dials.WithLabelValues(labelOf(dialResults, err)).Inc()
	}
}

// Refused counts a refusal, with those that were suppressed before it.
func (m *Metrics) Refused(r p2p.Refusal) {
	if m == nil {
		return
	}
	m.refusals.WithLabelValues(labelOf(refusalReasons, r.Reason)).Inc()
	m.refusals.WithLabelValues(other).Add(float64(r.Suppressed))
}

// Missed counts events that a slow subscriber did not get.
func (m *Metrics) Missed(n uint64) {
	if m != nil {
		m.missed.Add(float64(n))
	}
}

// StoreFailed counts a failure to keep something.
func (m *Metrics) StoreFailed() {
	if m != nil {
		m.storeErrors.Inc()
	}
}

// class is a class of errors that has a label.
type class struct {
	err   error
	label string
}

// other labels what has no class.
const other = "other"

var dialResults = []class{
	{p2p.ErrNotPostQuantum, "not_post_quantum"},
	{p2p.ErrWrongDevice, "wrong_device"},
	{p2p.ErrRefused, "refused"},
	{p2p.ErrGuestBusy, "guest_busy"},
	{p2p.ErrNotMember, "not_member"},
	{p2p.ErrUnreachable, "unreachable"},
}

var refusalReasons = []class{
	{p2p.ErrHalfOpen, "half_open"},
	{p2p.ErrSilent, "silent"},
	{p2p.ErrBadProof, "bad_proof"},
	{p2p.ErrUnknownGuest, "unknown_guest"},
	{p2p.ErrNotMember, "not_member"},
	{p2p.ErrNotPostQuantum, "not_post_quantum"},
	{p2p.ErrRefused, "no_common_security"},
}

func labelOf(classes []class, err error) string {
	for _, c := range classes {
		if errors.Is(err, c.err) {
			return c.label
		}
	}
	return other
}
