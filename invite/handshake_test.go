package invite

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
)

// outcome is how both sides of a handshake ended.
type outcome struct {
	welcome     *Welcome
	host, guest error
	words       []string
}

// run holds one handshake over a pipe. Each side closes its end when it is done, as the transport does.
func run(s Server, j Joiner) outcome {
	a, b := net.Pipe()
	var o outcome
	done := make(chan struct{})
	j.OnWords = func(w []string) { o.words = w }
	go func() {
		defer close(done)
		defer a.Close()
		_ = a.SetDeadline(time.Now().Add(15 * time.Second))
		o.host = Serve(context.Background(), a, s)
	}()
	_ = b.SetDeadline(time.Now().Add(15 * time.Second))
	o.welcome, o.guest = Join(newRandom(3), b, j)
	b.Close()
	<-done
	return o
}

func TestHandshakeAdmits(t *testing.T) {
	for _, form := range []string{"full", "compact"} {
		w := newWorld(t)
		if form == "compact" {
			w.code.KEM = nil
		}
		o := run(w.server(), w.guest())
		if o.host != nil || o.guest != nil {
			t.Fatalf("%s: host %v, guest %v", form, o.host, o.guest)
		}
		got := o.welcome
		if got.Root.ID != w.root.ID || got.HostDevice.ID != w.host.device.ID || got.HostIdentity.ID != w.host.id.ID ||
			string(got.Admit) != "the event" || len(got.Boxes) != 1 || !slices.Equal(got.Boxes[0], w.answer.Boxes[0]) || got.Heads[0] != (wire.ID{1}) || got.Invite != w.code.Invite {
			t.Errorf("%s: wrong welcome %+v", form, got)
		}
		if w.admitted() != 1 {
			t.Fatalf("%s: %d admissions", form, w.admitted())
		}
		r := w.requests[0]
		if r.Identity.ID != w.joiner.id.ID || r.Device.ID != w.joiner.device.ID || len(r.Words) != 6 || !slices.Equal(r.Words, o.words) {
			t.Errorf("%s: the host sees %q, the guest %q", form, r.Words, o.words)
		}
		err := VerifyProof(w.terms.ProofHash, r.ProofPub, r.Proof, wire.ID(w.root.Project), w.code.Invite,
			r.Identity.ID, r.Device.ID, w.host.device.ID, r.Th)
		if err != nil {
			t.Errorf("%s: other members refuse the proof: %v", form, err)
		}
	}
}

// A member of one project that joins another one comes on its member's channel, which names no invite.
func TestHandshakeOnAMembersChannel(t *testing.T) {
	w := newWorld(t)
	s := w.server()
	s.Channel = wire.ID{}
	if o := run(s, w.guest()); o.host != nil || o.guest != nil {
		t.Fatalf("host %v, guest %v", o.host, o.guest)
	}
}

func TestSecondHostServesTheSameCode(t *testing.T) {
	w := newWorld(t)
	w.terms = w.termsOf(w.other)
	s, j := w.server(), w.guest()
	s.Identity, s.Device, s.Keys = w.other.id, w.other.device, w.other.keys
	j.Remote = w.other.device
	if o := run(s, j); o.host != nil || o.guest != nil {
		t.Fatalf("host %v, guest %v", o.host, o.guest)
	}
}

// Scenario 49: the holder of the code is told why, by a typed error.
func TestScenario49TheHolderIsTold(t *testing.T) {
	scenario.Run(t, 49, "a code that is expired, cancelled, used or void: its holder gets a typed error, nobody is admitted", func(t *testing.T) {
		first := identity.MemberID{4, 2}
		for _, tc := range []struct {
			over, want error
		}{
			{ErrExpired, ErrExpired}, {ErrCancelled, ErrCancelled}, {ErrUsed, ErrUsed},
			{&UsedError{First: first}, ErrUsed}, {ErrVoid, ErrVoid}, {ErrFull, ErrFull}, {errors.New("other"), ErrDenied},
		} {
			w := newWorld(t)
			w.ended = tc.over
			o := run(w.server(), w.guest())
			if !errors.Is(o.guest, tc.want) || !errors.Is(o.host, tc.over) || o.welcome != nil {
				t.Errorf("%v: host %v, guest %v", tc.over, o.host, o.guest)
			}
			var used *UsedError
			if errors.As(tc.over, &used) && (!errors.As(o.guest, &used) || used.First != first) {
				t.Errorf("the guest is not told who used the code: %v", o.guest)
			}
			if w.admitted() != 0 {
				t.Error("an ended invite admits")
			}
		}
	})
}

