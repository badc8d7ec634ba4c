package journal

import (
	"bytes"
	"errors"
	"slices"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/crdt/lib0"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
)

// loadLocal applies this device's own snapshot of a document to doc and returns what is in it; nil, with doc untouched,
// if there is none, if it cannot be used, or if other envelopes count now. The document is then made from envelopes.
func (j *Journal) loadLocal(id DocID, doc *crdt.Doc) (*content, error) {
	var local localRecord
	var state []byte
	err := j.store.View(func(tx *store.Tx) error {
		raw, ok, err := tx.Map(snapshotsMap).Get(id[:])
		if err != nil || !ok {
			return err
		}
		if err := unmarshal(raw, &local); err != nil {
			return err
		}
		state = joinChunks(tx.Log(stateLog(id, local.Number)))
		return nil
	})
	if errors.Is(err, store.ErrDamaged) {
		j.log.Warn("journal: damaged local snapshot; the document is made from its envelopes", "err", err)
		return nil, nil
	}
	if err != nil || local.Number == 0 {
		return nil, err
	}
	c := content{entries: local.Entries, spans: map[chainKey]extent{}}
	for _, s := range local.Spans {
		c.spans[chainKey{s.Device, s.ChainNo}] = extent{s.Top, s.Skipped}
	}
	if !c.current(j) {
		return nil, nil
	}
	if _, err := doc.ApplyUpdate(state); err != nil {
		j.log.Warn("journal: unusable local snapshot; the document is made from its envelopes", "err", err)
		return nil, nil
	}
	return &c, nil
}

// saveLocal keeps a snapshot of a document, which must hold what c says and nothing else. j.mu is held.
func (j *Journal) saveLocal(id DocID, c *content, doc *crdt.Doc) {
	c.tail, c.bytes = 0, 0 // also if it cannot be kept, or it would be tried again at once
	state, err := doc.EncodeUpdate(nil)
	if err != nil || len(c.spans) > wire.MaxElements {
		return
	}
	local := localRecord{Entries: c.entries}
	for key, x := range c.spans {
		local.Spans = append(local.Spans, span{Device: key.device, ChainNo: key.no, Top: x.top, Skipped: x.skipped})
	}
	j.write(func(tx *store.Tx) error {
		raw, ok, err := tx.Map(snapshotsMap).Get(id[:])
		if err != nil {
			return err
		}
		local.Number = 1
		if ok {
			var old localRecord
			if err := unmarshal(raw, &old); err != nil {
				return err
			}
			local.Number = old.Number + 1
			if err := tx.Drop(stateLog(id, old.Number)); err != nil {
				return err
			}
		}
		if err := appendChunks(tx.Log(stateLog(id, local.Number)), state); err != nil {
			return err
		}
		return put(tx, snapshotsMap, id[:], local)
	})
}

// dropLocals forgets the snapshots that hold envelopes of a chain from a place on, as others stand there now.
func (j *Journal) dropLocals(tx *store.Tx, key chainKey, from uint64) error {
	m := tx.Map(snapshotsMap)
	for _, id := range sortedKeys(m) {
		raw, _, err := m.Get(id)
		if err != nil {
			return err
		}
		var local localRecord
		if err := unmarshal(raw, &local); err != nil {
			return err
		}
		if slices.ContainsFunc(local.Spans, func(s span) bool {
			return (chainKey{s.Device, s.ChainNo}) == key && (s.Top >= from || s.Skipped >= from)
		}) {
			if err := errors.Join(tx.Drop(stateLog(DocID(id), local.Number)), m.Delete(id)); err != nil {
				return err
			}
		}
	}
	return tx.Err()
}

// saveOpen keeps a snapshot of an open document, if it is settled once nobody edits it.
func (j *Journal) saveOpen(r *Replica) (saved bool) {
	r.gate.alone(func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		if saved = !j.closed && j.settled(r); saved {
			j.saveLocal(r.ID, &r.content, r.CRDT())
		}
	})
	return saved
}

func appendChunks(log store.Log, b []byte) error {
	for chunk := range slices.Chunk(b, snapshotChunk) {
		if _, err := log.Append(chunk); err != nil {
			return err
		}
	}
	return nil
}

func joinChunks(log store.Log) []byte {
	var b bytes.Buffer
	for _, chunk := range log.From(1) {
		b.Write(chunk)
	}
	return b.Bytes()
}

// clockOf returns a client's next clock in a document.
func clockOf(doc *crdt.Doc, client uint64) uint64 {
	r := lib0.NewReader(doc.StateVector())
	for n := r.Count(2); n > 0 && r.OK(); n-- {
		if id, clock := r.Uvarint(), r.Uvarint(); id == client {
			return clock
		}
	}
	return 0
}
