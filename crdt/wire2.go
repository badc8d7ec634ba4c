package crdt

import (
	"slices"

	"github.com/studio-whip/collab/crdt/lib0"
)

// Format v2 takes the structs apart and writes each field in a column of its own:
//
//	0 (features) │ keys clients lefts rights infos strings parents types lengths │ rest
//	               └─ nine columns, each with its length before it ────────────┘   counts, first clocks,
//	                                                                              values, deletions
//
// Reading puts them together again, into the same structs that format v1 gives. Offsets still point into the input,
// where strings, lists and bytes lie whole. What does not (attributes, embedded objects, halves of surrogate pairs) is
// put into its other form behind it.

// columns are the readers of an update in format v2. All positions count from the start of the input.
type columns struct {
	keys          lib0.Diffs
	clients       lib0.Runs
	lefts, rights lib0.Diffs
	infos         lib0.ByteRuns
	strings       lib0.Strings
	parents       lib0.ByteRuns
	types, lens   lib0.Runs

	known   []lib0.Piece // keys read so far
	structs int          // how many more structs are accepted
	extra   int          // how many more bytes behind the input are accepted
}

const (
	// v2Structs and v2StructsPerByte bound how many structs an update in format v2 may hold: a few bytes can declare
	// billions. Half a kilobyte of honest update has been seen to hold 100,000.
	v2Structs        = 1 << 17
	v2StructsPerByte = 16
	// v2ExtraPerByte bounds the bytes put into another form, for each byte of input.
	v2ExtraPerByte = 16
	v2Extra        = 4096
)

func (u *update) readV2() {
	if u.r.Uvarint() != 0 {
		u.r.Fail(0, "unknown features")
		return
	}
	c := &u.v2
	*c = columns{
		known: c.known, structs: v2Structs + v2StructsPerByte*len(u.src), extra: v2Extra + v2ExtraPerByte*len(u.src),
	}
	u.src = u.src[:len(u.src):len(u.src)] // appending must not write into the caller's array
	c.keys.Reader = u.r.Sub()
	c.clients.Reader = u.r.Sub()
	c.lefts.Reader = u.r.Sub()
	c.rights.Reader = u.r.Sub()
	c.infos.Reader = u.r.Sub()
	strings := u.r.Sub()
	c.parents.Reader = u.r.Sub()
	c.types.Reader = u.r.Sub()
	c.lens.Reader = u.r.Sub()
	if !u.r.OK() {
		return
	}
	c.strings = strings.Strings()
	for n := u.r.Count(2); n > 0 && u.columnsOK(); n-- {
		u.readBlock2()
	}
	u.readDeletes2()
}

// columnsOK passes the first error of a column on to u.r.
func (u *update) columnsOK() bool {
	c := &u.v2
	for _, err := range [...]*lib0.Error{
		c.infos.Err(), c.clients.Err(), c.lefts.Err(), c.rights.Err(), c.strings.Err(), c.keys.Err(), c.parents.Err(),
		c.types.Err(), c.lens.Err(),
	} {
		if err != nil {
			u.r.Fail(err.Offset, err.Reason)
		}
	}
	return u.r.OK()
}

func (u *update) readBlock2() {
	n := u.r.Uvarint()
	client := u.client(u.v2.clients.Next())
	at := u.r.Pos()
	clock := u.r.Uvarint()
	if clock > maxClock {
		u.r.Fail(at, "clock is too large")
		return
	}
	from := len(u.structs)
	for ; n > 0 && u.columnsOK(); n-- {
		at := u.v2.infos.Pos()
		w := wire{clock: uint32(clock), client: client, originClient: noClient, rightClient: noClient}
		u.readStruct2(&w)
		if !u.columnsOK() {
			return
		}
		if w.len == 0 {
			u.r.Fail(at, "struct of length 0")
			return
		}
		if clock += uint64(w.len); clock > maxClock {
			u.r.Fail(at, "clock is too large")
			return
		}
		u.makeRoom()
		u.keep(w, from)
		if u.v2.structs--; u.v2.structs < 0 || len(u.structs) > u.limits.UpdateStructs {
			u.r.Fail(at, tooManyStructs)
		}
	}
	if len(u.structs) > from {
		u.blocks = append(u.blocks, block{client, from, len(u.structs)})
	}
}

