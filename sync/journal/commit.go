package journal

import (
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

// commit takes envelopes that follow the chain's head, the last of them signed: in memory now, in the store with the
// next group commit, to open documents when j.mu has been released. own says that open documents have the edits already.
func (j *Journal) commit(c *chain, items []judged, sig []byte, own bool, also ...func(*store.Tx) error) {
	last := items[len(items)-1].env
	size := uint64(0)
	for _, it := range items {
		size += uint64(it.env.Size())
	}
	drop := c.signed.extend(last.Seq, uint64(len(items)), size)
	c.head, c.headID, c.heads, c.limitID = last.Seq, last.ID, last.GovHeads, wire.ID{}
	j.chains[c.key] = c
	for _, it := range items {
		if it.updates == nil {
			continue
		}
		if r := j.replicas[it.env.Doc]; r != nil {
			r.note(c, it, own)
		}
	}
	key, b := c.key, *c.branch
	j.write(func(tx *store.Tx) error {
		if err := storeEnvelopes(tx, key, &b, items); err != nil {
			return err
		}
		if err := tx.Map(sigsMap(key, b.no)).Put(seqKey(last.Seq), sig); err != nil {
			return err
		}
		if drop > 0 {
			if err := tx.Map(sigsMap(key, b.no)).Delete(seqKey(drop)); err != nil {
				return err
			}
		}
		for _, fn := range also {
			if err := fn(tx); err != nil {
				return err
			}
		}
		if b.no > 0 {
			return put(tx, branchesMap, branchKey(key, b.no), b.stored())
		}
		return put(tx, headsMap, key.bytes(), b.record())
	})
	j.noteHeld(c, items)
}

func storeEnvelopes(tx *store.Tx, key chainKey, b *branch, items []judged) error {
	log := tx.Log(chainLog(key, b.no))
	for _, it := range items {
		if err := appendAt(log, it.env.Seq-b.from+1, it.env.Stored()); err != nil {
			return err
		}
		if it.env.Kind != envelope.KindUpdate {
			continue
		}
		e := entry{Device: key.device, ChainNo: key.no, Seq: it.env.Seq, Branch: b.no}
		if _, err := tx.Log(docLog(it.env.Doc)).Append(e.encode()); err != nil {
			return err
		}
	}
	return nil
}

// write queues a write. If the store has stopped, everything that waits for durability says so.
func (j *Journal) write(fn func(*store.Tx) error) {
	if err := j.store.Queue(fn); err != nil {
		j.log.Error("journal: store stopped; edits are not saved", "err", err)
	}
}
