package collab

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/testbed/plaintext"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore/memory"
	"github.com/studio-whip/collab/sync/envelope"
	"github.com/studio-whip/collab/sync/membership"
)

// wiretap keeps what passes at some hosts, in the pieces in which it passed.
type wiretap struct {
	mu   sync.Mutex
	on   bool
	seen map[p2p.Layer][]byte
}

func (w *wiretap) tap(l p2p.Layer, b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.on {
		w.seen[l] = append(w.seen[l], b...)
	}
}

func (w *wiretap) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on, w.seen = true, map[p2p.Layer][]byte{}
}

func (w *wiretap) stop() map[p2p.Layer][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = false
	return w.seen
}

// player is one node with its session and the document that all work on.
type player struct {
	*Node
	s   *Session
	doc *Doc
}

func newPlayer(t *testing.T, name string, opts ...Option) *player {
	t.Helper()
	return openPlayer(t, name, append(opts, WithMemory())...)
}

// openPlayer opens a node where the options say.
func openPlayer(t *testing.T, name string, opts ...Option) *player {
	t.Helper()
	opts = append([]Option{WithName(name), WithListen("/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0")}, opts...)
	n, err := Open(t.Context(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close %s: %v", name, err)
		}
	})
	return &player{Node: n}
}

func (p *player) found(t *testing.T) {
	t.Helper()
	cost.ForTests(t)
	var err error
	p.s, err = p.Create(t.Context(), "The Last Reel", Ceremony{Threshold: 2, Custodians: []Custodian{
		KeyStoreCustodian(memory.New()), FileCustodian(filepath.Join(t.TempDir(), "share")),
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.open(t)
}

func (p *player) open(t *testing.T) {
	t.Helper()
	var err error
	if p.doc, err = p.s.Doc(t.Context(), "script"); err != nil {
		t.Fatal(err)
	}
}

func (p *player) join(t *testing.T, host *player) {
	t.Helper()
	code, err := host.s.Invite(t.Context(), InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if p.s, err = p.Join(t.Context(), code); err != nil {
		t.Fatal(err)
	}
	p.open(t)
}

func (p *player) write(t *testing.T, text string) {
	t.Helper()
	if err := p.doc.Update(func(tx *crdt.Txn) error { return p.doc.Text("body").Insert(tx, 0, text) }); err != nil {
		t.Fatal(err)
	}
}

func (p *player) read(t *testing.T) (text string) {
	t.Helper()
	if err := p.doc.View(func(tx *crdt.ReadTxn) error { text = p.doc.Text("body").String(tx); return nil }); err != nil {
		t.Fatal(err)
	}
	return text
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// agree waits until the players have the same events, are in one state and hold one document.
func agree(t *testing.T, players ...*player) {
	t.Helper()
	until(t, "all are in one state and hold one document", func() bool {
		first := players[0].s.membership.State()
		for _, p := range players[1:] {
			st := p.s.membership.State()
			if !slices.Equal(st.Heads(), first.Heads()) || st.Digest() != first.Digest() || p.doc.Digest() != players[0].doc.Digest() {
				return false
			}
		}
		return true
	})
}

// believer is the roster of somebody who does not accept their removal.
type believer map[[32]byte]*identity.DeviceCert

func (b believer) DeviceByPeer(peer [32]byte) (*identity.DeviceCert, bool) {
	cert, ok := b[peer]
	return cert, ok
}

func (believer) InviteKey(wire.ID) ([32]byte, bool) { return [32]byte{}, false }

// The removed runs a program of their own with their device's keys, which dials on although it was removed.
func TestScenario31RemovedComesBack(t *testing.T) {
	scenario.Run(t, 31, "a revoked member reconnects over QUIC and TCP, with a program that ignores the removal: refused by all, each with a PeerRejected event", func(t *testing.T) {
		ada, bob, cleo := newPlayer(t, "Ada"), newPlayer(t, "Bob"), newPlayer(t, "Cleo")
		ada.found(t)
		bob.join(t, ada)
		cleo.join(t, ada)
		cleo.write(t, "Cleo was here. ")
		agree(t, ada, bob, cleo)
		if err := ada.s.Revoke(t.Context(), cleo.s.Me().ID, "left"); err != nil {
			t.Fatal(err)
		}
		<-cleo.s.Done()
		if !errors.Is(cleo.s.Err(), ErrRevoked) {
			t.Errorf("the removed session says %v", cleo.s.Err())
		}
		self := cleo.self
		if err := cleo.Node.Close(); err != nil {
			t.Fatal(err)
		}
		rogue, err := p2p.New(t.Context(), p2p.Config{
			Device: self.Keys, Cert: self.Device, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"},
			Roster: believer{ada.self.Device.Peer: ada.self.Device, bob.self.Device.Peer: bob.self.Device},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer rogue.Close()
		if err := rogue.Start(); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*player{ada, bob} {
			until(t, "the removal is known", func() bool { return p.s.membership.State().Role(self.Device.Member) == governance.None })
			until(t, "the removed is disconnected", func() bool { return p.s.Status().Peers == 1 })
			rejected := Subscribe[PeerRejected](t.Context(), p.s)
			for _, addr := range p.host.Addrs() {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				_, err := rogue.Dial(ctx, p2p.Target{Device: p.self.Device.ID, Peer: p.self.Device.Peer, Addrs: []string{addr}})
				cancel()
				if !errors.Is(err, p2p.ErrRefused) {
					t.Errorf("dial to %s at %s: %v", p.self.Identity.Display, addr, err)
				}
				if e := <-rejected; e.Peer != rogue.PeerID() || !errors.Is(e.Reason, p2p.ErrNotMember) {
					t.Errorf("%s is told %+v", p.self.Identity.Display, e)
				}
			}
		}
		if n := len(rogue.Connected()); n != 0 {
			t.Errorf("the removed has %d connections", n)
		}
		bob.write(t, "Bob goes on. ")
		agree(t, ada, bob)
	})
}

// What is said and written after Cleo was removed, each under a key that she never had.
var afterwards = []string{"Persimmon archipelago", "Gingersnap continuity", "Sassafras cursor", "Lapis lazuli whisper", "Tamarind epilogue"}

// Cleo is removed. She has kept all keys and her whole store, and has tapped the others' hosts since: below TLS, as the
// network sees them, and, as if TLS were broken, within the connections.
func TestScenario35RemovedReadsNothing(t *testing.T) {
	scenario.Run(t, 35, "a removed member with all old keys, its store and every byte of the others' traffic since, below and above TLS: opens nothing", func(t *testing.T) {
		tap := &wiretap{}
		ada, bob := newPlayer(t, "Ada", WithTap(tap.tap)), newPlayer(t, "Bob", WithTap(tap.tap))
		cleo, dora := newPlayer(t, "Cleo"), newPlayer(t, "Dora", WithTap(tap.tap))
		ada.found(t)
		bob.join(t, ada)
		cleo.join(t, ada)
		for _, p := range []*player{ada, bob, cleo} {
			p.write(t, "Together. ")
		}
		agree(t, ada, bob, cleo)
		known := read(t, cleo)

		tap.start()
		if err := ada.s.Revoke(t.Context(), cleo.s.Me().ID, "left"); err != nil {
			t.Fatal(err)
		}
		<-cleo.s.Done()
		agree(t, ada, bob)
		carryOn(t, ada, bob, dora)
		seen := tap.stop()

		after := map[wire.ID]bool{}
		for id := range read(t, ada) {
			after[id] = !known[id]
		}
		for id := range known {
			delete(after, id)
		}
		if len(after) < 4 {
			t.Fatalf("only %d edits after the removal", len(after))
		}
		loot := sift(slices.Concat(seen[p2p.Inside], seen[p2p.Wire], given(t, ada, bob)))
		if loot.ephemerals == nil || loot.boxes == nil || len(loot.objects) < 2 {
			t.Fatalf("the recording holds %d ephemeral records, %d boxes, %d rotations", len(loot.ephemerals), len(loot.boxes), len(loot.objects))
		}
		for id := range after {
			if loot.envelopes[id] == nil {
				t.Error("the recording lacks an edit that certainly passed")
			}
		}

		// The same attack with a member's keys opens everything: it is the keys that are missing, not the means.
		if got := attack(ada, bob, loot); got.epochs == 0 || got.boxes == 0 || got.opened(after) != len(after) || got.ephemerals == 0 {
			t.Errorf("a member opens %d rotations, %d of %d edits, %d ephemeral records", got.epochs, got.opened(after), len(after), got.ephemerals)
		}
		got := attack(ada, cleo, loot)
		if got.epochs != 0 || got.boxes != 0 || got.ephemerals != 0 || got.opened(after) != 0 {
			t.Errorf("the removed opens %d rotations, %d boxes, %d ephemeral records, %d edits", got.epochs, got.boxes, got.ephemerals, got.opened(after))
		}
		for id := range got.envelopes {
			if e := loot.envelopes[id]; cleo.s.journal.HeldTo(e.Device, e.ChainNo) < e.Seq {
				t.Error("the removed opens an edit that it did not have before")
			}
		}
		for e, err := range ada.doc.History() {
			if err != nil {
				t.Fatal(err)
			}
			if env, err := envelope.ParseStored(e.Sealed); err != nil || !after[env.ID] {
				continue
			}
			if _, err := cleo.s.ReadEdit(e.Sealed); !errors.Is(err, ErrNoKey) {
				t.Errorf("with its own store the removed reads: %v", err)
			}
		}
		for layer, b := range seen {
			f, err := plaintext.New(afterwards...)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range f.Find(b) {
				t.Errorf("layer %d: %s", layer, h)
			}
			f.Close()
		}
		if cleo.read(t) != "Together. Together. Together. " {
			t.Errorf("the removed shows %q", cleo.read(t))
		}
		agree(t, ada, bob)
	})
}

// carryOn uses, after a removal, every way in which content leaves a device: edits, presence, messages, the snapshot and
// keys for a newcomer; and rotates once more.
func carryOn(t *testing.T, ada, bob, dora *player) {
	t.Helper()
	heard := Subscribe[Message](t.Context(), ada.s)
	bob.write(t, afterwards[0]+" ")
	ada.write(t, afterwards[1]+" ")
	agree(t, ada, bob)
	if err := bob.doc.Presence().Set(map[string]string{"cursor": afterwards[2]}); err != nil {
		t.Fatal(err)
	}
	until(t, "presence is seen", func() bool {
		for range ada.doc.Presence().Peers() {
			return true
		}
		return false
	})
	if err := bob.s.Broadcast(t.Context(), "chat", []byte(afterwards[3])); err != nil {
		t.Fatal(err)
	}
	if m := <-heard; string(m.Payload) != afterwards[3] {
		t.Fatalf("heard %q", m.Payload)
	}
	dora.join(t, ada)
	agree(t, ada, bob, dora)
	dora.write(t, afterwards[4]+" ")
	agree(t, ada, bob, dora)
	if err := ada.s.Revoke(t.Context(), dora.s.Me().ID, "done"); err != nil {
		t.Fatal(err)
	}
	<-dora.s.Done()
	agree(t, ada, bob)
	bob.write(t, afterwards[4]+" ")
	agree(t, ada, bob)
}

// given returns the boxes that one member gives another who has lost every key.
func given(t *testing.T, from, to *player) (out []byte) {
	t.Helper()
	for _, e := range from.s.membership.State().Epochs() {
		key, ok := from.s.membership.EpochKey(e.ID)
		if !ok {
			t.Fatal("a member lacks a key")
		}
		raw, err := epoch.SealBox(rand.Reader, epoch.IDKey{ID: e.ID, Key: key},
			epoch.Recipient{Device: to.self.Device.ID, KEM: to.self.Device.KEM},
			governance.Author{Keys: from.self.Keys, Device: from.self.Device.ID})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, raw...)
	}
	return out
}

// read returns the edits of the document that a player can read.
func read(t *testing.T, p *player) map[wire.ID]bool {
	t.Helper()
	out := map[wire.ID]bool{}
	for e, err := range p.doc.History() {
		if err != nil {
			t.Fatal(err)
		}
		env, err := envelope.ParseStored(e.Sealed)
		if err != nil {
			t.Fatal(err)
		}
		out[env.ID] = true
	}
	return out
}

// loot is what somebody makes of recorded bytes.
type loot struct {
	envelopes  map[wire.ID]*envelope.Envelope
	ephemerals []*envelope.Ephemeral
	boxes      []*epoch.Box
	objects    map[governance.EpochID]*governance.KeyEpoch
}

// sift looks at every place of recorded bytes for a record of any kind that holds content or keys.
func sift(b []byte) *loot {
	l := &loot{envelopes: map[wire.ID]*envelope.Envelope{}, objects: map[governance.EpochID]*governance.KeyEpoch{}}
	looked := map[[32]byte]bool{}
	for i := range b {
		if b[i] < 0x82 || b[i] > 0x84 { // arrays of two to four
			continue
		}
		n := cborSize(b[i:], 0)
		if n < 100 {
			continue
		}
		raw := b[i : i+n]
		if sum := sha256.Sum256(raw); !looked[sum] {
			looked[sum] = true
			l.take(raw)
		}
	}
	return l
}

func (l *loot) take(raw []byte) {
	for _, parse := range []func([]byte) (*envelope.Envelope, error){envelope.Parse, envelope.ParseStored} {
		if e, err := parse(raw); err == nil && e.Sealed() {
			l.envelopes[e.ID] = e
		}
	}
	if e, err := envelope.ParseEphemeral(raw); err == nil {
		l.ephemerals = append(l.ephemerals, e)
	}
	if b, err := epoch.ParseBox(raw); err == nil {
		l.boxes = append(l.boxes, b)
	}
	if e, err := governance.ParseEvent(raw); err == nil {
		switch body, _ := governance.DecodeBody(e); body := body.(type) {
		case *governance.KeyEpoch:
			l.objects[body.ID()] = body
		case *governance.Revoke:
			if body.Epoch != nil {
				l.objects[body.Epoch.ID()] = body.Epoch
			}
		}
	}
}

// cborSize returns the size of the CBOR item at the beginning of b, 0 if there is none.
func cborSize(b []byte, depth int) int {
	if len(b) == 0 || depth > 4 {
		return 0
	}
	major, size, n := b[0]>>5, int(b[0]&31), 1
	if size >= 24 {
		wide := 1 << (size - 24)
		if size > 26 || len(b) < 1+wide {
			return 0
		}
		size = 0
		for _, x := range b[1 : 1+wide] {
			size = size<<8 | int(x)
		}
		n += wide
	}
	items := 0
	switch major {
	case 2, 3:
		n += size
	case 4:
		items = size
	case 5:
		items = 2 * size
	case 6, 7:
		return 0
	}
	for range items {
		m := 0
		if n < len(b) {
			m = cborSize(b[n:], depth+1)
		}
		if m == 0 {
			return 0
		}
		n += m
	}
	if n > len(b) {
		return 0
	}
	return n
}

// spoils counts what could be opened.
type spoils struct {
	epochs, boxes, ephemerals int
	envelopes                 map[wire.ID]bool
}

func (s *spoils) opened(of map[wire.ID]bool) (n int) {
	for id := range of {
		if s.envelopes[id] {
			n++
		}
	}
	return n
}

// attack tries all that somebody holds on all that was recorded: the device's key on every sealed key, whomever it is for,
// every key held on every record, under its own epoch and under every other.
func attack(witness, by *player, l *loot) *spoils {
	got := &spoils{envelopes: map[wire.ID]bool{}}
	state := witness.s.membership.State()
	var keys [][32]byte
	var ids []governance.EpochID
	for _, e := range state.Epochs() {
		ids = append(ids, e.ID)
		if k, ok := by.s.membership.EpochKey(e.ID); ok {
			keys = append(keys, k)
		}
	}
	for id, o := range l.objects {
		for _, b := range o.Boxes {
			if k, err := epoch.Open(o, b.Device, by.self.Keys.KEM); err == nil {
				keys, got.epochs = append(keys, k), got.epochs+1
			}
		}
		for _, k := range slices.Clone(keys) {
			if prev, err := epoch.OpenPrevious(o, k); err == nil {
				for _, p := range prev {
					keys = append(keys, p.Key)
				}
			}
		}
		ids = append(ids, id)
	}
	for _, b := range l.boxes {
		o, giver := l.objects[b.Epoch], state
		if o == nil {
			if e, ok := giver.Epoch(b.Epoch); ok {
				o = e.Object
			}
		}
		if d, ok := state.Device(b.Giver); ok && o != nil {
			if k, err := b.Open(o, d.Cert.DK, b.Device, by.self.Keys.KEM); err == nil {
				keys, got.boxes = append(keys, k), got.boxes+1
			}
		}
	}
	for _, k := range keys {
		for _, id := range ids {
			for _, e := range l.envelopes {
				if _, err := e.Open(epoch.ContentKey(k, id, e.Device, e.ChainNo, e.Doc)); err == nil {
					got.envelopes[e.ID] = true
				}
			}
			for _, e := range l.ephemerals {
				if _, err := e.Open(epoch.ContentKey(k, id, e.Device, e.ChainNo, [16]byte{})); err == nil {
					got.ephemerals++
				}
			}
		}
	}
	return got
}

// Ada removes Dora, and is removed herself by two who did not know of that: her removal of Dora does not count.
func TestRemovalThatDoesNotCount(t *testing.T) {
	dir, ks, address := t.TempDir(), memory.New(), freeAddress(t)
	openDora := func() *player {
		return openPlayer(t, "Dora", WithDir(dir), WithKeyStore(ks), WithListen(address))
	}
	bobsDir, bobsKeys := t.TempDir(), memory.New()
	openBob := func() *player { return openPlayer(t, "Bob", WithDir(bobsDir), WithKeyStore(bobsKeys)) }
	ada, bob, carl, dora := newPlayer(t, "Ada"), openBob(), newPlayer(t, "Carl"), openDora()
	ada.found(t)
	for _, p := range []*player{bob, carl, dora} {
		p.join(t, ada)
	}
	with := func(p *player) governance.ProposeOption {
		return governance.WithCosigners(governance.Author{Keys: p.self.Keys, Device: p.self.Device.ID})
	}
	promote := func(p *player, opts ...governance.ProposeOption) {
		t.Helper()
		grant := &governance.RoleGrant{Member: p.s.Me().ID, Role: RoleManager}
		if _, err := ada.s.membership.Propose(t.Context(), governance.KindRoleGrant, grant, opts...); err != nil {
			t.Fatal(err)
		}
	}
	promote(bob)
	promote(carl, with(bob))
	dora.write(t, "Dora was here. ")
	agree(t, ada, bob, carl, dora)
	id := ada.s.ID()
	closing := func(players ...*player) {
		t.Helper()
		for _, p := range players {
			if err := p.Node.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	closing(bob, carl)
	if err := ada.s.Revoke(t.Context(), dora.s.Me().ID, "rogue"); err != nil {
		t.Fatal(err)
	}
	<-dora.s.Done()
	closing(ada, dora)

	bob = openBob()
	var err error
	if bob.s, err = bob.OpenProject(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.s.membership.Remove(t.Context(), membership.Removal{Member: ada.self.Device.Member}, with(carl)); err != nil {
		t.Fatal(err)
	}
	bob.open(t)

	dora = openDora()
	until(t, "Dora's session lives", func() bool {
		s, err := dora.OpenProject(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		dora.s = s
		return s.Err() == nil
	})
	dora.open(t)
	dora.write(t, "Dora goes on. ")
	agree(t, bob, dora)
	if got := bob.read(t); got != "Dora goes on. Dora was here. " {
		t.Errorf("Bob reads %q", got)
	}
}

// freeAddress returns an address to listen on that is the same after a restart.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", l.Addr().(*net.TCPAddr).Port)
}
