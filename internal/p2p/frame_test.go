package p2p

import (
	"bytes"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenFile = "../../testdata/p2p/proof-frame.json"

// golden is the file of vectors. Signatures are hedged, so frames are kept and not made again. Both devices are in
// the roster, the invite is hosted.
type golden struct {
	Exporter  []byte        `json:"exporter"`
	Invite    []byte        `json:"invite"` // hash
	InviteKey []byte        `json:"invite_key"`
	Dialer    goldenDevice  `json:"dialer"`
	Listener  goldenDevice  `json:"listener"`
	Frames    []frameVector `json:"frames"`
	Mutilated []mutilation  `json:"mutilated"`
}

type goldenDevice struct {
	Peer   []byte `json:"peer"`
	Device []byte `json:"device"`
	Cert   []byte `json:"cert"`
}

// frameVector is a frame that verifies.
type frameVector struct {
	Name       string `json:"name"`
	Role       uint8  `json:"role"` // whose proof: 0 dialer, 1 listener
	Transcript []byte `json:"transcript"`
	Frame      []byte `json:"frame"`
}

// mutilation says how to spoil the frame of that name, and what checking it then says.
type mutilation struct {
	Name   string `json:"name"`
	Of     string `json:"of"`
	At     int    `json:"at"` // from the end if negative
	Put    []byte `json:"put,omitempty"`
	Insert []byte `json:"insert,omitempty"`
	Cut    int    `json:"cut,omitempty"` // bytes off the end
	Fails  string `json:"fails"`
}

func (m mutilation) apply(frame []byte) []byte {
	frame = bytes.Clone(frame)
	at := m.At
	if at < 0 {
		at += len(frame)
	}
	copy(frame[at:], m.Put)
	frame = slices.Insert(frame, at, m.Insert...)
	return frame[:len(frame)-m.Cut]
}

// failures are the classes that vectors name.
var failures = map[string]error{
	"malformed":  wire.ErrMalformed,
	"version":    wire.ErrVersion,
	"bad proof":  ErrBadProof,
	"not member": ErrNotMember,
	"guest":      ErrUnknownGuest,
}

func newGolden(t *testing.T) *golden {
	anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
	invite := inviteOf("golden")
	e := [32]byte(seedOf("exporter"))
	g := &golden{Exporter: e[:], Invite: invite.Hash[:], InviteKey: invite.Key[:], Dialer: keep(anna), Listener: keep(berta)}
	add := func(name string, role uint8, frame []byte) {
		a := member
		if name == "guest" {
			a = guest(invite, e)
		}
		x := transcript{
			Role: role, Exporter: e, DialerPeer: anna.cert.Peer, ListenerPeer: berta.cert.Peer,
			DialerDevice: anna.cert.ID, ListenerDevice: berta.cert.ID, Auth: a,
		}
		g.Frames = append(g.Frames, frameVector{name, role, wire.Marshal(x), frame})
	}
	add("member", roleDialer, anna.prover(nil).dialerFrame(e, berta.cert.Peer, berta.cert.ID, member))
	add("guest", roleDialer, anna.prover(nil).dialerFrame(e, berta.cert.Peer, berta.cert.ID, guest(invite, e)))
	add("listener", roleListener, berta.prover(nil).listenerFrame(e, anna.cert.Peer, anna.cert.ID))
	// A frame begins a5 01 01 02 01 03 59 …: map of 5, version 1, suite 1, certificate; 04 auth; 05 59 0d2d signature.
	auth := len(g.Frames[0].Frame) - sign.SignatureSize - 4 - 2 // of "member": 81 00
	g.Mutilated = []mutilation{
		{Name: "another version", Of: "member", At: 2, Put: []byte{2}, Fails: "version"},
		{Name: "another suite", Of: "member", At: 4, Put: []byte{2}, Fails: "version"},
		{Name: "version in two bytes", Of: "member", At: 2, Insert: []byte{0x18}, Fails: "malformed"},
		{Name: "a byte after the end", Of: "member", At: len(g.Frames[0].Frame), Insert: []byte{0}, Fails: "malformed"},
		{Name: "a byte missing", Of: "member", Cut: 1, Fails: "malformed"},
		{Name: "six pairs announced", Of: "member", Put: []byte{0xa6}, Fails: "malformed"},
		{Name: "authorisation of kind 3", Of: "member", At: auth + 1, Put: []byte{3}, Fails: "malformed"},
		{Name: "invite without its fields", Of: "member", At: auth + 1, Put: []byte{1}, Fails: "malformed"},
		{Name: "authorisation that is no array", Of: "member", At: auth, Put: []byte{0x00}, Insert: nil, Cut: 0, Fails: "malformed"},
		{Name: "transfer", Of: "member", At: auth, Put: []byte{0x82, 0x02}, Fails: "malformed"},
		{Name: "ML-DSA half spoiled", Of: "member", At: -sign.SignatureSize, Put: []byte{0, 0, 0, 0}, Fails: "bad proof"},
		{Name: "Ed25519 half spoiled", Of: "member", At: -64, Put: []byte{0, 0, 0, 0}, Fails: "bad proof"},
		{Name: "certificate spoiled", Of: "member", At: 3000, Put: []byte{0, 0, 0, 0}, Fails: "bad proof"},
		{Name: "mac spoiled", Of: "guest", At: -sign.SignatureSize - 4 - 32, Put: []byte{0, 0}, Fails: "guest"},
		{Name: "hash of another invite", Of: "guest", At: -sign.SignatureSize - 4 - 32 - 2 - 32, Put: []byte{0, 0}, Fails: "guest"},
		{Name: "listener's in the place of the dialer's", Of: "listener", Fails: "bad proof"},
	}
	return g
}

func keep(d device) goldenDevice { return goldenDevice{d.cert.Peer[:], d.cert.ID[:], d.cert.Raw} }

func loadGolden(t testing.TB) *golden {
	t.Helper()
	g := &golden{}
	goldenfile.Read(t, goldenFile, g)
	return g
}

func TestGoldenFrames(t *testing.T) {
	if *update {
		goldenfile.Write(t, goldenFile, newGolden(t))
	}
	g := loadGolden(t)
	r := newRoster()
	r.invites[wire.ID(g.Invite)] = [32]byte(g.InviteKey)
	certs := map[uint8]*identity.DeviceCert{}
	for role, d := range map[uint8]goldenDevice{roleDialer: g.Dialer, roleListener: g.Listener} {
		cert, err := identity.ParseDeviceCert(d.Cert)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(cert.ID[:], d.Device) || !bytes.Equal(cert.Peer[:], d.Peer) {
			t.Errorf("device of role %d is not what its certificate says", role)
		}
		certs[role] = cert
		r.devices[cert.Peer] = cert
	}
	e := [32]byte(g.Exporter)
	dialer, listener := &prover{cert: certs[roleDialer], roster: r}, &prover{cert: certs[roleListener], roster: r}
	if len(g.Frames) != 3 || len(g.Mutilated) < 16 {
		t.Fatalf("%d frames, %d mutilated ones", len(g.Frames), len(g.Mutilated))
	}
	byName := map[string][]byte{}
	for _, v := range g.Frames {
		byName[v.Name] = v.Frame
		var x transcript
		if err := wire.Unmarshal(v.Transcript, &x, MaxFrame); err != nil {
			t.Fatalf("%s: transcript: %v", v.Name, err)
		}
		f, err := parseFrame(v.Frame)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		if err := certs[v.Role].DK.Verify(sign.TransportProof, v.Transcript, f.Sig); err != nil {
			t.Errorf("%s: the transcript is not what is signed: %v", v.Name, err)
		}
		if v.Role == roleListener {
			_, err = dialer.checkListener(v.Frame, e, certs[roleListener].Peer, certs[roleListener].ID)
		} else {
			_, err = listener.checkDialer(v.Frame, e, certs[roleDialer].Peer)
		}
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
	for _, m := range g.Mutilated {
		peer := certs[roleDialer].Peer
		if m.Of == "listener" {
			peer = certs[roleListener].Peer
		}
		want := failures[m.Fails]
		if _, err := listener.checkDialer(m.apply(byName[m.Of]), e, peer); want == nil || !errors.Is(err, want) {
			t.Errorf("%s: %v, want %s", m.Name, err, m.Fails)
		}
	}
}

func TestFrameIO(t *testing.T) {
	var buf bytes.Buffer
	if err := writeFrame(&buf, make([]byte, MaxFrame+1)); !errors.Is(err, errFrameLength) || buf.Len() != 0 {
		t.Errorf("too long a frame: %v, %d bytes left", err, buf.Len())
	}
	if err := writeFrame(&buf, []byte("frame")); err != nil {
		t.Fatal(err)
	}
	buf.WriteString("next")
	if got := buf.String(); got != "\x00\x00\x00\x05framenext" {
		t.Errorf("%q", got)
	}
	if raw, err := readFrame(&buf); err != nil || string(raw) != "frame" || buf.String() != "next" {
		t.Errorf("%q, %v, left %q", raw, err, buf.String())
	}
	if _, err := readFrame(strings.NewReader("\x00\x00\x80\x01")); !errors.Is(err, errFrameLength) {
		t.Errorf("a length beyond the cap: %v", err)
	}
}

// TestTransferDecodes keeps the wire form of what a later version will accept.
func TestTransferDecodes(t *testing.T) {
	anna := newDevice(t, "anna")
	claim := auth{kind: authTransfer, transfer: [16]byte{1, 2, 3}}
	f, err := parseFrame(anna.prover(nil).dialerFrame([32]byte{}, [32]byte{}, anna.cert.ID, claim))
	if err != nil || f.Auth.kind != authTransfer || f.Auth.transfer != claim.transfer {
		t.Fatalf("%+v, %v", f, err)
	}
	for _, size := range []int{0, 15, 17} {
		var a auth
		raw := wire.Marshal([]any{authTransfer, make([]byte, size)})
		if err := wire.Unmarshal(raw, &a, MaxFrame); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("a transfer of %d bytes: %v", size, err)
		}
	}
	if _, err := (auth{kind: 9}).MarshalCBOR(); err == nil {
		t.Error("an unknown kind is written")
	}
}

// FuzzFrame checks that whatever is accepted has exactly one encoding, and that every refusal has a type.
func FuzzFrame(f *testing.F) {
	g := loadGolden(f)
	for _, v := range g.Frames {
		f.Add(v.Frame)
		for _, m := range g.Mutilated {
			if m.Of == v.Name {
				f.Add(m.apply(v.Frame))
			}
		}
	}
	f.Add([]byte{0xa5, 1, 1, 2, 1, 3, 0x40, 4, 0x81, 0, 5, 0x40})
	f.Fuzz(func(t *testing.T, raw []byte) {
		fr, err := parseFrame(raw)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) && !errors.Is(err, wire.ErrTooLarge) && !errors.Is(err, wire.ErrVersion) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if again := wire.Marshal(fr); !bytes.Equal(again, raw) {
			t.Fatalf("two encodings of one frame: %x and %x", raw, again)
		}
	})
}

// FuzzAuth does the same for the union inside a frame, which is small enough to be explored.
func FuzzAuth(f *testing.F) {
	for _, a := range []auth{member, guest(inviteOf("one"), [32]byte{}), {kind: authTransfer, transfer: [16]byte{1}}} {
		f.Add(wire.Marshal(a))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var a auth
		if err := wire.Unmarshal(raw, &a, MaxFrame); err != nil {
			return
		}
		if again := wire.Marshal(a); !bytes.Equal(again, raw) {
			t.Fatalf("two encodings: %x and %x", raw, again)
		}
		if a.kind > authTransfer {
			t.Fatalf("kind %d was accepted", a.kind)
		}
	})
}
