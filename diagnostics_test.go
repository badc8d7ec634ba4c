package collab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/store"
)

// paths lists the places of a JSON value that hold something else than an object, an array's elements as one.
func paths(prefix string, v any, out map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, x := range v {
			paths(prefix+"."+key, x, out)
		}
	case []any:
		out[prefix+"[]"] = true
		for _, x := range v {
			paths(prefix+"[]", x, out)
		}
	default:
		out[prefix] = true
	}
}

// The bundle of a session that has seen something tells how it stands, in a form that stays, and nothing private.
func TestDiagnostics(t *testing.T) {
	st := perform(t, WithBandwidth(1<<20))
	s := st.sessions[0]
	s.storeFailed(wrap("save", &os.PathError{Op: "write", Path: "/home/" + st.secrets["founder's name"] + "/p-1", Err: syscall.ENOSPC}))
	s.storeFailed(wrap("save", errors.New("text: "+st.secrets["text"])))
	st.nodes[0].refused(p2p.Refusal{Peer: "12D3KooWNobody", Addr: "192.0.2.7", Reason: fmt.Errorf("%w: 192.0.2.7", p2p.ErrBadProof)})
	for deadline := time.Now().Add(30 * time.Second); s.Status().Peers == 0 && time.Now().Before(deadline); {
		if err := s.coordinator.WaitSynced(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := s.WriteDiagnostics(&out); err != nil {
		t.Fatal(err)
	}
	st.shows(t, "the bundle", out.String())
	for _, private := range []string{
		"127.0.0.1", "/ip4", "192.0.2", "12D3", "/home", s.id.String(), s.Me().ID.String(),
		s.node.self.Device.ID.String(), st.nodes[1].self.Device.ID.String(),
	} {
		if strings.Contains(out.String(), private) {
			t.Errorf("the bundle shows %q", private)
		}
	}

	var d diagnostics
	decoder := json.NewDecoder(bytes.NewReader(out.Bytes()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		t.Fatal(err)
	}
	if d.Format != "collab-diagnostics/1" || d.Program.Go == "" || d.Program.Library == "" || d.Session.Project != s.id.Short() || d.Session.Role != "manager" || d.Session.Direct != 1 {
		t.Errorf("%+v", d.Session)
	}
	if len(d.Peers) != 1 || !d.Peers[0].Online || d.Peers[0].Address != "loopback" || d.Peers[0].Rounds == 0 || d.Peers[0].Since.IsZero() {
		t.Errorf("peers %+v", d.Peers)
	}
	if d.Tiers.Bandwidth != 1<<20 || d.Tiers.Traffic["live"]["bytes_out"] == 0 || d.Tiers.Traffic["foundation"]["bytes_in"] == 0 {
		t.Errorf("tiers %+v", d.Tiers)
	}
	if d.Documents.Count < 2 || d.Documents.Largest[0].Envelopes == 0 || d.Documents.Largest[0].Bytes == 0 || !d.Store.InMemory {
		t.Errorf("documents %+v, store %+v", d.Documents, d.Store)
	}
	if g := d.Governance; g.Events < 3 || g.Void != 0 || g.Members["manager"] != 1 || g.Members["editor"] != 1 || g.Devices != 2 || g.Invites != 0 || !g.Key {
		t.Errorf("governance %+v", g)
	}
	var got []string
	for _, x := range d.Troubles {
		if x.What != "round" { // a connection that was given up leaves one
			got = append(got, x.What+": "+strings.Join(x.Kinds, ", "))
		}
	}
	want := []string{
		"store: " + ErrDiskFull.Error() + ", " + syscall.ENOSPC.Error(),
		"store: *errors.errorString",
		"refused: " + p2p.ErrBadProof.Error(),
	}
	if !slices.Equal(got, want) {
		t.Errorf("troubles %q, want %q", got, want)
	}
	checkForm(t, out.Bytes())

	if err := st.nodes[0].Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteDiagnostics(io.Discard); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// checkForm compares the fields with those that format 1 has; what may be added stands behind what is there. Run with
// COLLAB_WRITE_GOLDEN=1 to write the file anew.
func checkForm(t *testing.T, raw []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	paths("", v, found)
	maps.DeleteFunc(found, func(path string, _ bool) bool { return strings.HasPrefix(path, ".program.modules.") })
	got := strings.Join(slices.Sorted(maps.Keys(found)), "\n") + "\n"
	golden := filepath.Join("testdata", "collab", "diagnostics-1.txt")
	if os.Getenv("COLLAB_WRITE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range strings.Fields(string(want)) {
		if !found[path] {
			t.Errorf("the bundle has no %s: count the format up", path)
		}
	}
	if got != string(want) {
		t.Errorf("the bundle has other fields than %s:\n%s", golden, got)
	}
}

func TestTroublesAreFewAndMerge(t *testing.T) {
	var ts troubles
	now := time.Unix(1_800_000_000, 0)
	for i := range 100 {
		ts.note(now.Add(time.Duration(i)*time.Second), fmt.Sprint("what ", i), store.ErrDamaged)
		ts.note(now.Add(time.Duration(i)*time.Second), "always", context.Canceled)
	}
	got := ts.recent()
	if len(got) != maxTroubles {
		t.Fatalf("%d are kept", len(got))
	}
	last := got[len(got)-1]
	if last.What != "always" || last.Times != 100 || !last.First.Equal(now) || !last.Last.Equal(now.Add(99*time.Second)) {
		t.Errorf("the last: %+v", last)
	}
	if got[0].What != fmt.Sprint("what ", 100-maxTroubles+1) || !slices.Equal(got[0].Kinds, []string{store.ErrDamaged.Error()}) {
		t.Errorf("the first: %+v", got[0])
	}
}

func TestClassOf(t *testing.T) {
	for addr, want := range map[string]string{
		"/ip4/127.0.0.1/tcp/1": "loopback", "/ip6/::1/udp/1/quic-v1": "loopback", "/ip4/10.1.2.3/tcp/1": "private",
		"/ip4/192.168.1.1/udp/4/quic-v1": "private", "/ip6/fd00::1/tcp/1": "private", "/ip6/fe80::1/tcp/1": "link-local",
		"/ip4/203.0.113.9/tcp/1": "public", "/ip6/2001:db8::1/tcp/1": "public", "/dns4/example.org/tcp/1": "named",
		"/ip4/203.0.113.9/udp/1/quic-v1/p2p/12D3/p2p-circuit": "relay", "": "unknown", "/": "unknown",
	} {
		if got := classOf(addr); got != want {
			t.Errorf("%q is %s, want %s", addr, got, want)
		}
	}
}