func TestDecisionsReachTheJoiner(t *testing.T) {
	first := identity.MemberID{7}
	for _, tc := range []struct {
		answer Admission
		want   error
	}{
		{Admission{Result: Refused, Reason: ReasonDenied}, ErrDenied},
		{Admission{Result: Refused, Reason: ReasonUsed, First: &first}, ErrUsed},
		{Admission{Result: Refused, Reason: ReasonFull}, ErrFull},
		{Admission{Result: Refused, Reason: 99}, ErrDenied},
	} {
		w := newWorld(t)
		w.answer = tc.answer
		o := run(w.server(), w.guest())
		if o.host != nil || !errors.Is(o.guest, tc.want) || o.welcome != nil {
			t.Errorf("%v: host %v, guest %v", tc.want, o.host, o.guest)
		}
	}
}

func TestPending(t *testing.T) {
	w := newWorld(t)
	w.answer = Admission{Result: Pending}
	o := run(w.server(), w.guest())
	if o.host != nil || o.guest != nil || !o.welcome.Pending || o.welcome.Admit != nil {
		t.Errorf("host %v, guest %v, welcome %+v", o.host, o.guest, o.welcome)
	}
}

func TestHostFailureIsSilence(t *testing.T) {
	w := newWorld(t)
	broken := errors.New("disk gone")
	w.terms.Admit = func(context.Context, Request) (Admission, error) { return Admission{}, broken }
	if o := run(w.server(), w.guest()); !errors.Is(o.host, broken) || !errors.Is(o.guest, ErrNoAnswer) {
		t.Fatalf("host %v, guest %v", o.host, o.guest)
	}
}

// Scenario 49, 51: whoever is not the holder of this code, on this channel, gets silence, and costs no signature.
func TestScenario51StrangersGetSilence(t *testing.T) {
	scenario.Run(t, 51, "a relayed handshake, and whoever does not hold this code: silence, nobody is admitted", func(t *testing.T) {
		for _, tc := range []struct {
			name   string
			change func(w *world, s *Server, j *Joiner)
			host   error
		}{
			{"another secret", func(w *world, _ *Server, j *Joiner) { c := *w.code; c.Secret[0] ^= 1; j.Code = &c }, ErrStranger},
			{"another project's code", func(w *world, _ *Server, j *Joiner) { c := *w.code; c.Project[0] ^= 1; j.Code = &c }, ErrStranger},
			{"another pin", func(w *world, _ *Server, j *Joiner) { c := *w.code; c.Root[0] ^= 1; j.Code = &c }, ErrStranger},
			{"another pin's number", func(w *world, _ *Server, j *Joiner) { c := *w.code; c.RootVersion++; j.Code = &c }, ErrStranger},
			{"hosts in another order", func(w *world, _ *Server, j *Joiner) {
				c := *w.code
				c.KEM = nil
				c.Hosts = []Host{c.Hosts[1], c.Hosts[0]}
				j.Code = &c
			}, ErrStranger},
			{"an invite of nobody", func(w *world, _ *Server, j *Joiner) { c := *w.code; c.Invite[0] ^= 1; j.Code = &c }, ErrStranger},
			{"an invite of nobody, compact", func(w *world, _ *Server, j *Joiner) {
				c := *w.code
				c.Invite[0] ^= 1
				c.KEM = nil
				j.Code = &c
			}, ErrStranger},
			{"relayed channel", func(w *world, s *Server, _ *Joiner) { s.Exporter = [32]byte{8} }, ErrStranger},
			{"another device on the channel", func(w *world, s *Server, _ *Joiner) { s.Remote = w.other.device }, ErrStranger},
			{"a channel of another invite", func(w *world, s *Server, _ *Joiner) { s.Channel = wire.ID{1} }, ErrStranger},
		} {
			w := newWorld(t)
			s, j := w.server(), w.guest()
			tc.change(w, &s, &j)
			o := run(s, j)
			if !errors.Is(o.host, tc.host) || !errors.Is(o.guest, ErrNoAnswer) {
				t.Errorf("%s: host %v, guest %v", tc.name, o.host, o.guest)
			}
			if w.admitted() != 0 {
				t.Errorf("%s: admitted", tc.name)
			}
		}
	})
}

