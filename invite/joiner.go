package invite

import (
	"errors"
	"fmt"
	"io"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Joiner is a newcomer's side of one handshake.
type Joiner struct {
	Exporter [32]byte             // of the channel
	Remote   *identity.DeviceCert // the host's device, as the channel has proved it
	Code     *Code
	Identity *identity.IdentityCert
	Device   *identity.DeviceCert
	Keys     *identity.DeviceKeys
	// OnWords, if set, is given the six words that a person at the host sees too, before the answer arrives.
	OnWords func(words []string)
}

// Welcome is what an admitted newcomer starts with. Heads, boxes and addresses are the host's word only, until they
// are checked against the log.
type Welcome struct {
	Root         *genesis.Root // version 1 of the root record, verified
	HostIdentity *identity.IdentityCert
	HostDevice   *identity.DeviceCert
	Records      [][]byte // that record, the pinned one if it is another, and records after it; verified as far as they go
	Invite       [16]byte
	Pending      bool   // a person at the host has not decided yet: join again later; what follows is empty
	Admit        []byte // the event that admits this device
	Heads        []wire.ID
	Boxes        [][]byte
	Addrs        [][]byte
}

// Join runs the newcomer's side over rw, a channel to one of the code's hosts. The caller gives rw its deadline. The
// error wraps [ErrHost] before anything is sent to another device than a host of the code; [ErrExpired], [ErrUsed],
// [ErrCancelled], [ErrDenied], [ErrVoid] or [ErrFull] if the host said so; [ErrNoAnswer] if it closed without a word;
// [ErrInvalid] if it broke the rules; or what rw reported.
func Join(random io.Reader, rw io.ReadWriter, j Joiner) (*Welcome, error) {
	host, err := j.host()
	if err != nil {
		return nil, err
	}
	key, err := j.hostKey(rw, host)
	if err != nil {
		return nil, err
	}
	t, err := j.first(random, rw, key)
	if err != nil {
		return nil, err
	}
	defer t.wipe()
	w, err := j.second(rw, t)
	if err != nil {
		return nil, err
	}
	if err := j.third(rw, t); err != nil {
		return nil, err
	}
	if err := j.outcome(rw, t, w); err != nil {
		return nil, err
	}
	return w, nil
}

// host finds the channel's other end in the code.
func (j *Joiner) host() (*Host, error) {
	for i := range j.Code.Hosts {
		h := &j.Code.Hosts[i]
		if h.Device == j.Remote.ID && h.Peer == j.Remote.Peer {
			return h, nil
		}
	}
	return nil, fmt.Errorf("%w (device %s)", ErrHost, j.Remote.ID.Short())
}

// hostKey returns the key that M1 is sealed to: the code's, or what the host sends if the code has only its hash.
func (j *Joiner) hostKey(rw io.ReadWriter, host *Host) (*kem.PublicKey, error) {
	if host == &j.Code.Hosts[0] && j.Code.KEM != nil {
		return checkKey(j.Code.KEM, host)
	}
	hash := Hash(j.Code.Invite)
	if err := writeFrame(rw, hash[:]); err != nil {
		return nil, err
	}
	raw, err := readAnswer(rw, maxSmall)
	if err != nil {
		return nil, err
	}
	m, err := decode0(raw)
	if err != nil {
		return nil, err
	}
	return checkKey(m.KEM, host)
}

func checkKey(raw []byte, host *Host) (*kem.PublicKey, error) {
	key, err := kem.ParsePublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHost, err)
	}
	if identity.KemID(key) != host.KemID {
		return nil, fmt.Errorf("%w (its KEM key is another)", ErrHost)
	}
	return key, nil
}

// first sends M1.
func (j *Joiner) first(random io.Reader, rw io.ReadWriter, key *kem.PublicKey) (*transcript, error) {
	c := j.Code
	mac := MACKey(c.Secret)
	defer clear(mac[:])
	t := newTranscript(codeHash(c.Project, c.RootVersion, c.Root, c.Invite, c.Hosts, mac),
		j.Exporter, j.Device.ID, j.Remote.ID)
	m := message1{Head: wire.NewHead(), Suites: []uint16{wire.Suite1}, Invite: c.Invite}
	var session [32]byte
	defer clear(session[:])
	for _, b := range [][]byte{m.Nonce[:], session[:]} {
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, fmt.Errorf("invite: draw a session key: %w", err)
		}
	}
	var err error
	if m.CT1, err = key.Seal(random, t.m1Info(), nil, session[:]); err != nil {
		return nil, fmt.Errorf("invite: M1: %w", err)
	}
	bare := m.withoutMAC()
	t.share(session, mac, bare)
	sum := t.mac("mac1", bare)
	m.MAC = sum[:]
	raw := wire.Marshal(m)
	t.absorb(raw)
	return t, writeFrame(rw, raw)
}

