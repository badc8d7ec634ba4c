package journal

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
)

// indexName is the name of the document that lists the others. No document of a user can have it: names hold no
// control characters.
const indexName = "\x00index"

// assetIndexName is the name of the document that lists the project's files. It is reserved like the index.
const assetIndexName = "\x00assets"

// namesMap is the map in it, from the hex form of a document's id to its name.
const namesMap = "names"

// Doc opens the document of a name, at most MaxName bytes of plain text. One that nobody has written to is empty, and
// is known to others once something is written. Equal names give the same replica.
func (j *Journal) Doc(name string) (*Replica, error) {
	name = wire.NFC(name)
	if name == "" {
		return nil, fmt.Errorf("%w: it is empty", ErrName)
	}
	if err := wire.CheckText(name, MaxName); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrName, err)
	}
	return j.docOf(identity.DocumentID([32]byte(j.project), name), name)
}

// AssetIndex opens the document that lists the project's files. It is edited and appended like any other, and is no part
// of [Journal.Names].
func (j *Journal) AssetIndex() (*Replica, error) {
	return j.docOf(identity.DocumentID([32]byte(j.project), assetIndexName), assetIndexName)
}

// DocByID opens a document that is known here: open, named in the index, or with envelopes.
func (j *Journal) DocByID(id DocID) (*Replica, error) {
	name := j.nameOf(id)
	if name == "" && !j.hasDoc(id) {
		return nil, ErrUnknownDoc
	}
	return j.docOf(id, name)
}

// hasDoc reports whether a document is open or has envelopes.
func (j *Journal) hasDoc(id DocID) (ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.replicas[id] != nil {
		return true
	}
	_ = j.store.View(func(tx *store.Tx) error { ok = tx.Log(docLog(id)).Len() > 0; return nil })
	return ok
}

func (j *Journal) docOf(id DocID, name string) (*Replica, error) {
	j.mu.Lock()
	defer j.unlock()
	if j.closed {
		return nil, ErrClosed
	}
	return j.openReplica(id, name)
}

// Names lists the names of the project's documents, sorted.
func (j *Journal) Names() []string {
	var out []string
	for _, name := range j.names() {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// names reads the index. Entries that give a document another name than its own are left out: any editor can write them.
func (j *Journal) names() map[DocID]string {
	out := map[DocID]string{}
	index := j.index.CRDT()
	_ = index.View(func(tx *crdt.ReadTxn) error {
		for key, v := range index.Map(namesMap).All(tx) {
			if id, name, ok := j.checkName(key, v); ok {
				out[id] = name
			}
		}
		return nil
	})
	return out
}

func (j *Journal) checkName(key string, v crdt.Value) (id DocID, name string, ok bool) {
	raw, err := hex.DecodeString(key)
	if err != nil || len(raw) != len(id) || v.Kind() != crdt.KindString {
		return id, "", false
	}
	name = v.String()
	id = DocID(raw)
	return id, name, wire.CheckText(name, MaxName) == nil && identity.DocumentID([32]byte(j.project), name) == id
}

// reserved reports whether the document is one of the project's own, which stand in no list.
func (r *Replica) reserved() bool { return r.Name == indexName || r.Name == assetIndexName }

func (j *Journal) nameOf(id DocID) string { return j.names()[id] }

// nameDocument puts a document that is about to be written to into the index. Append's lock is held.
func (j *Journal) nameDocument(doc DocID) error {
	j.mu.Lock()
	r := j.replicas[doc]
	skip := j.closed || r == nil || r.reserved() || r.named || r.Name == "" || len(r.unsent()) == 0 || j.mayWrite() != nil
	j.mu.Unlock()
	if skip {
		return nil
	}
	if j.nameOf(doc) == "" {
		key := hex.EncodeToString(doc[:])
		leave := j.index.gate.enter()
		index := j.index.CRDT()
		err := index.Update(func(tx *crdt.Txn) error { return index.Map(namesMap).Set(tx, key, r.Name) })
		leave()
		if err != nil {
			return fmt.Errorf("journal: name of document: %w", err)
		}
	}
	j.mu.Lock()
	r.named = true
	j.mu.Unlock()
	return nil
}
