package crdt

// Type references of the update format: what a nested type is.
const (
	typeArray = iota
	typeMap
	typeText
	typeXMLElement
	typeXMLFragment
	typeXMLHook
	typeXMLText
	typeRefs // how many there are
)

// branch is the inside of one shared type, at the root of the document or nested in an item. A branch has a sequence
// and a map at the same time; which of the two is used is a matter of the type that looks at it:
//
//	start ─▶ item ◀─▶ item ◀─▶ item           the sequence: text, array, XML children
//	entries: "title" ─▶ item ─left─▶ item     the map: each key's current value, and its history to the left
type branch struct {
	self    uint32 // index in Doc.branches
	item    ref    // the item that holds it; 0 for a root
	name    string // of a root
	node    []byte // name of an XML element or hook
	typeRef uint8  // of a nested branch, and of a root whose kind is known
	typed   bool   // the kind of a root is known

	start   ref
	length  uint32 // visible units of the sequence
	count   int    // items of the sequence
	entries map[uint32]ref

	hasFormat bool // holds or held formatting marks
	index     *posIndex

	// cursor remembers that the visible item cursor starts at unit cursorPos; 0 if unknown.
	cursor    ref
	cursorPos uint32

	observers []*observer
	dirty     uint64 // last transaction that changed something observed
}

func (d *Doc) newBranch() *branch {
	var b *branch
	if n := len(d.freeBranches); n > 0 {
		b = &branch{self: d.freeBranches[n-1]}
		d.freeBranches = d.freeBranches[:n-1]
		d.branches[b.self] = b
		return b
	}
	b = &branch{self: uint32(len(d.branches))}
	d.branches = append(d.branches, b)
	return b
}

// nest returns a new branch for a nested type.
func (d *Doc) nest(typeRef uint8, node []byte) *branch {
	b := d.newBranch()
	b.typeRef, b.node = typeRef, append([]byte(nil), node...)
	return b
}

// root returns the branch of a root name, creating it.
func (d *Doc) root(name string) *branch {
	if b, ok := d.roots[name]; ok {
		return b
	}
	b := d.newBranch()
	b.name = name
	d.roots[name] = b
	return b
}

// subKey interns a map key; the result is never 0.
func (d *Doc) subKey(key string) uint32 {
	if k, ok := d.subIndex[key]; ok {
		return k
	}
	d.subs = append(d.subs, key)
	k := uint32(len(d.subs))
	d.subIndex[key] = k
	return k
}

// subKeyOf is subKey for bytes.
func (d *Doc) subKeyOf(key []byte) uint32 {
	if k, ok := d.subIndex[string(key)]; ok {
		return k
	}
	return d.subKey(string(key))
}

func (d *Doc) subName(sub uint32) string { return d.subs[sub-1] }

// dead says whether the branch's item, and with it everything inside, has been deleted.
func (d *Doc) dead(b *branch) bool { return b.item != 0 && d.items.at(b.item).deleted() }