// Scenario 51: the guest sends nothing to anybody but a host of the code, and trusts no other host's answer.
func TestScenario51WrongHost(t *testing.T) {
	scenario.Run(t, 51, "a man in the middle with his own device, peer key or certificate: the guest ends the handshake", func(t *testing.T) {
		w := newWorld(t)
		stranger := newPerson(t, 9)
		for name, remote := range map[string]*identity.DeviceCert{
			"not in the code":   stranger.device,
			"other peer key":    {ID: w.host.device.ID, Peer: stranger.device.Peer},
			"other certificate": {ID: stranger.device.ID, Peer: w.host.device.Peer},
		} {
			j := w.guest()
			j.Remote = remote
			var sent bytes.Buffer
			if _, err := Join(newRandom(3), &sent, j); !errors.Is(err, ErrHost) || sent.Len() != 0 {
				t.Errorf("%s: %v after %d bytes", name, err, sent.Len())
			}
		}
		for _, tc := range []struct {
			name   string
			change func(s *Server)
			want   error
		}{
			{"another host's certificate", func(s *Server) { s.Identity, s.Device, s.Keys = w.other.id, w.other.device, w.other.keys }, ErrNoAnswer},
			{"another's identity", func(s *Server) { s.Identity = w.other.id }, ErrHost},
			{"another's signature", func(s *Server) { s.Keys = w.other.keys }, ErrHost},
			{"another project's root", func(s *Server) { w.terms.Records = [][]byte{newRoot(t, w.host, "Other").Raw} }, ErrHost},
			{"no root", func(s *Server) { w.terms.Records = nil }, ErrInvalid},
			{"a damaged root", func(s *Server) { w.terms.Records = [][]byte{w.root.Raw[:len(w.root.Raw)-1]} }, ErrInvalid},
			{"another key than the code's hash", func(s *Server) { w.code.KEM = nil; w.terms.KEM = w.other.keys.KEM }, ErrHost},
		} {
			w = newWorld(t)
			s, j := w.server(), w.guest()
			tc.change(&s)
			if o := run(s, j); !errors.Is(o.guest, tc.want) || w.admitted() != 0 {
				t.Errorf("%s: host %v, guest %v", tc.name, o.host, o.guest)
			}
		}
	})
}

// The code's holder presents what does not belong together.
func TestWrongProofs(t *testing.T) {
	for name, change := range map[string]func(w *world, j *Joiner){
		"another's identity":   func(w *world, j *Joiner) { j.Identity = w.other.id },
		"another's device key": func(w *world, j *Joiner) { j.Keys = w.other.keys },
	} {
		w := newWorld(t)
		j := w.guest()
		change(w, &j)
		if o := run(w.server(), j); !errors.Is(o.host, ErrProof) || !errors.Is(o.guest, ErrNoAnswer) || w.admitted() != 0 {
			t.Errorf("%s: host %v, guest %v", name, o.host, o.guest)
		}
	}
}

