package membership

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// hello opens an exchange of events, on either side.
type hello struct {
	Project genesis.ProjectID    `cbor:"1,keyasint"`
	Have    []governance.EventID `cbor:"2,keyasint"` // heads first, then a sample of what lies before them
	Needs   []governance.EpochID `cbor:"3,keyasint"` // keys that the sender should have and lacks
	Book    []bookEntry          `cbor:"4,keyasint"` // address records that the sender has
	Events  [][]byte             `cbor:"5,keyasint"` // news; the dialer's hello only
}

// bookEntry is which record of a device's addresses a peer has.
type bookEntry struct {
	_      struct{} `cbor:",toarray"`
	Device identity.DeviceID
	Seq    uint64
}

// batch carries what the other side lacks, events in causal order. The last one of a side says so.
type batch struct {
	Events [][]byte `cbor:"1,keyasint"`
	Boxes  [][]byte `cbor:"2,keyasint"` // epoch keys that the other side asked for
	Addrs  [][]byte `cbor:"3,keyasint"` // address records that are newer than the other side's
	Last   bool     `cbor:"4,keyasint"`
}

func (h *hello) check() error {
	if len(h.Have) > maxHave || len(h.Needs) > maxNeeds || len(h.Book) > maxBook || len(h.Events) > maxBatch {
		return fmt.Errorf("%w: hello with %d events had, %d keys needed, %d addresses, %d events",
			ErrProtocol, len(h.Have), len(h.Needs), len(h.Book), len(h.Events))
	}
	return nil
}

func (b *batch) check() error {
	if len(b.Events) > maxBatch || len(b.Boxes) > maxNeeds || len(b.Addrs) > maxRecords {
		return fmt.Errorf("%w: batch of %d events, %d keys, %d addresses",
			ErrProtocol, len(b.Events), len(b.Boxes), len(b.Addrs))
	}
	if !b.Last && len(b.Events) == 0 && len(b.Boxes) == 0 && len(b.Addrs) == 0 {
		return fmt.Errorf("%w: empty batch that is not the last", ErrProtocol)
	}
	return nil
}

type checker interface{ check() error }

// send writes one message: its length in four bytes, big-endian, and its bytes.
func send(w io.Writer, m checker) error {
	if err := m.check(); err != nil {
		return err
	}
	msg := wire.Marshal(m)
	if len(msg) > maxFrame {
		return fmt.Errorf("%w: message of %d bytes", ErrProtocol, len(msg))
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(msg)), uint32(len(msg)))
	if _, err := w.Write(append(frame, msg...)); err != nil {
		return fmt.Errorf("membership: send: %w", err)
	}
	return nil
}

// receive reads one message into m. Memory grows with what arrives, not with what is announced.
func receive(r io.Reader, m checker) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return fmt.Errorf("membership: receive: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return fmt.Errorf("%w: message of %d bytes", ErrProtocol, n)
	}
	var buf bytes.Buffer
	if _, err := io.CopyN(&buf, r, int64(n)); err != nil {
		return fmt.Errorf("membership: receive: %w", err)
	}
	return decodeMessage(buf.Bytes(), m)
}

func decodeMessage(b []byte, m checker) error {
	if err := wire.Unmarshal(b, m, maxFrame); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return m.check()
}
