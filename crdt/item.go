package crdt

// ref is the handle of an item: an index into the document's slab. 0 is no item.
type ref uint32

// noClient stands in an interned client field for "no ID here".
const noClient = ^uint32(0)

// kind is what an item holds. The numbers are those of the update format.
type kind uint8

const (
	kindGC      kind = 0 // content and position forgotten, only the clocks remain
	kindDeleted kind = 1 // content forgotten, position kept
	kindJSON    kind = 2
	kindBinary  kind = 3
	kindString  kind = 4
	kindEmbed   kind = 5
	kindFormat  kind = 6 // a formatting mark of rich text, takes no room
	kindType    kind = 7 // a nested shared type
	kindAny     kind = 8
	kindDoc     kind = 9
	kindSkip    kind = 10 // a gap; only on the wire, never stored
)

// countable says whether content of this kind takes room in its sequence.
func (k kind) countable() bool {
	return k != kindGC && k != kindDeleted && k != kindFormat && k != kindSkip
}

// mergeable says whether two neighbours of this kind may become one item.
func (k kind) mergeable() bool {
	return k == kindString || k == kindAny || k == kindJSON || k == kindDeleted
}

const (
	flagDeleted uint8 = 1 << iota
	flagKeep          // content must survive garbage collection
	flagRedone        // was brought back by an undo manager, must not merge
)

// item is one run of clocks of one client. It holds no Go pointer, so that the garbage collector never looks into
// the slabs; everything it refers to is a number.
//
//	clock ─┐      ┌─ len units ─┐
//	       ▼      ▼             ▼
//	client 7:  …  "hello"  (units 12..16), list neighbours left/right, content at arena[off:off+size]
type item struct {
	clock, len  uint32 // first clock, number of clocks (UTF-16 units for strings, elements otherwise)
	client      uint32 // interned
	left, right ref    // neighbours in the sequence, or in the history of a map key
	parent      uint32 // branch; 0 for collected structs

	// The neighbours at the time of insertion, as the author saw them: the last unit to the left and the first to
	// the right. They decide the order of concurrent insertions and never change.
	originClient, originClock uint32
	rightClient, rightClock   uint32

	sub  uint32 // interned map key + 1; 0 in a sequence
	off  uint32 // content: offset in the arena, or the branch of a nested type
	size uint32 // content bytes in the arena

	leaf  uint32 // leaf of the position index, if the branch has one
	mark  uint32 // stamp of the last conflict scan that passed here
	kind  kind
	flags uint8
}

func (it *item) end() uint32   { return it.clock + it.len }
func (it *item) deleted() bool { return it.flags&flagDeleted != 0 }

// visible is the room the item takes in its sequence, in units.
func (it *item) visible() uint32 {
	if it.deleted() || it.sub != 0 || !it.kind.countable() {
		return 0
	}
	return it.len
}

const (
	slabBits = 8
	slabSize = 1 << slabBits
)

// slab allocates items in blocks that never move, and reuses the slots of merged ones.
type slab struct {
	blocks []*[slabSize]item
	next   ref // first slot never used; slot 0 stays empty
	free   ref // list of reusable slots, chained by left
}

func (s *slab) at(r ref) *item { return &s.blocks[r>>slabBits][r&(slabSize-1)] }

func (s *slab) alloc() (ref, *item) {
	if r := s.free; r != 0 {
		it := s.at(r)
		s.free = it.left
		*it = item{}
		return r, it
	}
	if s.next == 0 {
		s.next = 1
	}
	r := s.next
	if int(r>>slabBits) == len(s.blocks) {
		s.blocks = append(s.blocks, new([slabSize]item))
	}
	s.next++
	return r, s.at(r)
}

func (s *slab) release(r ref) {
	*s.at(r) = item{left: s.free}
	s.free = r
}
