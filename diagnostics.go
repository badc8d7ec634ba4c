package collab

import (
	"encoding/json"
	"io"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/traffic"
	"github.com/studio-whip/collab/sync/boxkeys"
)

// diagnosticsFormat names the form of the bundle. Fields may be added under the same number; one that goes or changes its
// meaning counts it up.
const diagnosticsFormat = "collab-diagnostics/1"

// maxSizes is how many documents a bundle describes.
const maxSizes = 100

// WriteDiagnostics writes what somebody who helps has to know, as indented JSON: versions and the system; how the
// session, its peers, tiers, queues, documents and store stand; what governance amounts to, in numbers; and the last 32
// failures. It holds no key, code, name or content. Devices, members and projects are the first eight digits of an
// identifier; addresses are told by class (loopback, private, public, relay), failures by kind. It fails with
// [ErrClosed], or as w does.
func (s *Session) WriteDiagnostics(w io.Writer) error {
	if err := s.readable(); err != nil {
		return err
	}
	d := diagnostics{Format: diagnosticsFormat, Made: s.node.cfg.now().UTC(), Program: describeProgram()}
	d.Session = s.describe()
	d.Peers, d.Tiers = s.describePeers(), s.describeTiers()
	d.Governance = s.describeGovernance()
	d.Documents, d.Files, d.Troubles = s.describeDocuments(), s.describeFiles(), s.troubles.recent()
	d.Store = storeReport{Bytes: s.node.home.size(s.id), InMemory: s.node.cfg.memory, Failure: kindsOf(s.store.Err())}
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return wrap("write the diagnostics", out.Encode(d))
}

// diagnostics is the bundle.
type diagnostics struct {
	Format     string           `json:"format"`
	Made       time.Time        `json:"made"`
	Program    programReport    `json:"program"`
	Session    sessionReport    `json:"session"`
	Peers      []peerReport     `json:"peers"`
	Tiers      tiersReport      `json:"tiers"`
	Documents  documentsReport  `json:"documents"`
	Files      filesReport      `json:"files"`
	Store      storeReport      `json:"store"`
	Governance governanceReport `json:"governance"`
	Troubles   []trouble        `json:"troubles"`
}

type programReport struct {
	Library string            `json:"library"` // version of this module
	Go      string            `json:"go"`
	System  string            `json:"system"`
	CPUs    int               `json:"cpus"`
	Modules map[string]string `json:"modules"` // versions of what it stands on
}

type sessionReport struct {
	Project  string   `json:"project"`
	Device   string   `json:"device"`
	Member   string   `json:"member"`
	Role     string   `json:"role"`
	Ended    []string `json:"ended"` // kinds of what it ended with
	Direct   int      `json:"direct"`
	Relayed  int      `json:"relayed"`
	Held     int      `json:"held"`
	Synced   bool     `json:"synced"`
	Root     string   `json:"root"`
	Failure  []string `json:"failure"`
	Listens  []string `json:"listens"` // transport and class of each address
	Sessions int      `json:"sessions"`
}

type peerReport struct {
	Device       string    `json:"device"`
	Member       string    `json:"member"`
	Online       bool      `json:"online"`
	Path         string    `json:"path"`
	Address      string    `json:"address"` // its class
	Since        time.Time `json:"since"`
	Synced       bool      `json:"synced"`
	Rounds       uint64    `json:"rounds"`
	FailedRounds uint64    `json:"failed_rounds"`
	Dials        uint64    `json:"dials"`
	FailedDials  uint64    `json:"failed_dials"`
	Failure      []string  `json:"failure"`
}

type tiersReport struct {
	Queues    map[string]int               `json:"queues"`   // of the node, as all but Waiting
	Schedule  map[string]uint64            `json:"schedule"` // see coordinator.TierStats
	Traffic   map[string]map[string]uint64 `json:"traffic"`
	Bandwidth int64                        `json:"bandwidth_bytes_per_second"`
	Waiting   int                          `json:"envelopes_waiting"` // for what they rest on
}

type documentsReport struct {
	Count      int          `json:"count"` // with the library's own
	Largest    []sizeReport `json:"largest"`
	Unreadable []string     `json:"unreadable"`
}

type sizeReport struct {
	Envelopes uint64 `json:"envelopes"`
	Open      bool   `json:"open"`
	Bytes     int    `json:"bytes"`
}

type filesReport struct {
	Count   int   `json:"count"`
	Whole   int   `json:"whole"` // on this device
	Bytes   int64 `json:"bytes"`
	Pending int64 `json:"pending_bytes"`
}

type storeReport struct {
	InMemory bool     `json:"in_memory"`
	Bytes    int64    `json:"bytes"`
	Failure  []string `json:"failure"`
}

type governanceReport struct {
	Events  int            `json:"events"`
	Void    int            `json:"void"`
	Members map[string]int `json:"members"` // by role
	Devices int            `json:"devices"`
	Invites int            `json:"open_invites"`
	Key     bool           `json:"key_usable"`
	Own     ownKeyReport   `json:"device_key"`
}

// ownKeyReport is about the key that others seal this device's keys to.
type ownKeyReport struct {
	Days int `json:"age_days"`
	Kept int `json:"older_kept"` // and those before it that may not be erased yet
}

// chiefModules are those whose version matters to whoever helps.
var chiefModules = []string{
	"github.com/libp2p/go-libp2p", "github.com/libp2p/go-libp2p-pubsub", "github.com/quic-go/quic-go",
	"github.com/cloudflare/circl", "github.com/fxamacker/cbor/v2", "go.etcd.io/bbolt", "github.com/ipfs/boxo",
	"github.com/prometheus/client_golang",
}

