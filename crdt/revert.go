package crdt

import "slices"

// Reverted says what [Txn.Revert] did, in clocks: code units of text, elements of lists, values of keys, marks of formatting,
// shared types, and everything inside those.
type Reverted struct {
	Deleted  uint64 // of what was inserted
	Kept     uint64 // shared types that were inserted and stay, or come back, for what others have put inside
	Restored uint64 // of what was deleted
	Doubles  uint64 // second copies of what two had brought back at the same time, which were deleted
	Lost     uint64 // of what was deleted and could not be brought back, because nobody here has kept its content
}

// Revert undoes what somebody did: it deletes what he inserted, as far as it is there, and brings back what he deleted. What
// others wrote stays: a shared type of his in which they have put something is not deleted, and comes back with that if
// it was; a key that they have set since keeps their value. A shared type that comes back does so with all that was inside
// and that nobody else had deleted, as a new one, as with an undo manager. It is an ordinary edit: it converges
// like any other and can be undone itself.
//
// deleted names what was deleted by him and by nobody else, or by nobody at all: what others put into a shared type that he
// was deleting is not deleted by anybody's edit. A deleted clock that is not in it was deleted by others and stays so.
//
// This document may have collected the content of what was deleted. It is then taken from source, a document of the same
// edits made WithoutGC, if that is not nil; source is used up by it.
//
// What somebody has brought back already, in this way or with an undo manager, or by typing it again in its place, does not come
// back again. But who brings it back at the same time as somebody else does so twice: in this format nothing that was
// deleted can be undeleted, only written anew, and neither copy knows of the other. Reverting again adds no
// third one; it deletes the second copy of text, values and marks that nobody has changed since. Of shared types both stay.
func (t *Txn) Revert(inserted, deleted []Range, source *Doc) (Reverted, error) {
	d := t.doc
	inserted, deleted = d.held(inserted), d.held(deleted)
	v := reverter{t: t, state: d.stateOf}
	if source == nil {
		v.work(inserted, deleted)
		return t.carryOut(&v)
	}
	if err := t.catchUp(source); err != nil {
		return Reverted{}, err
	}
	var update []byte
	_ = source.Update(func(from *Txn) error {
		v.t = from
		v.work(inserted, deleted)
		from.deletes = mergeSpans(from.deletes)
		update = from.encode()
		return nil
	})
	if err := t.takeOver(update); err != nil {
		return Reverted{}, err
	}
	return t.carryOut(&v)
}

// held returns the part of ranges that the document holds.
func (d *Doc) held(rs []Range) (out []Range) {
	for _, s := range d.spansIn(rs) {
		out = append(out, Range{d.clients[s.client].id, uint64(s.from), uint64(s.to)})
	}
	return out
}

// spansIn names ranges as this document does, leaving out what it does not hold.
func (d *Doc) spansIn(rs []Range) (out []span) {
	for _, r := range rs {
		c, ok := d.clientIndex[r.Client]
		if !ok {
			continue
		}
		if to := min(r.To, uint64(d.clients[c].state)); r.From < to {
			out = append(out, span{c, uint32(r.From), uint32(to)})
		}
	}
	return out
}

// stateOf returns the next clock of a client, by its ID.
func (d *Doc) stateOf(client uint64) uint32 {
	if c, ok := d.clientIndex[client]; ok {
		return d.clients[c].state
	}
	return 0
}

// catchUp gives a source what this document has and it has not, and lets it write in this document's place.
func (t *Txn) catchUp(source *Doc) error {
	d := t.doc
	sv, err := decodeStateVector(source.StateVector(), source.limits)
	if err != nil {
		return err
	}
	c := d.captured(sv)
	lacking := c.encode()
	c.release()
	if _, err := source.ApplyUpdate(lacking); err != nil {
		return err
	}
	source.mu.Lock()
	defer source.mu.Unlock()
	source.clientID, source.fixedID = d.clientID, true
	return nil
}

// takeOver makes an update that was written in this document's place its own edit.
func (t *Txn) takeOver(b []byte) error {
	d := t.doc
	u := decoders.Get().(*update)
	defer u.release()
	if err := u.decode(b, V1, d.limits); err != nil {
		return err
	}
	if len(u.structs) == 0 && len(u.deletes) == 0 {
		return nil
	}
	units := 0
	for i := range u.structs {
		units += int(u.structs[i].len)
	}
	if _, err := t.self(units, len(u.src)); err != nil {
		return err
	}
	table := d.internAll(u)
	d.arena.reserve(u)
	t.integrateAll(u, table)
	t.deleteAll(u, table)
	return nil
}

// carryOut deletes what is to go and tells undo managers what came back as what.
func (t *Txn) carryOut(v *reverter) (Reverted, error) {
	t.follow(v.notes)
	var doomed []ref
	t.each(spansOf(t.doc.spansIn(v.going)), func(r ref, _ *item) { doomed = append(doomed, r) })
	for _, r := range slices.Backward(doomed) { // what is inside goes before what is around it
		t.delete(r)
	}
	return v.count, v.err
}
