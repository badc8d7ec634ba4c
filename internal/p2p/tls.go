package p2p

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	ic "github.com/libp2p/go-libp2p/core/crypto"
	pb "github.com/libp2p/go-libp2p/core/crypto/pb"

	"github.com/studio-whip/collab/crypto/sign"
)

// exporterLabel names the keying material (RFC 8446, section 7.5) that every proof signs.
const exporterLabel = "EXPORTER-collab-transport-v1"

// hybridOnly is the one key exchange group that we offer and accept: X25519 and ML-KEM-768 together.
var hybridOnly = []tls.CurveID{tls.X25519MLKEM768}

// exporterOf checks a finished TLS connection, whatever led to it, and returns its exporter. The check does not rely
// on configuration, as an environment variable can switch the hybrid group off.
func exporterOf(cs tls.ConnectionState) ([32]byte, error) {
	switch {
	case !cs.HandshakeComplete:
		return [32]byte{}, errors.New("p2p: TLS handshake is not finished")
	case cs.Version != tls.VersionTLS13:
		return [32]byte{}, fmt.Errorf("%w: %s", ErrNotPostQuantum, tls.VersionName(cs.Version))
	case cs.CurveID != tls.X25519MLKEM768:
		return [32]byte{}, fmt.Errorf("%w: group %v was negotiated", ErrNotPostQuantum, cs.CurveID)
	case cs.DidResume:
		return [32]byte{}, errors.New("p2p: resumed TLS session")
	}
	e, err := cs.ExportKeyingMaterial(exporterLabel, nil, 32)
	if err != nil {
		return [32]byte{}, fmt.Errorf("p2p: TLS exporter: %w", err)
	}
	return [32]byte(e), nil
}

// peerKey returns the 32 bytes of a peer's transport key; only Ed25519 is in use.
func peerKey(pub ic.PubKey) ([32]byte, error) {
	if pub == nil || pub.Type() != pb.KeyType_Ed25519 {
		return [32]byte{}, fmt.Errorf("%w: transport key is not Ed25519", ErrBadProof)
	}
	raw, err := pub.Raw()
	if err != nil || len(raw) != 32 {
		return [32]byte{}, fmt.Errorf("%w: transport key cannot be read", ErrBadProof)
	}
	if err := sign.CheckEd25519(raw); err != nil {
		return [32]byte{}, fmt.Errorf("%w: transport key: %w", ErrBadProof, err)
	}
	return [32]byte(raw), nil
}

// hybridAvailable reports whether this process can offer the hybrid group at all: it begins a handshake and sees
// whether a client hello leaves.
func hybridAvailable() bool {
	c := &helloProbe{}
	cfg := &tls.Config{
		MinVersion:         tls.VersionTLS13,
		CurvePreferences:   hybridOnly,
		InsecureSkipVerify: true, // nothing is connected and nothing will answer
	}
	_ = tls.Client(c, cfg).Handshake() // fails either way
	return c.wrote
}

// helloProbe is a connection that fails every call and notes whether something was written.
type helloProbe struct{ wrote bool }

func (p *helloProbe) Write([]byte) (int, error)        { p.wrote = true; return 0, net.ErrClosed }
func (*helloProbe) Read([]byte) (int, error)           { return 0, net.ErrClosed }
func (*helloProbe) Close() error                       { return nil }
func (*helloProbe) LocalAddr() net.Addr                { return nil }
func (*helloProbe) RemoteAddr() net.Addr               { return nil }
func (*helloProbe) SetDeadline(time.Time) error        { return nil }
func (*helloProbe) SetReadDeadline(time.Time) error    { return nil }
func (*helloProbe) SetWriteDeadline(t time.Time) error { return nil }
