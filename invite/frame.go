package invite

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// writeFrame writes one length-prefixed message in one call, so that no half of it waits for the other.
func writeFrame(w io.Writer, msg []byte) error {
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(msg)), uint32(len(msg)))
	if _, err := w.Write(append(frame, msg...)); err != nil {
		return fmt.Errorf("invite: send: %w", err)
	}
	return nil
}

// readFrame reads one message of at most limit bytes. Memory grows with what arrives, not with what is announced.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, fmt.Errorf("invite: receive: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if uint64(n) > uint64(limit) {
		return nil, fmt.Errorf("%w: frame of %d bytes, at most %d are allowed", ErrInvalid, n, limit)
	}
	var buf bytes.Buffer
	if _, err := io.CopyN(&buf, r, int64(n)); err != nil {
		return nil, fmt.Errorf("invite: receive: %w", err)
	}
	return buf.Bytes(), nil
}
