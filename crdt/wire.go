package crdt

import (
	"slices"

	"github.com/studio-whip/collab/crdt/lib0"
)

// wire is one decoded struct of an update. Offsets point into the bytes it was decoded from; clients are indexes into
// the update's own table, so that decoding touches no document.
type wire struct {
	clock, len                uint32
	client                    uint32
	originClient, originClock uint32
	rightClient, rightClock   uint32
	// The parent: an ID, or for a root the offset and length of its name.
	parentClient, parentClock uint32
	subOff, subLen            uint32
	off, size                 uint32 // content, in the form the arena keeps
	kind                      kind
	typeRef                   uint8
	parent                    parentKind
	sub                       subState
}

type parentKind uint8

const (
	parentInherited parentKind = iota // from the origin or the right origin
	parentRoot
	parentID
)

// subState says what a struct tells about the map key it belongs to.
type subState uint8

const (
	subNone   subState = iota
	subMarked          // there is one, and the neighbours know it
	subKeyed           // there is one, and here it is
)

func (w *wire) end() uint32 { return w.clock + w.len }

// wireDelete is a decoded delete range. Its clocks may lie beyond every known one.
type wireDelete struct {
	client   uint32
	from, to uint64
}

// block is the structs of one client in an update: structs[from:to], ascending by clock.
type block struct {
	client   uint32
	from, to int
}

// update is a decoded update. Decoding validates everything that can be judged without a document, so that applying
// cannot fail half way.
type update struct {
	src     []byte   // what offsets point into: the input, and behind it what decoding had to put into another form
	ids     []uint64 // client table
	index   map[uint64]uint32
	structs []wire
	blocks  []block // descending by client ID, one per client
	deletes []wireDelete

	limits   Limits
	verbatim bool // keep runs of collected structs apart, as they were written
	r        lib0.Reader
	last     uint32 // the client table entry looked up last
	v2       columns
}

// linearClients is up to how many clients a table is searched entry by entry.
const linearClients = 12

func (u *update) reset(src []byte, limits Limits) {
	clear(u.index)
	*u = update{
		src: src, limits: limits, verbatim: u.verbatim, v2: columns{known: u.v2.known[:0]}, r: lib0.NewReader(src), index: u.index,
		ids: u.ids[:0], structs: u.structs[:0], blocks: u.blocks[:0], deletes: u.deletes[:0],
	}
}

// decode reads a whole update. Bytes behind its end are ignored, as Yjs does.
func (u *update) decode(src []byte, f Format, limits Limits) error {
	u.reset(src, limits)
	if len(src) > limits.UpdateBytes {
		return &DecodeError{Offset: limits.UpdateBytes, Reason: "update is too long", limit: true}
	}
	switch f {
	case V1:
		u.readV1()
	case V2:
		u.readV2()
	default:
		return &DecodeError{Reason: "unknown format"}
	}
	if err := u.r.Err(); err != nil {
		return &DecodeError{Offset: err.Offset, Reason: err.Reason, limit: err.Reason == tooManyStructs || err.Reason == tooMuchContent}
	}
	u.sortBlocks()
	return nil
}

func (u *update) readV1() {
	for n := u.r.Count(3); n > 0 && u.r.OK(); n-- {
		u.readBlock()
	}
	u.readDeletes()
}

const (
	tooManyStructs = "too many structs in one update"
	tooMuchContent = "content of the update is too large when unpacked"
)

// client returns the table entry of a client ID.
func (u *update) client(id uint64) uint32 {
	if int(u.last) < len(u.ids) && u.ids[u.last] == id {
		return u.last
	}
	if len(u.ids) <= linearClients {
		if i := slices.Index(u.ids, id); i >= 0 {
			u.last = uint32(i)
			return u.last
		}
	} else if i, ok := u.index[id]; ok {
		u.last = i
		return i
	}
	u.last = uint32(len(u.ids))
	u.ids = append(u.ids, id)
	if len(u.ids) > linearClients {
		if u.index == nil {
			u.index = make(map[uint64]uint32)
		}
		if len(u.index) == 0 {
			for i, id := range u.ids {
				u.index[id] = uint32(i)
			}
		}
		u.index[id] = u.last
	}
	return u.last
}

// readID reads an ID. Its clock must be one that a struct can have.
func (u *update) readID() (client, clock uint32) {
	id := u.r.Uvarint()
	at := u.r.Pos()
	c := u.r.Uvarint()
	if c >= maxClock {
		u.r.Fail(at, "clock is too large")
		return 0, 0
	}
	return u.client(id), uint32(c)
}

