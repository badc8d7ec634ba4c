package foundation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/traffic"
)

// stream is what an exchange needs of a stream to a peer.
type stream interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Reset() error
}

// exchange is a stream of frames: a length in four bytes, big-endian, and so many bytes. An empty frame ends an answer.
type exchange struct {
	stream
	with   identity.DeviceID
	passed *traffic.Counter
}

// send writes a frame. The peer has idleTime to take each part of it.
func (x *exchange) send(b []byte) error {
	first := min(len(b), part)
	head := binary.BigEndian.AppendUint32(make([]byte, 0, 4+first), uint32(len(b)))
	if err := x.write(append(head, b[:first]...)); err != nil {
		return err
	}
	for rest := range slices.Chunk(b[first:], part) {
		if err := x.write(rest); err != nil {
			return err
		}
	}
	return nil
}

func (x *exchange) write(b []byte) error {
	err := x.SetWriteDeadline(time.Now().Add(idleTime))
	if err == nil {
		_, err = x.Write(b)
	}
	if err != nil {
		return fmt.Errorf("foundation: send: %w", stalled(err))
	}
	x.passed.Out(0, len(b))
	return nil
}

// receive reads a frame of at most limit bytes, which begins within wait. Memory is taken as the bytes arrive, not as
// the length announces, and is at most one and a half times the frame at any moment.
func (x *exchange) receive(limit int, wait time.Duration) ([]byte, error) {
	var head [4]byte
	if err := x.read(head[:], wait); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if uint64(size) > uint64(limit) {
		return nil, fmt.Errorf("%w: frame of %d bytes, at most %d are allowed", ErrProtocol, size, limit)
	}
	n := int(size)
	b := make([]byte, 0, min(n, part))
	for len(b) < n {
		if len(b) == cap(b) {
			b = append(make([]byte, 0, min(n, 2*cap(b))), b...)
		}
		at, end := len(b), min(cap(b), len(b)+part)
		b = b[:end]
		if err := x.read(b[at:], idleTime); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (x *exchange) read(b []byte, within time.Duration) error {
	err := x.SetReadDeadline(time.Now().Add(within))
	if err == nil {
		_, err = io.ReadFull(x, b)
	}
	if err != nil {
		return fmt.Errorf("foundation: receive: %w", stalled(err))
	}
	x.passed.In(0, len(b))
	return nil
}

// stalled gives a deadline that has passed its name.
func stalled(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%w: %w", ErrStalled, err)
	}
	return err
}
