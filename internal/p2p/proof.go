package p2p

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Class says what a connection may be used for. The dialer's proof fixes it for the connection's life.
type Class uint8

const (
	// Guest connections carry the protocols that were registered for guests and nothing else.
	Guest Class = 1
	// Member connections belong to a device that is live in the roster of an open session.
	Member Class = 2
)

func (c Class) String() string {
	switch c {
	case Guest:
		return "guest"
	case Member:
		return "member"
	}
	return "no class"
}

// Roster answers who may connect. Its methods are called during handshakes and for every stream, from several
// goroutines at once; they must be quick and must not call the host.
type Roster interface {
	// DeviceByPeer returns the certificate of the device that owns a transport key, if the device is live in some
	// open session.
	DeviceByPeer(peer [32]byte) (*identity.DeviceCert, bool)
	// InviteKey returns the MAC key of an invite that this node hosts, by the hash that names it in a guest's proof.
	InviteKey(invite wire.ID) (key [32]byte, ok bool)
}

// proven is what both proofs established about a connection.
type proven struct {
	peer     [32]byte
	cert     *identity.DeviceCert // of the other side
	class    Class
	invite   wire.ID // guest: the hash of the invite
	exporter [32]byte
	inbound  bool // we were the listener
}

// expected is what a dialer knows about a listener before it dials.
type expected struct {
	device identity.DeviceID
	class  Class
	invite *InviteAuth
}

// prover makes and checks proofs for one device.
type prover struct {
	keys   *identity.DeviceKeys
	cert   *identity.DeviceCert
	roster Roster
	// expect returns whom we dial when we dial peer.
	expect func(peer [32]byte) (expected, bool)
}

// dialerFrame signs the first proof of a connection.
func (p *prover) dialerFrame(exporter, listener [32]byte, device identity.DeviceID, a auth) []byte {
	return p.sign(transcript{
		Role: roleDialer, Exporter: exporter,
		DialerPeer: p.cert.Peer, ListenerPeer: listener,
		DialerDevice: p.cert.ID, ListenerDevice: device,
		Auth: a,
	})
}

// listenerFrame signs the answer, which is never sent before the dialer's proof stands.
func (p *prover) listenerFrame(exporter, dialer [32]byte, device identity.DeviceID) []byte {
	return p.sign(transcript{
		Role: roleListener, Exporter: exporter,
		DialerPeer: dialer, ListenerPeer: p.cert.Peer,
		DialerDevice: device, ListenerDevice: p.cert.ID,
		Auth: auth{kind: authRoster},
	})
}

func (p *prover) sign(t transcript) []byte {
	return wire.Marshal(frame{
		Head:       wire.NewHead(),
		DeviceCert: p.cert.Raw,
		Auth:       t.Auth,
		Sig:        p.keys.DK.Sign(sign.TransportProof, wire.Marshal(t)),
	})
}

// dial proves our device to the listener whose transport key is peer, and then checks the listener's proof.
func (p *prover) dial(rw io.ReadWriter, exporter, peer [32]byte) (*proven, error) {
	want, ok := p.expect(peer)
	if !ok {
		return nil, fmt.Errorf("%w: nothing is known of the peer that was dialed", ErrNotMember)
	}
	a := auth{kind: authRoster}
	if want.class == Guest {
		a = auth{kind: authInvite, invite: want.invite.Hash, mac: inviteMAC(want.invite.Key, exporter)}
	}
	if err := writeFrame(rw, p.dialerFrame(exporter, peer, want.device, a)); err != nil {
		return nil, answerError(err)
	}
	raw, err := readFrame(rw)
	if err != nil {
		return nil, answerError(err)
	}
	cert, err := p.checkListener(raw, exporter, peer, want.device)
	if err != nil {
		return nil, err
	}
	res := &proven{peer: peer, cert: cert, class: want.class, exporter: exporter}
	if want.class == Guest {
		res.invite = want.invite.Hash
	}
	return res, nil
}

