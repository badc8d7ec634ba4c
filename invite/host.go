package invite

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Terms are what a host knows of an invite, the event that announced it, s_mac and the KEM key that its codes print,
// and how it decides.
type Terms struct {
	Project     genesis.ProjectID
	RootVersion uint32
	Root        genesis.RootID
	Invite      [16]byte
	Hosts       []Host // in the order of the event; addresses do not matter
	ProofHash   wire.ID
	MAC         [32]byte
	KEM         *kem.PrivateKey
	Records     [][]byte // version 1 of the root record, the pinned one if it is another, and those after it
	// Ended returns why the invite is over for this joiner, an error of this package, or nil. It is asked when M1
	// has proved that the other end holds the code. Nil: never over.
	Ended func() error
	// Admit decides. It may wait for a person, admits at most once per invite and joiner, and gives one who comes
	// again the same answer. Its error ends the handshake without an answer.
	Admit func(ctx context.Context, r Request) (Admission, error)
}

// Format and MarshalJSON keep s_mac out of logs.
func (Terms) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, redacted) }
func (Terms) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Request is a newcomer who holds the code and has proved every certificate and signature.
type Request struct {
	Invite   [16]byte
	Identity *identity.IdentityCert
	Device   *identity.DeviceCert
	ProofPub []byte
	Proof    []byte
	Th       wire.ID  // th2, which the proof covers
	Words    []string // six; the joiner is shown the same
}

// Admission is a host's answer to a [Request].
type Admission struct {
	Result Result
	Reason Reason             // of a refusal
	First  *identity.MemberID // who used the invite first, if the reason is ReasonUsed

	Admit []byte    // the event that admits the joiner, as signed
	Heads []wire.ID // governance heads of the host, at least one, at most 256
	Boxes [][]byte  // signed epoch boxes for the joiner's device, at most 256
	Addrs [][]byte  // signed address records of other members, at most 128
}

// Server is a host's side of one handshake.
type Server struct {
	Exporter [32]byte             // of the channel
	Remote   *identity.DeviceCert // the joiner's device, as the channel has proved it
	Identity *identity.IdentityCert
	Device   *identity.DeviceCert
	Keys     *identity.DeviceKeys
	// Channel is the hash of the invite with which the joiner opened the channel; zero if the channel is that of a
	// member, of this or another project.
	Channel wire.ID
	// Lookup returns the terms of an invite by its hash, if this host serves it.
	Lookup func(hash wire.ID) (*Terms, bool)
}

// Serve runs the host's side over rw. The caller gives rw its deadline. The error wraps [ErrStranger], [ErrProof] or
// [ErrInvalid] if the other end is at fault and was told nothing; [ErrNotConfirmed] if it was admitted but did not
// confirm; the error of [Terms.Ended] if the invite is over and the joiner was told so; or what rw or Admit
// reported. A refusal or a pending answer that was delivered is no error.
func Serve(ctx context.Context, rw io.ReadWriter, s Server) error {
	x := exchange{Server: s, rw: rw}
	t, err := x.first()
	if err != nil {
		return err
	}
	defer t.wipe()
	if x.terms.Ended != nil {
		if over := x.terms.Ended(); over != nil {
			return x.turnAway(t, over)
		}
	}
	if err := x.second(t); err != nil {
		return err
	}
	r, err := x.third(t)
	if err != nil {
		return err
	}
	a, err := x.terms.Admit(ctx, *r)
	if err != nil {
		return fmt.Errorf("invite: admission: %w", err)
	}
	return x.answer(t, a)
}

// exchange is one handshake of a host.
type exchange struct {
	Server
	rw    io.ReadWriter
	terms *Terms // of the invite that the joiner named
}

// first reads M1, after M0 if the joiner asks for it, and proves that the other end holds the code on this channel.
func (x *exchange) first() (*transcript, error) {
	raw, err := readFrame(x.rw, maxSmall)
	if err != nil {
		return nil, err
	}
	if len(raw) == keyRequestSize {
		if err := x.sendKey(wire.ID(raw)); err != nil {
			return nil, err
		}
		if raw, err = readFrame(x.rw, maxSmall); err != nil {
			return nil, err
		}
	}
	m, err := decode1(raw)
	if err != nil {
		return nil, err
	}
	if err := x.name(Hash(m.Invite)); err != nil {
		return nil, err
	}
	return x.unlock(raw, m)
}

// name finds the terms of the invite that the joiner speaks of: one only, and the channel's if that names one.
func (x *exchange) name(hash wire.ID) error {
	terms, ok := x.Lookup(hash)
	if !ok || !x.Channel.IsZero() && x.Channel != hash {
		return fmt.Errorf("%w: no invite of this host, or another one than the channel's", ErrStranger)
	}
	if x.terms != nil && x.terms.Invite != terms.Invite {
		return fmt.Errorf("%w: two invites in one handshake", ErrStranger)
	}
	x.terms = terms
	return nil
}