func (u *update) readBlock() {
	n := u.r.Count(2)
	client := u.client(u.r.Uvarint())
	at := u.r.Pos()
	clock := u.r.Uvarint()
	if clock > maxClock {
		u.r.Fail(at, "clock is too large")
		return
	}
	from := len(u.structs)
	u.structs = slices.Grow(u.structs, min(n, u.r.Left()/6+1))
	for ; n > 0 && u.r.OK(); n-- {
		at := u.r.Pos()
		w := wire{clock: uint32(clock), client: client, originClient: noClient, rightClient: noClient}
		u.readStruct(&w)
		if w.len == 0 {
			u.r.Fail(at, "struct of length 0")
			return
		}
		if clock += uint64(w.len); clock > maxClock {
			u.r.Fail(at, "clock is too large")
			return
		}
		u.keep(w, from)
		if len(u.structs) > u.limits.UpdateStructs {
			u.r.Fail(at, tooManyStructs)
		}
	}
	if len(u.structs) > from {
		u.blocks = append(u.blocks, block{client, from, len(u.structs)})
	}
}

// keep stores a decoded struct. Gaps are not stored, since clocks tell them; runs of collected structs become one, unless
// they are to be written again.
func (u *update) keep(w wire, from int) {
	if w.kind == kindSkip {
		return
	}
	if n := len(u.structs); w.kind == kindGC && n > from && !u.verbatim {
		if l := &u.structs[n-1]; l.kind == kindGC && l.end() == w.clock {
			l.len += w.len
			return
		}
	}
	u.structs = append(u.structs, w)
}

const (
	infoKind   = 0x1f
	infoSub    = 0x20
	infoRight  = 0x40
	infoOrigin = 0x80
)

func (u *update) readStruct(w *wire) {
	info := u.r.Byte()
	w.kind = kind(info & infoKind)
	if w.kind == kindGC || w.kind == kindSkip {
		w.len = u.readLen()
		return
	}
	at := u.r.Pos()
	if info&infoOrigin != 0 {
		w.originClient, w.originClock = u.readID()
	}
	if info&infoRight != 0 {
		w.rightClient, w.rightClock = u.readID()
	}
	if info&(infoOrigin|infoRight) == 0 {
		u.readParent(w, info&infoSub != 0)
	} else if info&infoSub != 0 {
		w.sub = subMarked
	}
	if w.refersAhead() {
		u.r.Fail(at, "struct refers to a later clock of its own client")
		return
	}
	u.readContent(w)
}

func (u *update) readParent(w *wire, sub bool) {
	if u.r.Uvarint() == 1 {
		name, _ := u.r.Text()
		if len(name) > maxName {
			u.r.Fail(u.r.Pos(), "name of a root is too long")
			return
		}
		w.parent, w.parentClient, w.parentClock = parentRoot, u.offset(name), uint32(len(name))
	} else {
		w.parent = parentID
		w.parentClient, w.parentClock = u.readID()
	}
	if sub {
		key, _ := u.r.Text()
		w.sub, w.subOff, w.subLen = subKeyed, u.offset(key), uint32(len(key))
	}
}

// offset is where a slice that was just read starts in the source.
func (u *update) offset(b []byte) uint32 { return uint32(u.r.Pos() - len(b)) }

// refersAhead says whether an ID of the struct's own client is not older than the struct.
func (w *wire) refersAhead() bool {
	return w.originClient == w.client && w.originClock >= w.clock ||
		w.rightClient == w.client && w.rightClock >= w.clock ||
		w.parent == parentID && w.parentClient == w.client && w.parentClock >= w.clock
}

// readLen reads a length in clocks.
func (u *update) readLen() uint32 {
	at := u.r.Pos()
	n := u.r.Uvarint()
	if n > maxClock {
		u.r.Fail(at, "length is too large")
		return 0
	}
	return uint32(n)
}

