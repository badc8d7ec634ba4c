package membership

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/wire"
)

// talk opens the events protocol by hand.
func (n *node) talk(with *node) *p2p.Stream {
	n.t.Helper()
	s, err := n.host.Open(timeout(n.t), with.self.Device.ID, protocolEvents)
	if err != nil {
		n.t.Fatal(err)
	}
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	n.t.Cleanup(func() { _ = s.Reset() })
	return s
}

// A member that breaks the protocol is cut off and changes nothing.
func TestProtocolViolations(t *testing.T) {
	checkLeaks(t)
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	pa := anna.found()
	pb := berta.join(invited(t, pa, InviteOptions{}))
	converge(t, pa, pb)
	digest := pa.State().Digest()
	forged := bytes.Clone(pa.eventsRaw()[1])
	forged[len(forged)-1] ^= 1
	good := hello{Project: pa.ID()}
	for name, write := range map[string]func(s *p2p.Stream){
		"garbage":          func(s *p2p.Stream) { _, _ = s.Write([]byte("hello, who is there?")) },
		"too long":         func(s *p2p.Stream) { _, _ = s.Write([]byte{0xff, 0xff, 0xff, 0xff}) },
		"nothing":          func(s *p2p.Stream) {},
		"too many had":     func(s *p2p.Stream) { writeRaw(s, hello{Project: pa.ID(), Have: make([]governance.EventID, maxHave+1)}) },
		"event of no kind": func(s *p2p.Stream) { writeRaw(s, hello{Project: pa.ID(), Events: [][]byte{{1}}}) },
		"forged event": func(s *p2p.Stream) {
			writeRaw(s, good)
			writeRaw(s, batch{Events: [][]byte{forged}, Last: true})
		},
		"empty batch": func(s *p2p.Stream) { writeRaw(s, good); writeRaw(s, batch{}) },
		"bad box and bad address are left out": func(s *p2p.Stream) {
			writeRaw(s, good)
			writeRaw(s, batch{Boxes: [][]byte{{1}}, Addrs: [][]byte{{1}}, Last: true})
		},
	} {
		s := berta.talk(anna)
		write(s)
		_ = s.CloseWrite()
		_, _ = s.Read(make([]byte, 1))
		_ = s.Reset()
		if pa.State().Digest() != digest {
			t.Fatalf("%s: the state has changed", name)
		}
	}
	if _, err := pb.OpenChain(timeout(t)); err != nil {
		t.Fatal(err)
	}
	converge(t, pa, pb) // the honest are still served
}

func writeRaw(s *p2p.Stream, m any) {
	msg := wire.Marshal(m)
	_, _ = s.Write(append([]byte{byte(len(msg) >> 24), byte(len(msg) >> 16), byte(len(msg) >> 8), byte(len(msg))}, msg...))
}

func (p *Project) eventsRaw() (out [][]byte) {
	p.View(func(log *governance.Log) {
		for e := range log.All() {
			out = append(out, e.Raw)
		}
	})
	return out
}

// A device has a few exchanges open with us at a time, not more.
func TestExchangesAreCounted(t *testing.T) {
	checkLeaks(t)
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	pa := anna.found()
	pb := berta.join(invited(t, pa, InviteOptions{}))
	converge(t, pa, pb)
	eventually(t, "nothing is under way", func() bool {
		anna.reg.mu.RLock()
		defer anna.reg.mu.RUnlock()
		return len(anna.reg.exchanges) == 0
	})
	for range maxExchanges {
		berta.talk(anna)
	}
	eventually(t, "all are open", func() bool {
		anna.reg.mu.RLock()
		defer anna.reg.mu.RUnlock()
		return anna.reg.exchanges[berta.self.Device.ID] == maxExchanges
	})
	s, err := berta.host.Open(timeout(t), anna.self.Device.ID, protocolEvents)
	if err != nil {
		return // reset before it was agreed on
	}
	defer s.Reset()
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	_ = send(s, &hello{Project: pa.ID()})
	if err := receive(s, &hello{}); err == nil {
		t.Error("one exchange too many is served")
	}
}