// makeRoom grows the list of structs by doubling, but not beyond what is accepted: append would copy a bomb's structs more
// often.
func (u *update) makeRoom() {
	if n := len(u.structs); n == cap(u.structs) {
		u.structs = slices.Grow(u.structs, min(max(n, 24), u.v2.structs+1))
	}
}

func (u *update) readStruct2(w *wire) {
	c := &u.v2
	at := c.infos.Pos()
	info := c.infos.Next()
	switch w.kind = kind(info & infoKind); w.kind {
	case kindGC:
		w.len = u.readLen2()
		return
	case kindSkip:
		w.len = u.readLen()
		return
	}
	if info&infoOrigin != 0 {
		w.originClient, w.originClock = u.readID2(&c.lefts)
	}
	if info&infoRight != 0 {
		w.rightClient, w.rightClock = u.readID2(&c.rights)
	}
	if info&(infoOrigin|infoRight) == 0 {
		u.readParent2(w, info&infoSub != 0)
	} else if info&infoSub != 0 {
		w.sub = subMarked
	}
	if u.columnsOK() && w.refersAhead() {
		u.r.Fail(at, "struct refers to a later clock of its own client")
		return
	}
	u.readContent2(w)
}

// readID2 reads an ID: the client from the column of clients, the clock from another one.
func (u *update) readID2(clocks *lib0.Diffs) (client, clock uint32) {
	id := u.v2.clients.Next()
	at := clocks.Pos()
	n := clocks.Next()
	if n >= maxClock {
		u.r.Fail(at, "clock is too large")
		return 0, 0
	}
	return u.client(id), uint32(n)
}

func (u *update) readLen2() uint32 {
	at := u.v2.lens.Pos()
	n := u.v2.lens.Next()
	if n > maxClock {
		u.r.Fail(at, "length is too large")
		return 0
	}
	return uint32(n)
}

func (u *update) readParent2(w *wire, sub bool) {
	c := &u.v2
	if c.parents.Next() == 1 {
		at := c.parents.Pos()
		w.parentClient, w.parentClock, _ = u.text2(c.strings.Next())
		if w.parentClock > maxName {
			u.r.Fail(at, "name of a root is too long")
			return
		}
		w.parent = parentRoot
	} else {
		w.parent = parentID
		w.parentClient, w.parentClock = u.readID2(&c.lefts)
	}
	if sub {
		w.sub = subKeyed
		w.subOff, w.subLen, _ = u.text2(c.strings.Next())
	}
}

// text2 returns where the bytes of a string lie, and its length in code units.
func (u *update) text2(p lib0.Piece) (off, size, units uint32) {
	if !p.Head && !p.Tail {
		return uint32(p.From), uint32(p.To - p.From), uint32(p.Units)
	}
	off = uint32(len(u.src))
	u.appendText(p)
	return off, uint32(len(u.src)) - off, uint32(p.Units)
}

// appendText puts a string behind the input.
func (u *update) appendText(p lib0.Piece) {
	if p.Head {
		u.append([]byte(replacement)...)
	}
	u.append(u.src[p.From:p.To]...)
	if p.Tail {
		u.append([]byte(replacement)...)
	}
}

// append puts bytes behind the input.
func (u *update) append(p ...byte) {
	if u.v2.extra -= len(p); u.v2.extra < 0 {
		u.r.Fail(u.r.Pos(), tooMuchContent)
		return
	}
	u.src = append(u.src, p...)
}