// M3 presents the certificates of another person than the one that the channel proved.
func TestSwappedDevice(t *testing.T) {
	w := newWorld(t)
	x := &exchange{Server: w.server(), terms: w.terms}
	th2 := wire.ID{1}
	proof := ProofKey(w.code.Secret)
	m := &message3{Identity: w.other.id.Raw, Device: w.other.device.Raw, ProofPub: proof.Public().Bytes()}
	m.Proof = proof.Sign(sign.InviteProof,
		proofMessage(wire.ID(w.root.Project), w.code.Invite, w.other.id.ID, w.other.device.ID, w.host.device.ID, th2))
	m.Sig = w.other.keys.DK.Sign(sign.InviteJoiner, m.signed(th2))
	if _, err := x.verify(m, th2); err == nil {
		t.Error("a device that the channel did not prove is accepted")
	}
	x.Remote = w.other.device
	if _, err := x.verify(m, th2); err != nil {
		t.Errorf("the same on its own channel: %v", err)
	}
	other := ProofKey(Secret{1})
	m.ProofPub = other.Public().Bytes()
	m.Proof = other.Sign(sign.InviteProof,
		proofMessage(wire.ID(w.root.Project), w.code.Invite, w.other.id.ID, w.other.device.ID, w.host.device.ID, th2))
	m.Sig = w.other.keys.DK.Sign(sign.InviteJoiner, m.signed(th2))
	if _, err := x.verify(m, th2); err == nil {
		t.Error("a proof by a key of the joiner's own making is accepted")
	}
}

// tape records what the guest writes and plays it to a host again.
type tape struct {
	net.Conn
	mu   sync.Mutex
	sent [][]byte
}

func (c *tape) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.sent = append(c.sent, bytes.Clone(p))
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// record holds a good handshake and returns the frames M1, M3, M5.
func record(t *testing.T, w *world) [][]byte {
	t.Helper()
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() {
		defer a.Close()
		done <- Serve(context.Background(), a, w.server())
	}()
	c := &tape{Conn: b}
	if _, err := Join(newRandom(3), c, w.guest()); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return c.sent
}

// player answers every read of the host with recorded frames, in turn, and counts what it says.
type player struct {
	in  bytes.Buffer
	out bytes.Buffer
}

func (p *player) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p *player) Write(b []byte) (int, error) { return p.out.Write(b) }

func play(s Server, frames ...[]byte) (*player, error) {
	p := &player{}
	for _, f := range frames {
		p.in.Write(f)
	}
	return p, Serve(context.Background(), p, s)
}

// Scenario 47: M1 and M3 recorded on one connection are worth nothing on another, and M3 nothing even on its own.
func TestScenario47Replay(t *testing.T) {
	scenario.Run(t, 47, "M1 and M3 replayed on a new connection and on their own: rejected, the invite is not consumed", func(t *testing.T) {
		w := newWorld(t)
		frames := record(t, w)
		if len(frames) != 3 {
			t.Fatalf("%d frames sent", len(frames))
		}
		again := w.server()
		again.Exporter = [32]byte{99}
		p, err := play(again, frames...)
		if !errors.Is(err, ErrStranger) || p.out.Len() != 0 {
			t.Errorf("M1 on a new connection: %v, %d bytes of answer", err, p.out.Len())
		}
		// On the same connection M1 repeats itself, but the host's hedged answer changes th2, so M3 does not open.
		if _, err = play(w.server(), frames...); !errors.Is(err, ErrInvalid) {
			t.Errorf("M3 again: %v", err)
		}
		if w.admitted() != 1 {
			t.Errorf("%d admissions, want the one that was recorded", w.admitted())
		}
		// M3 in place of M1.
		if p, err = play(w.server(), frames[1]); err == nil || p.out.Len() != 0 {
			t.Errorf("M3 first: %v", err)
		}
	})
}

// Every single damaged byte of M1 ends in silence, before anything is signed.
func TestDamagedM1(t *testing.T) {
	w := newWorld(t)
	m1 := record(t, w)[0]
	for i := 4; i < len(m1); i++ {
		bad := bytes.Clone(m1)
		bad[i] ^= 1 << (i % 8)
		p, err := play(w.server(), bad)
		if err == nil || p.out.Len() != 0 {
			t.Fatalf("byte %d: %v, %d bytes of answer", i, err, p.out.Len())
		}
	}
	for n := range len(m1) {
		if p, err := play(w.server(), m1[:n]); err == nil || p.out.Len() != 0 {
			t.Fatalf("first %d bytes: %v", n, err)
		}
	}
}