// Many events on both sides, apart from each other, are exchanged in one Pull.
func TestPullIsAUnion(t *testing.T) {
	checkLeaks(t)
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	pa := anna.found()
	pb := berta.join(invited(t, pa, InviteOptions{}))
	converge(t, pa, pb)
	apart := anna.partition(berta)
	for range 60 {
		for _, p := range []*Project{pa, pb} {
			if _, err := p.OpenChain(timeout(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 300 { // invites, as chains are counted
		if _, err := pa.CreateInvite(timeout(t), InviteOptions{Compact: true}); err != nil {
			t.Fatal(err)
		}
	}
	apart()
	if a, b := pa.eventsRaw(), pb.eventsRaw(); len(a) != len(b) || pa.State().Digest() != pb.State().Digest() {
		t.Errorf("%d and %d events", len(a), len(b))
	}
}

// What a peer lacks is what is not before anything that it named and we know.
func TestLacking(t *testing.T) {
	checkLeaks(t)
	anna := newNode(t, "anna")
	p := anna.found()
	for range 40 {
		if _, err := p.OpenChain(timeout(t)); err != nil {
			t.Fatal(err)
		}
	}
	all := p.eventsRaw()
	ids := make([]governance.EventID, len(all))
	for i, raw := range all {
		e, err := governance.ParseEvent(raw)
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = e.ID
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range ids {
		if got := len(p.lacking([]governance.EventID{ids[i], {1}})); got != len(ids)-1-i {
			t.Errorf("who has %d events lacks %d, sent %d", i+1, len(ids)-1-i, got)
		}
	}
	if got := len(p.lacking([]governance.EventID{{1}})); got != len(ids) {
		t.Errorf("a stranger lacks %d", got)
	}
	// A peer that is behind by any number finds at least half of what both have in the sample.
	sample := p.sample()
	if len(sample) > maxHave || sample[0] != ids[len(ids)-1] {
		t.Fatalf("sample of %d", len(sample))
	}
	for behind := range ids {
		common := 0
		for _, id := range sample {
			for k, x := range ids[:len(ids)-behind] {
				if x == id {
					common = max(common, k+1)
				}
			}
		}
		if have := len(ids) - behind; common*2 < have-behind {
			t.Errorf("behind by %d: %d of %d common events are found", behind, common, have)
		}
	}
}

func TestAddressRecords(t *testing.T) {
	checkLeaks(t)
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	pa := anna.found()
	pb := berta.join(invited(t, pa, InviteOptions{}))
	converge(t, pa, pb)
	if err := pb.SetAddresses(timeout(t), []string{"/ip4/192.0.2.1/udp/4001/quic-v1"}); err != nil {
		t.Fatal(err)
	}
	is := func(want string) func() bool {
		return func() bool {
			got := pa.Addresses(berta.self.Device.ID)
			return len(got) == 1 && got[0] == want
		}
	}
	eventually(t, "the new address arrives", is("/ip4/192.0.2.1/udp/4001/quic-v1"))
	if err := pb.Pull(timeout(t), anna.self.Device.ID); err != nil { // does not bring back the transport's own
		t.Fatal(err)
	}
	record := func(signer Self, seq uint64, device identity.DeviceID, project genesis.ProjectID, addr string) []byte {
		r, err := newAddressRecord(signer.Keys, addressCore{Project: project, Device: device, Seq: seq, Addrs: []string{addr}})
		if err != nil {
			t.Fatal(err)
		}
		return r.raw
	}
	high := uint64(1) << 40
	if err := pa.takeAddresses([][]byte{
		record(berta.self, 1, berta.self.Device.ID, pa.ID(), "/old"),
		record(anna.self, high, berta.self.Device.ID, pa.ID(), "/forged"),
		record(berta.self, high, berta.self.Device.ID, genesis.ProjectID{1}, "/foreign"),
		record(selfOf(t, "carl"), high, selfOf(t, "carl").Device.ID, pa.ID(), "/stranger"),
	}); err != nil {
		t.Fatal(err)
	}
	if !is("/ip4/192.0.2.1/udp/4001/quic-v1")() || pa.Addresses(selfOf(t, "carl").Device.ID) != nil {
		t.Errorf("%q", pa.Addresses(berta.self.Device.ID))
	}
	if err := pa.takeAddresses([][]byte{record(berta.self, high, berta.self.Device.ID, pa.ID(), "/newer")}); err != nil || !is("/newer")() {
		t.Errorf("%v, %q", err, pa.Addresses(berta.self.Device.ID))
	}
	long := make([]string, 20)
	for i := range long {
		long[i] = fmt.Sprintf("/ip4/192.0.2.%d/tcp/1", i)
	}
	if err := pb.SetAddresses(timeout(t), append([]string{string(make([]byte, 300))}, long...)); err != nil {
		t.Fatal(err)
	}
	if got := pb.Addresses(berta.self.Device.ID); len(got) != MaxAddresses || got[0] != long[0] {
		t.Errorf("%q", got)
	}
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(time.Now)
		enter := func(address string, n int) (taken int) {
			for range n {
				if l.enter(address) {
					taken++
					l.leave()
				}
			}
			return taken
		}
		if got := enter("a", 100); got != perAddressBurst {
			t.Errorf("one address: %d at once", got)
		}
		if got := enter("b", 100) + enter("c", 100); got != handshakeBurst-perAddressBurst {
			t.Errorf("others: %d at once", got)
		}
		time.Sleep(3 * time.Second) // of the bubble's clock
		if got := enter("a", 100); got != 3*perAddressPerSec {
			t.Errorf("one address after 3 s: %d", got)
		}
		if got := enter("d", 100); got != perAddressBurst {
			t.Errorf("another after 3 s: %d", got)
		}
		time.Sleep(time.Minute)
		for i := range maxHandshakes {
			if !l.enter(fmt.Sprint("e", i)) {
				t.Errorf("handshake %d of %d is refused", i, maxHandshakes)
			}
		}
		if l.enter("f") {
			t.Error("one handshake too many at a time")
		}
		if !l.pause() || !l.enter("f") {
			t.Error("one that waits for a person still counts as running")
		}
		time.Sleep(time.Minute)
		for i := range 2 * maxAddressesSeen {
			l.enter(fmt.Sprint("g", i))
			if len(l.addresses) > maxAddressesSeen {
				t.Fatal("addresses without bound")
			}
		}
		time.Sleep(time.Minute)
		l.running = 0
		if !l.enter("late") {
			t.Error("old addresses are not forgotten")
		}
	})
}

func TestSecretsDoNotPrint(t *testing.T) {
	h := hosting{MAC: [32]byte{0xab, 0xcd, 0xef}}
	for _, out := range []string{fmt.Sprintf("%v %+v %#v %s", h, h, h, h), fmt.Sprintf("%v", selfOf(t, "anna").Keys)} {
		if bytes.Contains([]byte(out), []byte("171")) || bytes.Contains([]byte(out), []byte("abcdef")) {
			t.Errorf("prints a key: %s", out)
		}
	}
}

func fuzzMessage[T any, P interface {
	*T
	checker
}](f *testing.F, seeds ...T) {
	for _, s := range seeds {
		f.Add(wire.Marshal(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := P(new(T))
		if err := decodeMessage(b, m); err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		if !bytes.Equal(wire.Marshal(m), b) {
			t.Fatal("decoded, but not in its one form")
		}
	})
}

func FuzzHello(f *testing.F) {
	fuzzMessage(f, hello{}, hello{Have: []governance.EventID{{1}}, Book: []bookEntry{{Seq: 1}}, Events: [][]byte{{1}}})
}

func FuzzBatch(f *testing.F) {
	fuzzMessage(f, batch{Last: true}, batch{Events: [][]byte{{1}}, Boxes: [][]byte{{2}}, Addrs: [][]byte{{3}}})
}

func FuzzAddressRecord(f *testing.F) {
	s := selfOf(f, "anna")
	r, err := newAddressRecord(s.Keys, addressCore{Device: s.Device.ID, Seq: 1, Addrs: []string{"/ip4/192.0.2.1/tcp/1"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseAddressRecord(b)
		if err != nil {
			return
		}
		if !bytes.Equal(wire.Marshal(r.addressCore), r.core) {
			t.Fatal("decoded, but not in its one form")
		}
	})
}

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenPath = "../../testdata/membership/records.json"

// The wire forms. The address record holds a hedged signature, so it is kept, not made again; its signer's keys are
// those of "anna".
func TestGoldenRecords(t *testing.T) {
	s := selfOf(t, "anna")
	core := addressCore{
		Head: wire.NewHead(), Project: genesis.ProjectID{1}, Device: s.Device.ID, Seq: 1_800_000_000,
		Addrs: []string{"/ip4/192.0.2.1/udp/4001/quic-v1", "/ip6/2001:db8::1/tcp/4001"},
	}
	h := hello{
		Project: genesis.ProjectID{1}, Have: []governance.EventID{{2}, {3}}, Needs: []governance.EpochID{{4}},
		Book: []bookEntry{{Device: identity.DeviceID{5}, Seq: 6}}, Events: [][]byte{{7}},
	}
	b := batch{Events: [][]byte{{1}, {2}}, Boxes: [][]byte{{3}}, Addrs: [][]byte{{4}}, Last: true}
	type vectors struct {
		Hello         string `json:"hello"`
		Batch         string `json:"batch"`
		AddressCore   string `json:"address_core"`
		AddressRecord string `json:"address_record"`
	}
	if *update {
		rec, err := newAddressRecord(s.Keys, core)
		if err != nil {
			t.Fatal(err)
		}
		out, err := json.MarshalIndent(vectors{
			hex.EncodeToString(wire.Marshal(h)), hex.EncodeToString(wire.Marshal(b)),
			hex.EncodeToString(wire.Marshal(core)), hex.EncodeToString(rec.raw),
		}, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(goldenPath), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(goldenPath, append(out, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(goldenPath)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]string{
		"hello": {v.Hello, hex.EncodeToString(wire.Marshal(h))}, "batch": {v.Batch, hex.EncodeToString(wire.Marshal(b))},
		"address core": {v.AddressCore, hex.EncodeToString(wire.Marshal(core))},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s has another form:\n%s\n%s", name, pair[0], pair[1])
		}
	}
	rec, err := hex.DecodeString(v.AddressRecord)
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseAddressRecord(rec)
	if err != nil || hex.EncodeToString(r.core) != v.AddressCore || r.verify(s.Device.DK) != nil {
		t.Errorf("address record: %v", err)
	}
}