// string puts a string with its length in bytes behind the input.
func (u *update) string(p lib0.Piece) {
	size := p.To - p.From
	for _, cut := range []bool{p.Head, p.Tail} {
		if cut {
			size += len(replacement)
		}
	}
	u.append(lib0.AppendUvarint(nil, uint64(size))...)
	u.appendText(p)
}

// key reads a key: a number, and if it is new also the key itself.
func (u *update) key() lib0.Piece {
	c := &u.v2
	n := c.keys.Next()
	if n < uint64(len(c.known)) {
		return c.known[n]
	}
	p := c.strings.Next()
	if c.strings.Err() == nil {
		c.known = append(c.known, p)
	}
	return p
}

// json reads a value and returns it as the JSON text that format v1 has in its place.
func (u *update) json() []byte {
	at := u.r.Pos()
	v := u.r.Any()
	if u.r.OK() && !v.HasJSON() {
		u.r.Fail(at, "value has no form in JSON")
	}
	return lib0.AppendJSON(nil, v)
}

func (u *update) readContent2(w *wire) {
	r, c := &u.r, &u.v2
	w.len = 1
	var content []byte
	switch w.kind {
	case kindDeleted:
		w.len = u.readLen2()
		return
	case kindString:
		w.off, w.size, w.len = u.text2(c.strings.Next())
		return
	case kindJSON:
		u.readJSONList(w)
		return
	case kindAny:
		w.len, w.off = u.readLen2(), uint32(r.Pos())
		for n := w.len; n > 0 && r.OK(); n-- {
			r.SkipAny()
		}
		w.size = uint32(r.Pos()) - w.off
		return
	case kindBinary:
		content = r.Buffer()
		w.off, w.size = u.offset(content), uint32(len(content))
		return
	case kindType:
		u.readType2(w)
		return
	}
	w.off = uint32(len(u.src))
	switch w.kind {
	case kindEmbed:
		u.append(u.json()...)
	case kindFormat:
		u.string(u.key())
		u.append(lib0.AppendBuffer(nil, u.json())...)
	case kindDoc:
		u.string(c.strings.Next())
		at := r.Pos()
		opts := r.SkipAny()
		if r.OK() && opts[0] != anyObject {
			r.Fail(at, "options of a subdocument are not an object")
		}
		u.append(opts...)
	default:
		r.Fail(r.Pos(), "unknown kind of content")
	}
	w.size = uint32(len(u.src)) - w.off
}

// readJSONList reads the legacy list content.
func (u *update) readJSONList(w *wire) {
	w.len, w.off = u.readLen2(), uint32(len(u.src))
	for n := w.len; n > 0 && u.v2.strings.Err() == nil && u.r.OK(); n-- {
		at := len(u.src)
		u.string(u.v2.strings.Next())
		element := lib0.NewReader(u.src[at:])
		if readJSONElement(&element); !element.OK() {
			u.r.Fail(u.r.Pos(), "invalid JSON")
		}
	}
	w.size = uint32(len(u.src)) - w.off
}

func (u *update) readType2(w *wire) {
	at := u.v2.types.Pos()
	t := u.v2.types.Next()
	if t >= typeRefs {
		u.r.Fail(at, "unknown type")
		return
	}
	w.typeRef = uint8(t)
	if t == typeXMLElement || t == typeXMLHook {
		w.off, w.size, _ = u.text2(u.key())
	}
}

// readDeletes2 reads delete ranges. Each begins with its distance from the end of the one before.
func (u *update) readDeletes2() {
	for n := u.r.Count(2); n > 0 && u.r.OK(); n-- {
		client := u.client(u.r.Uvarint())
		clock := uint64(0)
		for m := u.r.Count(2); m > 0 && u.r.OK(); m-- {
			at := u.r.Pos()
			from := clock + u.r.Uvarint()
			clock = from + u.r.Uvarint() + 1
			if clock > lib0.MaxSafe {
				u.r.Fail(at, "delete range is too large")
				return
			}
			u.deletes = append(u.deletes, wireDelete{client, from, clock})
		}
	}
}