// Scenario 51: a man in the middle who rewrites the list of suites breaks the MAC.
func TestScenario51SuiteDowngrade(t *testing.T) {
	scenario.Run(t, 51, "the list of suites rewritten under way: the MAC fails", func(t *testing.T) {
		w := newWorld(t)
		raw := record(t, w)[0][4:]
		m, err := decode1(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, suites := range [][]uint16{{0, 1}, {1, 2}, {}, {2}, {1, 1}, {2, 1}} {
			changed := *m
			changed.Suites = suites
			var framed bytes.Buffer
			if err := writeFrame(&framed, wire.Marshal(changed)); err != nil {
				t.Fatal(err)
			}
			p, err := play(w.server(), framed.Bytes())
			if err == nil || p.out.Len() != 0 {
				t.Errorf("suites %v: %v, %d bytes of answer", suites, err, p.out.Len())
			}
		}
	})
}

// Scenario 100: a wrong MAC costs the host no signature.
func TestScenario100WrongMACCostsNoSignature(t *testing.T) {
	scenario.Run(t, 100, "an invite's id is known, its secret is not: wrong proofs cost the host no signature, the guest gets in", func(t *testing.T) {
		w := newWorld(t)
		s := w.server()
		s.Keys = &identity.DeviceKeys{KEM: w.host.keys.KEM} // a signature would panic
		c := *w.code
		c.Secret[31] ^= 1
		j := w.guest()
		j.Code = &c
		for range 50 {
			if o := run(s, j); !errors.Is(o.host, ErrStranger) {
				t.Fatalf("host %v", o.host)
			}
		}
		if o := run(w.server(), w.guest()); o.guest != nil {
			t.Fatalf("the guest is locked out: %v", o.guest)
		}
	})
}

// garble changes one bit of the n-th frame that the host sends.
type garble struct {
	net.Conn
	n int
}

func (g *garble) Write(p []byte) (int, error) {
	if g.n--; g.n == 0 {
		p = bytes.Clone(p)
		p[len(p)/2] ^= 1
	}
	return g.Conn.Write(p)
}

func TestDamagedAnswers(t *testing.T) {
	for n := 1; n <= 2; n++ { // M2, M4
		w := newWorld(t)
		a, b := net.Pipe()
		done := make(chan error, 1)
		go func() {
			defer a.Close()
			done <- Serve(context.Background(), &garble{Conn: a, n: n}, w.server())
		}()
		_, err := Join(newRandom(3), b, w.guest())
		b.Close()
		if !errors.Is(err, ErrInvalid) || <-done == nil {
			t.Errorf("answer %d damaged: %v", n, err)
		}
	}
}

// A joiner that loses M4 or does not send M5 is admitted all the same, and the host knows that it may come again.
func TestUnconfirmed(t *testing.T) {
	w := newWorld(t)
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() {
		defer a.Close()
		done <- Serve(context.Background(), a, w.server())
	}()
	j := w.guest()
	j.OnWords = func([]string) { b.Close() }
	if _, err := Join(newRandom(3), b, j); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("guest: %v", err)
	}
	if err := <-done; err == nil || w.admitted() != 1 {
		t.Errorf("host: %v after %d admissions", err, w.admitted())
	}
	o := run(w.server(), w.guest())
	if o.guest != nil || w.admitted() != 2 {
		t.Errorf("again: %v", o.guest)
	}
}

func TestFramesAreCapped(t *testing.T) {
	for _, size := range []uint32{maxSmall + 1, 1 << 31} {
		head := []byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
		if _, err := readFrame(io.MultiReader(bytes.NewReader(head), neverEnding{}), maxSmall); !errors.Is(err, ErrInvalid) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }
