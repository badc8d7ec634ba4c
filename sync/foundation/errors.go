package foundation

import "errors"

var (
	// ErrRefused means that the peer does not serve this project to us: it does not have it open, we are not of its
	// roster, or it has enough to do with us. All look the same. It is also said of a peer outside our own roster, which
	// is not asked.
	ErrRefused = errors.New("foundation: peer does not serve this project")
	// ErrProtocol means that a peer did not keep to the protocol; what it sent up to there stands.
	ErrProtocol = errors.New("foundation: peer does not keep to the protocol")
	// ErrStalled means that a peer has sent or taken nothing, or too little, for too long.
	ErrStalled = errors.New("foundation: peer has stalled")
	// ErrClosed means that the project was closed here.
	ErrClosed = errors.New("foundation: closed")
)
