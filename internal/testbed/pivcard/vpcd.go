package pivcard

import (
	"context"
	"encoding/binary"
	"io"
	"net"
)

// Control bytes of the virtual reader's protocol.
const (
	readerOff   = 0
	readerOn    = 1
	readerReset = 2
	readerATR   = 4
)

// serve puts the card into the virtual reader at the other end of conn, until conn or ctx ends. Messages have a length of
// two bytes, big-endian, in front; one of a single byte controls the reader, any other is a command APDU. A card that is
// taken out hangs up.
func (c *Card) serve(ctx context.Context, conn net.Conn) error {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	for {
		message, err := receive(conn)
		if err != nil {
			return err
		}
		var answer []byte
		switch {
		case len(message) != 1:
			answer = c.Transmit(message)
		case message[0] == readerATR:
			answer = c.atr()
		case message[0] == readerOff || message[0] == readerOn || message[0] == readerReset:
			c.power()
			continue
		default:
			continue
		}
		if answer == nil {
			return nil
		}
		framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)
		if _, err := conn.Write(framed); err != nil {
			return err
		}
	}
}

func receive(conn net.Conn) ([]byte, error) {
	var size [2]byte
	acknowledge(conn)
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(size[:]))
	acknowledge(conn)
	_, err := io.ReadFull(conn, message)
	return message, err
}
