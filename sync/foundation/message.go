package foundation

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/journal"
)

// chainKey names a chain.
type chainKey struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	ChainNo uint32
}

func (k chainKey) compare(o chainKey) int {
	return cmp.Or(bytes.Compare(k.Device[:], o.Device[:]), cmp.Compare(k.ChainNo, o.ChainNo))
}

// opening says what a stream is about. It is the first frame of every exchange, and all that a peer learns who may not
// have more.
type opening struct {
	Project genesis.ProjectID `cbor:"1,keyasint"`
}

// frontier is how far a side holds each chain. It may take several frames.
type frontier struct {
	Places []place `cbor:"1,keyasint"` // ascending by chain, across all frames
	Forks  []fork  `cbor:"2,keyasint"` // ascending by chain; in the last frame only
	More   bool    `cbor:"3,keyasint"` // another frame follows
}

// place is the newest envelope of a chain that counts.
type place struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	ChainNo uint32
	Seq     uint64
	ID      wire.ID
}

func (p place) chain() chainKey { return chainKey{Device: p.Device, ChainNo: p.ChainNo} }

func (p place) head() journal.Head {
	return journal.Head{Device: p.Device, ChainNo: p.ChainNo, Seq: p.Seq, ID: p.ID}
}

// fork is a place of which the sender can prove that its author has written two envelopes there.
type fork struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	ChainNo uint32
	Seq     uint64
}

func (f fork) chain() chainKey { return chainKey{Device: f.Device, ChainNo: f.ChainNo} }

// ask is what the sender lacks. An ask for nothing ends its turn.
type ask struct {
	Runs   []wanted   `cbor:"1,keyasint"`
	Proofs []chainKey `cbor:"2,keyasint"` // of forks
}

// wanted asks for a chain's envelopes after a place.
type wanted struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	ChainNo uint32
	After   uint64
}

// offer lists the documents of which there may be a snapshot, the index first.
type offer struct {
	Docs []journal.DocID `cbor:"1,keyasint"`
}

// wish asks for snapshots. A wish for nothing ends the exchange.
type wish struct {
	Docs []journal.DocID `cbor:"1,keyasint"`
}

// check fails unless the frame may follow one that ended with last; the zero key is before all.
func (f *frontier) check(last chainKey) error {
	for i, p := range f.Places {
		if p.Seq == 0 || p.chain().compare(last) <= 0 && (i > 0 || last != chainKey{}) {
			return fmt.Errorf("%w: frontier names an empty chain, or chains out of order", ErrProtocol)
		}
		last = p.chain()
	}
	for i, x := range f.Forks {
		if x.Seq == 0 || i > 0 && x.chain().compare(f.Forks[i-1].chain()) <= 0 {
			return fmt.Errorf("%w: frontier names forks at no place, or out of order", ErrProtocol)
		}
	}
	if f.More && (len(f.Places) == 0 || len(f.Forks) > 0) {
		return fmt.Errorf("%w: frame of a frontier is empty and not the last, or has forks and is not the last", ErrProtocol)
	}
	return nil
}

func (a *ask) check() error {
	if len(a.Runs)+len(a.Proofs) > maxAsks {
		return fmt.Errorf("%w: asked about %d chains at once", ErrProtocol, len(a.Runs)+len(a.Proofs))
	}
	return nil
}

func (a *ask) empty() bool { return len(a.Runs)+len(a.Proofs) == 0 }

func (w *wish) check() error {
	if len(w.Docs) > maxWishes {
		return fmt.Errorf("%w: asked for %d snapshots at once", ErrProtocol, len(w.Docs))
	}
	return nil
}

// decode reads a message from a frame.
func decode(b []byte, into any, limit int) error {
	if err := wire.Unmarshal(b, into, limit); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return nil
}

func decodeAsk(b []byte) (*ask, error) {
	var a ask
	if err := decode(b, &a, maxAsk); err != nil {
		return nil, err
	}
	return &a, a.check()
}

func decodeWish(b []byte) (*wish, error) {
	var w wish
	if err := decode(b, &w, maxWish); err != nil {
		return nil, err
	}
	return &w, w.check()
}

func decodeFrontier(b []byte, last chainKey) (*frontier, error) {
	var f frontier
	if err := decode(b, &f, maxFrontier); err != nil {
		return nil, err
	}
	return &f, f.check(last)
}
