package p2p

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/multiformats/go-multistream"
	"github.com/quic-go/quic-go"

	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/studio-whip/collab/identity"
)

// Why a dial failed. [Host.Dial] wraps one of these in a [*DialError].
var (
	// ErrUnreachable means that nobody answered at any of the addresses.
	ErrUnreachable = errors.New("p2p: device unreachable")
	// ErrNotPostQuantum means that no hybrid key exchange was possible: the peer offers only classical groups, or
	// GODEBUG=tlsmlkem=0 switches it off in this process.
	ErrNotPostQuantum = errors.New("p2p: no post-quantum key exchange")
	// ErrRefused means that the peer has no security protocol in common with us, or closed without a word, as every
	// device does to one that is not in its roster.
	ErrRefused = errors.New("p2p: connection refused")
	// ErrWrongDevice means that another device answered than the one that was dialed.
	ErrWrongDevice = errors.New("p2p: another device answered")
	// ErrNotMember means that the device is not, or no longer, live in the roster of an open session.
	ErrNotMember = errors.New("p2p: device is not in the roster")
	// ErrGuestBusy means that the device is connected as a guest and finishes its invite handshake; it dials again
	// by itself as a member.
	ErrGuestBusy = errors.New("p2p: device is still a guest")
)

// Why a stream could not be opened or a host not be used.
var (
	// ErrNotConnected means that there is no connection of the needed class to the device; dial first.
	ErrNotConnected = errors.New("p2p: device is not connected")
	// ErrProtocol means that the peer does not serve the protocol to us.
	ErrProtocol = errors.New("p2p: protocol not served by the peer")
	// ErrClosed means that the host was closed.
	ErrClosed = errors.New("p2p: host closed")
	// ErrConfig means that a [Config] or a [Target] cannot be used; the text says why.
	ErrConfig = errors.New("p2p: unusable configuration")
)

// Why an inbound connection was refused; see [Refusal].
var (
	ErrBadProof     = errors.New("p2p: proof does not verify")
	ErrUnknownGuest = errors.New("p2p: invite is not hosted here, or its secret is wrong")
	ErrHalfOpen     = errors.New("p2p: too many unfinished connections")
	ErrSilent       = errors.New("p2p: no proof within the deadline")
)

// DialError says what was dialed and how it failed. It unwraps to one of [ErrUnreachable], [ErrNotPostQuantum],
// [ErrRefused], [ErrWrongDevice], and to the cause.
type DialError struct {
	Device identity.DeviceID
	Addrs  []string // what was tried
	Kind   error
	Cause  error
}

func (e *DialError) Error() string {
	tried := "no address is known"
	if len(e.Addrs) > 0 {
		tried = "tried " + strings.Join(e.Addrs, ", ")
	}
	return fmt.Sprintf("%v: device %s, %s; %s (%s)", e.Kind, e.Device.Short(), tried, advice[e.Kind], oneLine(e.Cause))
}

// Unwrap returns the kind and the cause.
func (e *DialError) Unwrap() []error { return []error{e.Kind, e.Cause} }

var advice = map[error]string{
	ErrUnreachable:    "check that it is running and that its addresses are current, then try again",
	ErrNotPostQuantum: "unset GODEBUG=tlsmlkem=0 here, and update the program at the other end",
	ErrRefused:        "ask a member whether this device is still in the project, and that both run this library",
	ErrWrongDevice:    "ask the member for its current addresses or a new invite",
}

func oneLine(err error) string {
	if err == nil {
		return "no further detail"
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// dialKind finds the most telling reason in what all attempts to reach one peer returned.
func dialKind(err error) error {
	var mismatch sec.ErrPeerIDMismatch
	switch {
	case errors.Is(err, ErrWrongDevice), errors.As(err, &mismatch):
		return ErrWrongDevice
	case errors.Is(err, ErrNotPostQuantum):
		return ErrNotPostQuantum
	case errors.Is(err, ErrRefused), errors.Is(err, multistream.ErrNotSupported[protocol.ID]{}):
		return ErrRefused
	}
	return ErrUnreachable
}

// TLS alerts (RFC 8446, section 6) that a peer without the hybrid group, or without TLS 1.3, sends.
const (
	alertHandshakeFailure = tls.AlertError(40)
	alertProtocolVersion  = tls.AlertError(70)
)

// alertOf returns the TLS alert that ended a handshake. Over QUIC it is in the error; over TCP the standard library
// wraps a type that it does not export, which has the same text.
func alertOf(err error) (tls.AlertError, bool) {
	var alert tls.AlertError
	if errors.As(err, &alert) {
		return alert, true
	}
	var transport *quic.TransportError
	if errors.As(err, &transport) && transport.ErrorCode.IsCryptoError() {
		return tls.AlertError(transport.ErrorCode & 0xff), true
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		for _, a := range []tls.AlertError{alertHandshakeFailure, alertProtocolVersion} {
			if op.Err.Error() == a.Error() {
				return a, true
			}
		}
		return 0, true
	}
	return 0, false
}

// handshakeError gives a failed TLS handshake its kind.
func handshakeError(err error) error {
	var mismatch sec.ErrPeerIDMismatch
	alert, alerted := alertOf(err)
	switch {
	case errors.As(err, &mismatch):
		return fmt.Errorf("%w: %w", ErrWrongDevice, err)
	case !hybridAvailable():
		return fmt.Errorf("%w: switched off in this process: %w", ErrNotPostQuantum, err)
	case alerted && (alert == alertHandshakeFailure || alert == alertProtocolVersion):
		return fmt.Errorf("%w: the peer shares no group with us: %w", ErrNotPostQuantum, err)
	case alerted:
		return fmt.Errorf("%w: TLS: %w", ErrRefused, err)
	}
	return err
}

// answerError gives the dialer's failure to get an answer to its proof its kind: silence of a peer that closed is a
// refusal, silence of one that did not is a dead line.
func answerError(err error) error {
	if isTimeout(err) {
		return fmt.Errorf("%w: no answer to our proof: %w", ErrUnreachable, err)
	}
	return fmt.Errorf("%w: closed without an answer to our proof: %w", ErrRefused, err)
}

// errHungUp marks an inbound connection whose peer left before it had proved itself. Nobody was refused: who dials
// several addresses at once drops all connections but one.
var errHungUp = errors.New("p2p: the peer hung up")

// hungUp marks an error of reading or writing that is the other side's end.
func hungUp(err error) error {
	var op *net.OpError
	var app *quic.ApplicationError
	switch {
	case err == nil || isTimeout(err):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &app),
		errors.As(err, &op) && (op.Op == "read" || op.Op == "write"):
		return fmt.Errorf("%w: %w", errHungUp, err)
	}
	return err
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		(errors.As(err, &n) && n.Timeout() && !errors.Is(err, io.EOF))
}