// checkListener verifies the listener's proof against the device that was dialed.
func (p *prover) checkListener(raw []byte, exporter, peer [32]byte, device identity.DeviceID) (*identity.DeviceCert, error) {
	f, err := parseFrame(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	cert, err := identity.ParseDeviceCert(f.DeviceCert)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate: %w", ErrWrongDevice, err)
	}
	if cert.ID != device || cert.Peer != peer {
		return nil, fmt.Errorf("%w: device %s instead of %s", ErrWrongDevice, cert.ID.Short(), device.Short())
	}
	if f.Auth.kind != authRoster {
		return nil, fmt.Errorf("%w: %w: a listener claims authorisation of kind %d", ErrRefused, ErrBadProof, f.Auth.kind)
	}
	t := transcript{
		Role: roleListener, Exporter: exporter,
		DialerPeer: p.cert.Peer, ListenerPeer: peer,
		DialerDevice: p.cert.ID, ListenerDevice: device,
		Auth: f.Auth,
	}
	if err := cert.DK.Verify(sign.TransportProof, wire.Marshal(t), f.Sig); err != nil {
		return nil, fmt.Errorf("%w: %w: %w", ErrWrongDevice, ErrBadProof, err)
	}
	return cert, nil
}

// listen checks the dialer's proof and only then signs and sends ours. After an error nothing was written, and the
// caller closes without a word.
func (p *prover) listen(rw io.ReadWriter, exporter, peer [32]byte) (*proven, error) {
	raw, err := readFrame(rw)
	if err != nil {
		if isTimeout(err) {
			err = fmt.Errorf("%w: %w", ErrSilent, err)
		}
		return nil, hungUp(err)
	}
	res, err := p.checkDialer(raw, exporter, peer)
	if err != nil {
		return nil, err
	}
	if err := writeFrame(rw, p.listenerFrame(exporter, peer, res.cert.ID)); err != nil {
		return nil, hungUp(err)
	}
	return res, nil
}

// checkDialer verifies a dialer's proof, cheap checks before dear ones.
func (p *prover) checkDialer(raw []byte, exporter, peer [32]byte) (*proven, error) {
	f, err := parseFrame(raw)
	if err != nil {
		return nil, err
	}
	res := &proven{peer: peer, exporter: exporter, inbound: true}
	known, listed := p.roster.DeviceByPeer(peer)
	switch f.Auth.kind {
	case authRoster:
		if !listed {
			return nil, ErrNotMember
		}
		res.class = Member
	case authInvite:
		key, ok := p.roster.InviteKey(f.Auth.invite)
		mac := inviteMAC(key, exporter)
		if !ok || !hmac.Equal(mac[:], f.Auth.mac[:]) {
			return nil, ErrUnknownGuest
		}
		res.class, res.invite = Guest, f.Auth.invite
	default:
		return nil, fmt.Errorf("%w: authorisation of kind %d is not accepted", ErrBadProof, f.Auth.kind)
	}
	if res.cert, err = identity.ParseDeviceCert(f.DeviceCert); err != nil {
		return nil, fmt.Errorf("%w: certificate: %w", ErrBadProof, err)
	}
	if res.cert.Peer != peer {
		return nil, fmt.Errorf("%w: certificate is for another transport key than the connection's", ErrBadProof)
	}
	if listed && known.ID != res.cert.ID {
		return nil, fmt.Errorf("%w: certificate %s is not the roster's %s", ErrBadProof, res.cert.ID.Short(), known.ID.Short())
	}
	t := transcript{
		Role: roleDialer, Exporter: exporter,
		DialerPeer: peer, ListenerPeer: p.cert.Peer,
		DialerDevice: res.cert.ID, ListenerDevice: p.cert.ID,
		Auth: f.Auth,
	}
	if err := res.cert.DK.Verify(sign.TransportProof, wire.Marshal(t), f.Sig); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadProof, err)
	}
	return res, nil
}

// inviteMAC binds the knowledge of an invite's secret to one connection.
func inviteMAC(key, exporter [32]byte) [32]byte {
	h := hmac.New(sha256.New, key[:])
	h.Write(exporter[:])
	return [32]byte(h.Sum(nil))
}

var errNoProof = errors.New("p2p: connection carries no proof")
