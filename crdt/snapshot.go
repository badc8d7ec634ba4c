package crdt

import (
	"bytes"
	"maps"
	"slices"

	"github.com/studio-whip/collab/crdt/lib0"
)

// Snapshot is a past or present state of a document: which clocks of each client were there, and which of them were
// deleted. It holds no content; a document without garbage collection (WithoutGC) can restore the state from it.
type Snapshot struct {
	state   stateVector
	deletes []Range // merged, ascending
}

// Snapshot returns the present state.
func (d *Doc) Snapshot() Snapshot {
	d.mu.RLock()
	defer d.mu.RUnlock()
	s := Snapshot{state: make(stateVector)}
	for c := range d.clients {
		cl := &d.clients[c]
		if cl.state > 0 {
			s.state[cl.id] = uint64(cl.state)
		}
		for _, g := range d.storedDeletes(uint32(c)) {
			s.deletes = append(s.deletes, Range{cl.id, g.from, g.to})
		}
	}
	s.deletes = mergeRanges(s.deletes)
	return s
}

// Encode writes the snapshot as Yjs does in the given format.
func (s Snapshot) Encode(f Format) []byte {
	a := assembly{deletes: slices.Clone(s.deletes)}
	var b []byte
	if f == V2 {
		b = a.appendDeletesV2(b)
	} else {
		b = a.appendDeletesV1(b)
	}
	ids := slices.Sorted(maps.Keys(s.state))
	slices.Reverse(ids)
	b = lib0.AppendUvarint(b, uint64(len(ids)))
	for _, id := range ids {
		b = lib0.AppendUvarint(lib0.AppendUvarint(b, id), s.state[id])
	}
	return b
}

// DecodeSnapshot reads a snapshot that Encode or Yjs wrote. Malformed input is a *DecodeError.
func DecodeSnapshot(b []byte, f Format) (Snapshot, error) {
	var u update
	u.reset(b, Limits{}.withDefaults())
	if len(b) > u.limits.UpdateBytes {
		return Snapshot{}, &DecodeError{Offset: u.limits.UpdateBytes, Reason: "snapshot is too long", limit: true}
	}
	switch f {
	case V1:
		u.readDeletes()
	case V2:
		u.readDeletes2()
	default:
		return Snapshot{}, &DecodeError{Reason: "unknown format"}
	}
	s := Snapshot{state: make(stateVector), deletes: mergeRanges(u.appendDeletes(nil))}
	s.state.read(&u.r, u.limits)
	if err := u.r.Err(); err != nil {
		return Snapshot{}, &DecodeError{Offset: err.Offset, Reason: err.Reason, limit: err.Reason == tooManyClients}
	}
	return s, nil
}

// Equal says whether two snapshots are of the same state.
func (s Snapshot) Equal(o Snapshot) bool {
	return maps.Equal(s.state, o.state) && slices.Equal(s.deletes, o.deletes)
}

// Contains says whether the state has everything that an update, in format V1 unless another one is given, creates and
// deletes. A malformed update is a *DecodeError.
func (s Snapshot) Contains(update []byte, f ...Format) (bool, error) {
	created, deleted, err := Inspect(update, f...)
	if err != nil {
		return false, err
	}
	for _, r := range created {
		if r.To > s.state[r.Client] {
			return false, nil
		}
	}
	all := mergeRanges(slices.Concat(s.deletes, deleted))
	return slices.Equal(all, s.deletes), nil
}

// Restore returns a new document in the state of a snapshot of this one. The document must keep deleted content (see
// WithoutGC) and have everything the snapshot has; otherwise the error is ErrSnapshot.
func (d *Doc) Restore(s Snapshot, opts ...Option) (*Doc, error) {
	full, err := d.EncodeUpdate(nil)
	if err != nil {
		return nil, err
	}
	past, err := d.past(full, s)
	if err != nil {
		return nil, err
	}
	old := New(opts...)
	if _, err := old.ApplyUpdate(past); err != nil {
		return nil, err
	}
	return old, nil
}

// past cuts an update down to the clocks and deletions of a snapshot.
func (d *Doc) past(full []byte, s Snapshot) ([]byte, error) {
	u := &update{verbatim: true}
	if err := u.decode(full, V1, trusted); err != nil {
		return nil, err
	}
	a := assembly{deletes: slices.Clone(s.deletes)}
	missing := 0
	for _, clock := range s.state {
		if clock > 0 {
			missing++
		}
	}
	for _, b := range u.blocks {
		to, at := s.state[u.ids[b.client]], uint32(0)
		for i := b.from; i < b.to && uint64(at) < to; i++ {
			w := &u.structs[i]
			if uint64(w.end()) > to {
				w = u.head(w, uint32(to)-w.clock)
			}
			at = a.follow(u, w, at)
		}
		if to > 0 && uint64(at) == to {
			missing--
		}
	}
	if d.gc || missing > 0 {
		return nil, ErrSnapshot
	}
	return a.encodeV1(), nil
}

// head returns the first units of a struct.
func (u *update) head(w *wire, units uint32) *wire {
	h := *w
	h.len = units
	content := u.src[w.off : w.off+w.size]
	switch w.kind {
	case kindString:
		at, inPair := lib0.UTF16Index(content, int(units))
		h.size = uint32(at)
		if inPair {
			h.off = uint32(len(u.src))
			u.src = append(bytes.Clone(u.src), content[:at]...)
			u.src = append(u.src, replacement...)
			h.size += uint32(len(replacement))
		}
	case kindAny, kindJSON:
		h.size = uint32(skipElements(w.kind, content, units))
	}
	return &h
}