// second reads M2, or the refusal in its place, and verifies who answers and for which project.
func (j *Joiner) second(rw io.ReadWriter, t *transcript) (*Welcome, error) {
	raw, err := readAnswer(rw, maxLarge)
	if err != nil {
		return nil, err
	}
	th1 := t.th
	msg, err := t.open("m2", raw)
	if err != nil {
		return nil, turnedAway(t, raw)
	}
	m, err := decode2(msg)
	if err != nil {
		return nil, err
	}
	w := &Welcome{Records: m.Records, Invite: j.Code.Invite}
	if err := j.verifyHost(m, th1, w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHost, err)
	}
	return w, j.verifyRoot(w)
}

// turnedAway reads a refusal that came in place of M2.
func turnedAway(t *transcript, raw []byte) error {
	msg, err := t.open("m4", raw)
	if err != nil {
		return fmt.Errorf("%w: M2: %w", ErrInvalid, err)
	}
	m, err := decode4(msg)
	if err != nil {
		return err
	}
	if err := m.err(); err != nil {
		return err
	}
	return fmt.Errorf("%w: admitted before the proof", ErrInvalid)
}

func (j *Joiner) verifyHost(m *message2, th1 wire.ID, w *Welcome) (err error) {
	if w.HostIdentity, err = identity.ParseIdentityCert(m.Identity); err != nil {
		return err
	}
	if w.HostDevice, err = identity.ParseDeviceCert(m.Device); err != nil {
		return err
	}
	if w.HostDevice.ID != j.Remote.ID {
		return fmt.Errorf("device %s is not the channel's", w.HostDevice.ID.Short())
	}
	if err := w.HostDevice.VerifyIdentity(w.HostIdentity); err != nil {
		return err
	}
	return w.HostDevice.DK.Verify(sign.InviteHost, m.signed(th1), m.Sig)
}

// verifyRoot checks that the first root record names the project, that the second is the code's pin if that is a later one,
// and that those after it follow.
func (j *Joiner) verifyRoot(w *Welcome) error {
	root, err := genesis.ParseRoot(w.Records[0])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	c := j.Code
	if root.Project != c.Project {
		return fmt.Errorf("%w (root record %s is not the code's)", ErrHost, root.ID.Short())
	}
	last, later := root, w.Records[1:]
	if c.RootVersion > 1 {
		if len(later) == 0 {
			return fmt.Errorf("%w (root record %s, which the code names, is missing)", ErrHost, c.Root.Short())
		}
		if last, err = genesis.ParsePinned(c.Project, c.Root, later[0]); err != nil {
			return fmt.Errorf("%w: %w", ErrHost, err)
		}
		later = later[1:]
	}
	if last.ID != c.Root || last.N != c.RootVersion {
		return fmt.Errorf("%w (root record %s is not the code's)", ErrHost, last.ID.Short())
	}
	for _, raw := range later {
		if last, err = genesis.ParseNext(last, raw); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	w.Root = root
	return nil
}

// third sends M3.
func (j *Joiner) third(rw io.ReadWriter, t *transcript) error {
	c := j.Code
	proof := ProofKey(c.Secret)
	m := message3{Identity: j.Identity.Raw, Device: j.Device.Raw, ProofPub: proof.Public().Bytes()}
	m.Proof = proof.Sign(sign.InviteProof,
		proofMessage(wire.ID(c.Project), c.Invite, j.Identity.ID, j.Device.ID, j.Remote.ID, t.th))
	m.Sig = j.Keys.DK.Sign(sign.InviteJoiner, m.signed(t.th))
	ct := t.seal("m3", wire.Marshal(m))
	if err := writeFrame(rw, ct); err != nil {
		return err
	}
	if j.OnWords != nil {
		j.OnWords(t.words())
	}
	return nil
}

// outcome reads M4 and confirms with M5.
func (j *Joiner) outcome(rw io.ReadWriter, t *transcript, w *Welcome) error {
	raw, err := readAnswer(rw, maxLarge)
	if err != nil {
		return err
	}
	msg, err := t.open("m4", raw)
	if err != nil {
		return fmt.Errorf("%w: M4: %w", ErrInvalid, err)
	}
	m, err := decode4(msg)
	if err != nil {
		return err
	}
	if err := m.err(); err != nil {
		return err
	}
	if m.Result == Pending {
		w.Pending = true
		return nil
	}
	w.Admit, w.Heads, w.Boxes, w.Addrs = m.Admit, m.Heads, m.boxes(), m.Addrs
	// Admitted is admitted: a host that does not get M5 answers the same when asked again, so its loss is no failure.
	_ = writeFrame(rw, wire.Marshal(message5{MAC: t.confirmation()}))
	return nil
}

// readAnswer is readFrame for a side that has the right to an answer.
func readAnswer(r io.Reader, limit int) ([]byte, error) {
	raw, err := readFrame(r, limit)
	if err != nil && !errors.Is(err, ErrInvalid) {
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return raw, err
}
