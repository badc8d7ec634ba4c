package invite

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"net"
	"strings"
	"testing"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/internal/words"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenPath = "../testdata/invite/handshake.json"

// golden is one recorded handshake. The keys are those of newPerson, the session key and nonce those of newRandom(3).
// M2 and M3 hold hedged signatures, so they are kept, not made again.
type golden struct {
	Code     string            `json:"code"`
	Compact  string            `json:"compact"`
	CodeHash string            `json:"code_hash"`
	MACKey   string            `json:"s_mac"`
	Proof    string            `json:"proof_hash"`
	Exporter string            `json:"exporter"`
	K1       string            `json:"k1"`
	Th       []string          `json:"th"`
	Words    string            `json:"words"`
	Frames   map[string][]byte `json:"frames"` // as sent, without length; base64
	M4       string            `json:"m4"`     // opened
}

func TestGoldenHandshake(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	var g golden
	goldenfile.Read(t, goldenPath, &g)
	code, err := Parse(g.Code)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := Parse(g.Compact)
	if err != nil {
		t.Fatal(err)
	}
	if code.Text() != g.Code || compact.Text() != g.Compact {
		t.Error("the code's form has changed")
	}
	mac := MACKey(code.Secret)
	hash := codeHash(code.Project, code.RootVersion, code.Root, code.Invite, code.Hosts, mac)
	equal(t, "s_mac", g.MACKey, mac[:])
	equal(t, "code hash", g.CodeHash, hash[:])
	proof := ProofHash(ProofKey(code.Secret).Public())
	equal(t, "proof hash", g.Proof, proof[:])
	checkFrames(t, &g, code)
}

func equal(t *testing.T, what, want string, got []byte) {
	t.Helper()
	if hex.EncodeToString(got) != want {
		t.Errorf("%s is %x, want %s", what, got, want)
	}
}

// checkFrames walks through the recorded messages as a host and as a joiner who know all keys.
func checkFrames(t *testing.T, g *golden, code *Code) {
	t.Helper()
	w := newWorld(t)
	frame := func(name string) []byte { return g.Frames[name] }
	x := &exchange{Server: w.server()}
	x.Exporter = [32]byte(unhex(t, g.Exporter))
	x.terms = &Terms{
		Project: code.Project, RootVersion: code.RootVersion, Root: code.Root, Invite: code.Invite, Hosts: code.Hosts,
		ProofHash: ProofHash(ProofKey(code.Secret).Public()), MAC: MACKey(code.Secret), KEM: w.host.keys.KEM,
	}
	mac := MACKey(code.Secret)
	tr := newTranscript(codeHash(code.Project, code.RootVersion, code.Root, code.Invite, code.Hosts, mac),
		x.Exporter, w.joiner.device.ID, w.host.device.ID)
	equal(t, "th0", g.Th[0], tr.th[:])
	m1, err := decode1(frame("m1"))
	if err != nil {
		t.Fatal(err)
	}
	tr, err = x.unlock(frame("m1"), m1)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "K1", g.K1, tr.k1[:])
	equal(t, "th1", g.Th[1], tr.th[:])
	j := Joiner{Remote: w.host.device, Code: code}
	th1 := tr.th
	m2, err := decode2(openGolden(t, tr, g, "m2"))
	if err != nil {
		t.Fatal(err)
	}
	welcome := &Welcome{Records: m2.Records}
	if err := j.verifyHost(m2, th1, welcome); err != nil {
		t.Error(err)
	}
	if err := j.verifyRoot(welcome); err != nil {
		t.Error(err)
	}
	equal(t, "th2", g.Th[2], tr.th[:])
	th2 := tr.th
	m3, err := decode3(openGolden(t, tr, g, "m3"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.verify(m3, th2); err != nil {
		t.Error(err)
	}
	equal(t, "th3", g.Th[3], tr.th[:])
	if got := strings.Join(tr.words(), " "); got != g.Words {
		t.Errorf("words %q, want %q", got, g.Words)
	}
	sas := sha256.Sum256(append([]byte("collab/v1/invite-sas\x00"), unhex(t, g.Th[3])...))
	if want := strings.Join(words.Fingerprint(sas, 6), " "); want != g.Words {
		t.Errorf("words %q are not those of H(invite-sas, th3), %q", g.Words, want)
	}
	msg := openGolden(t, tr, g, "m4")
	equal(t, "M4", g.M4, msg)
	if _, err := decode4(msg); err != nil {
		t.Fatal(err)
	}
	equal(t, "th4", g.Th[4], tr.th[:])
	if want := wire.Marshal(message5{MAC: tr.confirmation()}); !bytes.Equal(want, frame("m5")) {
		t.Error("M5 has another MAC")
	}
}

func openGolden(t *testing.T, tr *transcript, g *golden, name string) []byte {
	t.Helper()
	msg, err := tr.open(name, g.Frames[name])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return msg
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// writeGolden holds a handshake and keeps all of it.
func writeGolden(t *testing.T) {
	t.Helper()
	w := newWorld(t)
	first := identity.MemberID{1}
	w.answer.First = &first
	a, b := net.Pipe()
	host, guest := &tape{Conn: a}, &tape{Conn: b}
	done := make(chan error, 1)
	go func() {
		defer a.Close()
		done <- Serve(t.Context(), host, w.server())
	}()
	if _, err := Join(newRandom(3), guest, w.guest()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.Close()
	compact := *w.code
	compact.KEM = nil
	g := golden{
		Code: w.code.Text(), Compact: compact.Text(), Exporter: hex.EncodeToString(w.exporter[:]),
		Frames: map[string][]byte{},
	}
	frames := map[string][]byte{"m1": guest.sent[0], "m2": host.sent[0], "m3": guest.sent[1], "m4": host.sent[1], "m5": guest.sent[2]}
	for name, f := range frames {
		g.Frames[name] = f[4:]
	}
	mac := MACKey(w.code.Secret)
	hash := codeHash(w.code.Project, w.code.RootVersion, w.code.Root, w.code.Invite, w.code.Hosts, mac)
	g.MACKey, g.CodeHash = hex.EncodeToString(mac[:]), hex.EncodeToString(hash[:])
	g.Proof = hex.EncodeToString(w.terms.ProofHash[:])
	tr := newTranscript(hash, w.exporter, w.joiner.device.ID, w.host.device.ID)
	g.Th = append(g.Th, hex.EncodeToString(tr.th[:]))
	x := &exchange{Server: w.server(), terms: w.terms}
	m1, err := decode1(frames["m1"][4:])
	if err != nil {
		t.Fatal(err)
	}
	if tr, err = x.unlock(frames["m1"][4:], m1); err != nil {
		t.Fatal(err)
	}
	g.K1 = hex.EncodeToString(tr.k1[:])
	g.Th = append(g.Th, hex.EncodeToString(tr.th[:]))
	for _, name := range []string{"m2", "m3", "m4"} {
		msg, err := tr.open(name, frames[name][4:])
		if err != nil {
			t.Fatal(err)
		}
		g.Th = append(g.Th, hex.EncodeToString(tr.th[:]))
		if name == "m3" {
			g.Words = strings.Join(tr.words(), " ")
		}
		if name == "m4" {
			g.M4 = hex.EncodeToString(msg)
		}
	}
	goldenfile.Write(t, goldenPath, g)
}
