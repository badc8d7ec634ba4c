package crdt

// ClientConflict tells that an update from outside brought structs under the document's own client ID. Unless they are its
// own earlier edits, loaded back, somebody else is using the ID: a copied profile, or two who drew the same number. Edits
// made under it from here on would be lost, or garble the document.
type ClientConflict struct {
	Origin Origin
	Clocks Range  // under the ID in question, as far as they are new here
	Now    uint64 // the ID that own edits have from here on; another one unless the ID had been set
}

// OnClientConflict calls fn after each update that brought structs under the document's own client ID, like OnUpdate. A
// random ID has been replaced by a new one, as in Yjs. One that was set has not: whoever set it knows what it stands for,
// and may now call SetClientID again. stop ends the calls.
func (d *Doc) OnClientConflict(fn func(ClientConflict)) (stop func()) {
	return d.feed.listen(&updateListener{conflict: fn})
}

// yieldID gives the own ID up if the transaction, which comes from outside, has brought structs under it.
func (t *Txn) yieldID() (conflict bool) {
	d := t.doc
	self, ok := d.clientIndex[d.clientID]
	if !ok || t.stateBefore(self) == d.clients[self].state {
		return false
	}
	c := &ClientConflict{
		Origin: t.origin,
		Clocks: Range{d.clientID, uint64(t.stateBefore(self)), uint64(d.clients[self].state)},
	}
	d.edited = false
	if !d.fixedID {
		d.clientID = d.randomID()
	}
	c.Now = d.clientID
	t.extra().conflict = c
	return true
}
