package journal

import (
	"fmt"

	"github.com/studio-whip/collab/crdt/lib0"
)

// split cuts an update into several, each of at most about max bytes and each understood after those before it: one
// large paste becomes a few envelopes. It fails with ErrTooLarge if a single value (an image in a map, say) is larger
// than that: such things are assets.
func split(update []byte, max int) ([][]byte, error) {
	if len(update) <= max {
		return [][]byte{update}, nil
	}
	c, err := parseChanges(update)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	var part changes
	size := 0
	flush := func() {
		if len(part.structs)+len(part.deletes) > 0 {
			out = append(out, part.encode())
		}
		part, size = changes{}, 0
	}
	for i := range c.structs {
		pieces, err := c.structs[i].cut(max - pieceOverhead)
		if err != nil {
			return nil, err
		}
		for _, p := range pieces {
			n := len(p.content) + len(p.root) + len(p.sub) + pieceOverhead
			if size+n > max {
				flush()
			}
			part.structs = append(part.structs, p)
			size += n
		}
	}
	for _, d := range c.deletes {
		if size+pieceOverhead > max {
			flush()
		}
		part.deletes = append(part.deletes, d)
		size += pieceOverhead
	}
	flush()
	return out, nil
}

// pieceOverhead is more than the encoding of a struct or a deleted range takes beside content and names, in bytes.
const pieceOverhead = 128

// cut divides a struct into consecutive ones whose content has at most max bytes.
func (p piece) cut(max int) ([]piece, error) {
	var out []piece
	for len(p.content) > max {
		units, size := p.prefix(max)
		if units == 0 {
			return nil, fmt.Errorf("%w: one value of %d bytes; keep it as an asset", ErrTooLarge, len(p.content))
		}
		head := p
		head.n, head.content = units, p.content[:size]
		out = append(out, head)
		last := ident{p.client, p.clock + units - 1}
		p.clock, p.n, p.content = p.clock+units, p.n-units, p.content[size:]
		p.origin, p.parent, p.root, p.sub = &last, nil, nil, nil
	}
	return append(out, p), nil
}

// prefix returns how many units of the content, and how many bytes, fit in max bytes; none if it cannot be cut.
func (p *piece) prefix(max int) (units uint64, size int) {
	switch p.kind {
	case kindString:
		for max > 0 && p.content[max]&0xc0 == 0x80 { // not inside a character
			max--
		}
		n, _ := lib0.UTF16Len(p.content[:max])
		return uint64(n), max
	case kindAny, kindJSON:
		r := lib0.NewReader(p.content)
		for r.Left() > 0 {
			if p.kind == kindAny {
				r.SkipAny()
			} else {
				r.Text()
			}
			if r.Pos() > max {
				break
			}
			units, size = units+1, r.Pos()
		}
		return units, size
	}
	return 0, 0
}
