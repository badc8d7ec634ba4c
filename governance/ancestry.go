package governance

import (
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/internal/wire"
)

// ancestor is an envelope in a proof between the one that is signed and the one that is meant. It says only in what its header
// differs from that of the envelope after it, or a proof of a long branch would fit no event; number and predecessor follow.
type ancestor struct {
	Doc     *[16]byte  `cbor:"1,keyasint,omitempty"`
	Kind    *uint8     `cbor:"2,keyasint,omitempty"`
	Heads   *[]EventID `cbor:"3,keyasint,omitempty"`
	Epoch   []EpochID  `cbor:"4,keyasint,omitempty"` // one
	Plain   bool       `cbor:"5,keyasint,omitempty"` // no epoch, although the envelope after it has one
	Nonce   *[24]byte  `cbor:"6,keyasint,omitempty"`
	Content wire.ID    `cbor:"7,keyasint"`
}

// maxAncestors is how many envelopes lie between at most: those of a run but its last.
const maxAncestors = 255

// maxEnvelopeHeads is how many governance heads an envelope names. What repeats more, up to 255 times, is not worth reading.
const maxEnvelopeHeads = 4

var errManyHeads = fmt.Errorf("%w: an envelope of a proof names more than %d governance heads", ErrEvent, maxEnvelopeHeads)

func parseMark(statement []byte) (e envelopeHeader, content wire.ID, err error) {
	var mark envelopeMark
	if err = wire.Unmarshal(statement, &mark, MaxEventCore); err == nil {
		err = wire.Unmarshal(mark.Header, &e, MaxEventCore)
	}
	if err == nil && len(e.GovHeads) > maxEnvelopeHeads {
		err = errManyHeads
	}
	return e, mark.Content, err
}

// shorten writes what lies before a signed statement, newest first, and at the end what lies before that. What are no
// envelopes gives a half that nobody accepts.
func shorten(signed []byte, before [][]byte) (out [][]byte) {
	after, _, err := parseMark(signed)
	for _, statement := range before {
		e, content, bad := parseMark(statement)
		if err != nil || bad != nil {
			return [][]byte{nil}
		}
		out = append(out, wire.Marshal(e.differs(after, content)))
		after = e
	}
	if len(before) > 0 {
		out = append(out, after.Prev[:])
	}
	return out
}

// differs says in what a header is another than the one after it.
func (e *envelopeHeader) differs(after envelopeHeader, content wire.ID) ancestor {
	a := ancestor{Nonce: e.Nonce, Content: content}
	if e.Doc != after.Doc {
		a.Doc = &e.Doc
	}
	if e.Kind != after.Kind {
		a.Kind = &e.Kind
	}
	if !slices.Equal(e.GovHeads, after.GovHeads) {
		a.Heads = &e.GovHeads
	}
	switch {
	case e.Epoch == nil:
		a.Plain = after.Epoch != nil
	case after.Epoch == nil || *e.Epoch != *after.Epoch:
		a.Epoch = []EpochID{*e.Epoch}
	}
	return a
}

// before returns the header of an ancestor, without its predecessor.
func (e envelopeHeader) before(a ancestor) envelopeHeader {
	e.Seq--
	e.Nonce = a.Nonce
	if a.Doc != nil {
		e.Doc = *a.Doc
	}
	if a.Kind != nil {
		e.Kind = *a.Kind
	}
	if a.Heads != nil {
		e.GovHeads = *a.Heads
	}
	if len(a.Epoch) > 0 {
		e.Epoch = &a.Epoch[0]
	}
	if a.Plain {
		e.Epoch = nil
	}
	return e
}

// lengthen reads what shorten has written and returns the statement that is meant and what lies before it, if all of them lie
// before the signed one.
func lengthen(top envelopeHeader, short [][]byte) (statement []byte, prev wire.ID, err error) {
	last := len(short) - 1
	if last == 0 || last > maxAncestors || uint64(last) >= top.Seq || len(short[last]) != len(prev) {
		return nil, prev, fmt.Errorf("%w: a proof lists the envelopes before the signed one wrongly", ErrEvent)
	}
	headers, contents := make([]envelopeHeader, last), make([]wire.ID, last)
	after := top
	for k, raw := range short[:last] {
		var a ancestor
		if err := wire.Unmarshal(raw, &a, MaxEventCore); err != nil {
			return nil, prev, err
		}
		if a.Heads != nil && len(*a.Heads) > maxEnvelopeHeads {
			return nil, prev, errManyHeads
		}
		if len(a.Epoch) > 1 {
			return nil, prev, fmt.Errorf("%w: an envelope of a proof has several epochs", ErrEvent)
		}
		after = after.before(a)
		headers[k], contents[k] = after, a.Content
	}
	first := wire.ID(short[last])
	prev = first
	for k := last - 1; k >= 0; k-- {
		headers[k].Prev = prev
		s := wire.Marshal(envelopeMark{Header: wire.Marshal(headers[k]), Content: contents[k]})
		if prev = derive.ID(string(sign.Envelope), s); k == last-1 {
			statement = s
		}
	}
	if prev != top.Prev {
		return nil, prev, fmt.Errorf("%w: the envelopes of a proof do not follow each other", ErrEvent)
	}
	return statement, first, nil
}
