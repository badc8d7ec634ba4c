package foundation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Frames are a u32 length in big-endian order and so many bytes. An empty frame ends a list.

// ErrProtocol means that a peer did not keep to the protocol; what it sent up to there stands.
var ErrProtocol = errors.New("foundation: peer does not keep to the protocol")

// ErrRefused means that the peer does not serve this project to us: it does not have it, or we are not of its roster.
// Both look the same.
var ErrRefused = errors.New("foundation: peer does not serve this project")

// place is the newest envelope of a chain that a device holds.
type place struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	ChainNo uint32
	Seq     uint64
	ID      wire.ID
}

// hello opens anti-entropy, and its answer has the same form; a request for snapshots is a hello without a frontier.
type hello struct {
	Project  genesis.ProjectID `cbor:"1,keyasint"`
	Frontier []place           `cbor:"2,keyasint"`
}

func writeFrame(w io.Writer, b []byte) error {
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...)); err != nil {
		return fmt.Errorf("foundation: send: %w", err)
	}
	return nil
}

// readFrame reads a frame of at most limit bytes. Memory is taken as the bytes arrive, not as the length announces.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, fmt.Errorf("foundation: receive: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if uint64(n) > uint64(limit) {
		return nil, fmt.Errorf("%w: frame of %d bytes, at most %d are allowed", ErrProtocol, n, limit)
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(b) < int(n) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("foundation: receive: %w", err)
	}
	return b, nil
}