func (x *exchange) sendKey(hash wire.ID) error {
	if err := x.name(hash); err != nil {
		return err
	}
	return writeFrame(x.rw, wire.Marshal(message0{KEM: x.terms.KEM.Public().Bytes()}))
}

func (x *exchange) unlock(raw []byte, m *message1) (*transcript, error) {
	p := x.terms
	t := newTranscript(codeHash(p.Project, p.RootVersion, p.Root, p.Invite, p.Hosts, p.MAC),
		x.Exporter, x.Remote.ID, x.Device.ID)
	session, err := p.KEM.Open(t.m1Info(), nil, m.CT1)
	if err != nil || len(session) != 32 {
		return nil, fmt.Errorf("%w: M1 is not for this host, channel and code", ErrStranger)
	}
	defer clear(session)
	bare := m.withoutMAC()
	t.share([32]byte(session), p.MAC, bare)
	if mac := t.mac("mac1", bare); !hmac.Equal(mac[:], m.MAC) {
		return nil, fmt.Errorf("%w: M1 has a wrong MAC", ErrStranger)
	}
	t.absorb(raw)
	return t, nil
}

// turnAway tells the code's holder, in place of M2, why the invite is of no use.
func (x *exchange) turnAway(t *transcript, over error) error {
	m := message4{Result: Refused, Reason: ReasonOf(over)}
	var used *UsedError
	if errors.As(over, &used) {
		m.First = &used.First
	}
	if err := writeFrame(x.rw, t.seal("m4", wire.Marshal(m))); err != nil {
		return err
	}
	return over
}

func (x *exchange) second(t *transcript) error {
	m := message2{Identity: x.Identity.Raw, Device: x.Device.Raw, Records: x.terms.Records}
	m.Sig = x.Keys.DK.Sign(sign.InviteHost, m.signed(t.th))
	return writeFrame(x.rw, t.seal("m2", wire.Marshal(m)))
}

// third reads M3 and verifies all that it claims.
func (x *exchange) third(t *transcript) (*Request, error) {
	raw, err := readFrame(x.rw, maxLarge)
	if err != nil {
		return nil, err
	}
	th2 := t.th
	msg, err := t.open("m3", raw)
	if err != nil {
		return nil, fmt.Errorf("%w: M3: %w", ErrInvalid, err)
	}
	m, err := decode3(msg)
	if err != nil {
		return nil, err
	}
	r, err := x.verify(m, th2)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	r.Words = t.words()
	return r, nil
}

func (x *exchange) verify(m *message3, th2 wire.ID) (*Request, error) {
	person, err := identity.ParseIdentityCert(m.Identity)
	if err != nil {
		return nil, err
	}
	device, err := identity.ParseDeviceCert(m.Device)
	if err != nil {
		return nil, err
	}
	if device.ID != x.Remote.ID {
		return nil, fmt.Errorf("device %s is not the channel's", device.ID.Short())
	}
	if err := device.VerifyIdentity(person); err != nil {
		return nil, err
	}
	if err := device.DK.Verify(sign.InviteJoiner, m.signed(th2), m.Sig); err != nil {
		return nil, err
	}
	p := x.terms
	if err := VerifyProof(p.ProofHash, m.ProofPub, m.Proof, wire.ID(p.Project), p.Invite, person.ID, device.ID, x.Device.ID, th2); err != nil {
		return nil, err
	}
	return &Request{
		Invite: p.Invite, Identity: person, Device: device, ProofPub: m.ProofPub, Proof: m.Proof, Th: th2,
	}, nil
}

// answer sends M4 and, after an admission, waits for M5.
func (x *exchange) answer(t *transcript, a Admission) error {
	boxes, err := signedBoxes(a.Boxes)
	if err != nil {
		return fmt.Errorf("invite: the answer cannot be sent: %w", err)
	}
	msg := wire.Marshal(message4{
		Result: a.Result, Reason: a.Reason, Admit: a.Admit, Heads: a.Heads, Boxes: boxes, Addrs: a.Addrs, First: a.First,
	})
	if _, err := decode4(msg); err != nil {
		return fmt.Errorf("invite: the answer cannot be sent: %w", err)
	}
	if err := writeFrame(x.rw, t.seal("m4", msg)); err != nil || a.Result != Admitted {
		return err
	}
	raw, err := readFrame(x.rw, maxSmall)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotConfirmed, err)
	}
	m, err := decode5(raw)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotConfirmed, err)
	}
	if want := t.confirmation(); !hmac.Equal(want[:], m.MAC[:]) {
		return fmt.Errorf("%w: M5 has a wrong MAC", ErrNotConfirmed)
	}
	return nil
}