// ownModule is the path of this module.
const ownModule = "github.com/studio-whip/collab"

func describeProgram() programReport {
	p := programReport{
		Library: "unknown", Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Modules: map[string]string{},
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return p
	}
	versions := map[string]string{info.Main.Path: info.Main.Version}
	for _, m := range info.Deps {
		versions[m.Path] = m.Version
		if m.Replace != nil {
			versions[m.Path] = "replaced"
		}
	}
	if v := versions[ownModule]; v != "" {
		p.Library = v
	}
	for _, path := range chiefModules {
		if v, ok := versions[path]; ok {
			p.Modules[path] = v
		}
	}
	return p
}

func (s *Session) describe() sessionReport {
	st, self := s.Status(), s.node.self.Device
	r := sessionReport{
		Project: s.id.Short(), Device: self.ID.Short(), Member: self.Member.Short(),
		Role: s.membership.State().Role(self.Member).String(), Ended: kindsOf(s.Err()),
		Direct: st.Direct, Relayed: st.Relayed, Held: st.Held, Synced: st.Synced, Root: st.Root.Short(),
		Failure: kindsOf(st.Err), Listens: []string{}, Sessions: s.node.openSessions(),
	}
	for _, addr := range s.node.host.Addrs() {
		r.Listens = append(r.Listens, transportOf(addr)+" "+classOf(addr))
	}
	return r
}

func (s *Session) describePeers() []peerReport {
	out := []peerReport{}
	if s.coordinator == nil { // it was opened to be read only
		return out
	}
	state := s.membership.State()
	for _, p := range s.coordinator.Peers() {
		r := peerReport{
			Device: p.Device.Short(), Online: p.Online, Path: string(p.Path), Since: p.Since.UTC(), Synced: p.Synced,
			Rounds: p.Rounds, FailedRounds: p.FailedRounds, Dials: p.Dials, FailedDials: p.FailedDials,
			Failure: kindsOf(p.LastErr),
		}
		if p.Addr != "" {
			r.Address = classOf(p.Addr)
		}
		if d, ok := state.Device(p.Device); ok {
			r.Member = d.Member.Short()
		}
		out = append(out, r)
	}
	return out
}

func (s *Session) describeTiers() tiersReport {
	n, stats := s.node, s.node.tiers.Stats()
	carried := map[string]map[string]uint64{}
	for tier, totals := range n.traffic() {
		carried[tier] = describeTraffic(totals())
	}
	return tiersReport{
		Queues: n.queues(), Bandwidth: n.cfg.bandwidth, Waiting: s.journal.Waiting(),
		Schedule: map[string]uint64{
			"urgent": uint64(stats.Urgent), "background": uint64(stats.Background), "waiting": uint64(stats.Waiting),
			"urgent_total": stats.Urgents, "background_total": stats.Backgrounds, "cut_total": stats.Cut,
			"granted_bytes_total": stats.Granted,
		},
		Traffic: carried,
	}
}

func describeTraffic(t traffic.Totals) map[string]uint64 {
	return map[string]uint64{
		"envelopes_in": t.In.Envelopes, "envelopes_out": t.Out.Envelopes, "bytes_in": t.In.Bytes, "bytes_out": t.Out.Bytes,
	}
}

func (s *Session) describeFiles() filesReport {
	r := filesReport{Pending: s.files.Pending()}
	for f := range s.files.List() {
		r.Count++
		r.Bytes += f.Size
		if f.Local {
			r.Whole++
		}
	}
	return r
}

func (s *Session) describeDocuments() documentsReport {
	sizes, err := s.journal.Sizes()
	r := documentsReport{Count: len(sizes), Largest: []sizeReport{}, Unreadable: kindsOf(err)}
	for _, size := range sizes[:min(len(sizes), maxSizes)] {
		r.Largest = append(r.Largest, sizeReport(size))
	}
	return r
}

func (s *Session) describeGovernance() governanceReport {
	state := s.membership.State()
	r := governanceReport{Members: map[string]int{}, Devices: len(state.Devices())}
	for _, m := range state.Members() {
		r.Members[m.Role.String()]++
	}
	for _, invite := range state.Invites() {
		if !invite.Closed {
			r.Invites++
		}
	}
	_, _, r.Key = s.membership.SendingEpoch()
	for _, k := range s.membership.BoxKeys() {
		switch k.State {
		case boxkeys.Current:
			r.Own.Days = int(s.node.cfg.now().Sub(k.Made) / (24 * time.Hour))
		case boxkeys.Retired:
			r.Own.Kept++
		}
	}
	s.membership.View(func(log *governance.Log) {
		for e := range log.Audit(EventID{}) {
			r.Events++
			if !e.Counts {
				r.Void++
			}
		}
	})
	return r
}

// transportOf names the transport of a multiaddress.
func transportOf(addr string) string {
	if strings.Contains(addr, "/quic-v1") {
		return string(p2p.PathQUIC)
	}
	return string(p2p.PathTCP)
}

// classOf says what kind of address a multiaddress is.
func classOf(addr string) string {
	if strings.Contains(addr, "/p2p-circuit") {
		return "relay"
	}
	parts := strings.Split(addr, "/")
	if len(parts) < 3 {
		return "unknown"
	}
	ip, err := netip.ParseAddr(parts[2])
	switch {
	case err != nil:
		return "named" // by the domain name system
	case ip.IsLoopback():
		return "loopback"
	case ip.IsPrivate():
		return "private"
	case ip.IsLinkLocalUnicast():
		return "link-local"
	}
	return "public"
}