func (u *update) readContent(w *wire) {
	r := &u.r
	w.len = 1
	var content []byte
	switch w.kind {
	case kindDeleted:
		w.len = u.readLen()
	case kindJSON, kindAny:
		n := r.Count(1)
		w.len, w.off = uint32(n), uint32(r.Pos())
		for ; n > 0 && r.OK(); n-- {
			if w.kind == kindAny {
				r.SkipAny()
			} else {
				readJSONElement(r)
			}
		}
		w.size = uint32(r.Pos()) - w.off
		return
	case kindBinary:
		content = r.Buffer()
	case kindString:
		var n int
		content, n = r.Text()
		w.len = uint32(n)
	case kindEmbed:
		content = r.JSON()
	case kindFormat:
		w.off = uint32(r.Pos())
		r.Text()
		r.JSON()
		w.size = uint32(r.Pos()) - w.off
		return
	case kindType:
		content = u.readType(w)
	case kindDoc:
		w.off = uint32(r.Pos())
		r.Text()
		at := r.Pos()
		if opts := r.SkipAny(); r.OK() && opts[0] != anyObject {
			r.Fail(at, "options of a subdocument are not an object")
		}
		w.size = uint32(r.Pos()) - w.off
		return
	default:
		r.Fail(r.Pos(), "unknown kind of content")
	}
	w.off, w.size = u.offset(content), uint32(len(content))
}

// anyObject is the tag of an object among encoded values.
const anyObject = 118

// readJSONElement reads one element of the legacy list content: JSON, or the bare word undefined.
func readJSONElement(r *lib0.Reader) {
	ahead := *r
	if s, _ := ahead.Text(); string(s) == "undefined" {
		*r = ahead
		return
	}
	r.JSON()
}

func (u *update) readType(w *wire) (name []byte) {
	at := u.r.Pos()
	t := u.r.Uvarint()
	if t >= typeRefs {
		u.r.Fail(at, "unknown type")
		return nil
	}
	w.typeRef = uint8(t)
	if t == typeXMLElement || t == typeXMLHook {
		name, _ = u.r.Text()
	}
	return name
}

func (u *update) readDeletes() {
	for n := u.r.Count(2); n > 0 && u.r.OK(); n-- {
		client := u.client(u.r.Uvarint())
		for m := u.r.Count(2); m > 0 && u.r.OK(); m-- {
			at := u.r.Pos()
			from := u.r.Uvarint()
			length := u.r.Uvarint()
			if from+length > lib0.MaxSafe {
				u.r.Fail(at, "delete range is too large")
				return
			}
			if length > 0 {
				u.deletes = append(u.deletes, wireDelete{client, from, from + length})
			}
		}
	}
}

// sortBlocks orders blocks by descending client ID and joins those of the same client.
func (u *update) sortBlocks() {
	desc := func(a, b block) int {
		switch ia, ib := u.ids[a.client], u.ids[b.client]; {
		case ia > ib:
			return -1
		case ia < ib:
			return 1
		}
		return 0
	}
	if !slices.IsSortedFunc(u.blocks, desc) {
		slices.SortStableFunc(u.blocks, desc)
	}
	out := u.blocks[:0]
	for i := 0; i < len(u.blocks); {
		j := i + 1
		for j < len(u.blocks) && u.blocks[j].client == u.blocks[i].client {
			j++
		}
		if j > i+1 {
			out = append(out, u.join(u.blocks[i:j]))
		} else {
			out = append(out, u.blocks[i])
		}
		i = j
	}
	u.blocks = out
}

// join copies the structs of several blocks of one client behind all others, ordered by clock.
func (u *update) join(bs []block) block {
	b := block{client: bs[0].client, from: len(u.structs)}
	for _, part := range bs {
		u.structs = append(u.structs, u.structs[part.from:part.to]...)
	}
	b.to = len(u.structs)
	slices.SortStableFunc(u.structs[b.from:], func(a, b wire) int { return int(a.clock) - int(b.clock) })
	return b
}

// stateVector is a decoded state vector: client ID to next clock.
type stateVector map[uint64]uint64

func decodeStateVector(b []byte, limits Limits) (stateVector, error) {
	sv := make(stateVector)
	if b == nil {
		return sv, nil
	}
	r := lib0.NewReader(b)
	sv.read(&r, limits)
	if err := r.Err(); err != nil {
		return nil, &DecodeError{Offset: err.Offset, Reason: err.Reason, limit: err.Reason == tooManyClients}
	}
	return sv, nil
}

const tooManyClients = "too many clients in one state vector"

// read reads the entries.
func (sv stateVector) read(r *lib0.Reader, limits Limits) {
	at := r.Pos()
	n := r.Count(2)
	if n > limits.Clients {
		r.Fail(at, tooManyClients)
	}
	for ; n > 0 && r.OK(); n-- {
		id := r.Uvarint()
		sv[id] = r.Uvarint()
	}
}
