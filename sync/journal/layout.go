package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
)

// What the journal keeps in the project's store, all of it sealed there:
//
//	journal/meta            "opened": written before the first signature of a session, gone after a clean Close
//	journal/heads           chain -> headRecord
//	journal/chain/<chain>   envelopes without signature; record n is envelope n
//	journal/sigs/<chain>    place -> signature, see signatures
//	journal/forks           chain -> forkRecord, the proof of a contradiction
//	journal/branches        chain -> currentRecord, (chain, branch) -> branchRecord, of chains with several
//	journal/chain/<chain>/<branch>, journal/sigs/<chain>/<branch>  the same of a further branch
//	journal/doc/<doc>       in order of acceptance, which envelopes belong to the document: entry
//	journal/snapshots       document -> localRecord
//	journal/state/<doc>/<n> the document inside a local snapshot, in chunks
//	journal/adopted         document -> adoptedRecord, while the document is unverified
//	journal/adopted/<doc>   the signed snapshot that it rests on, in chunks
//	journal/outbox          number -> heldRecord, own edits that are not signed yet
//	journal/holds           quarantine -> holdRecord, when it came
//	journal/mutes           member -> muteRecord
const (
	metaMap      = "journal/meta"
	headsMap     = "journal/heads"
	forksMap     = "journal/forks"
	branchesMap  = "journal/branches"
	snapshotsMap = "journal/snapshots"
	adoptedMap   = "journal/adopted"
	outboxMap    = "journal/outbox"
	holdsMap     = "journal/holds"
	mutesMap     = "journal/mutes"
	docLogs      = "journal/doc/"
)

var openedKey = []byte("opened")

func chainLog(k chainKey, b uint32) string { return "journal/chain/" + branchName(k, b) }
func sigsMap(k chainKey, b uint32) string  { return "journal/sigs/" + branchName(k, b) }
func docLog(id DocID) string               { return docLogs + hex.EncodeToString(id[:]) }
func adoptedLog(id DocID) string           { return "journal/adopted/" + hex.EncodeToString(id[:]) }
func stateLog(id DocID, n uint64) string   { return fmt.Sprintf("journal/state/%x/%d", id[:], n) }

func branchName(k chainKey, b uint32) string {
	if b == 0 {
		return k.String()
	}
	return fmt.Sprintf("%v/%d", k, b)
}

// chainKeySize is the size of a chain's key in maps.
const chainKeySize = 36

// String returns the chain's name in the store.
func (k chainKey) String() string { return fmt.Sprintf("%v/%d", k.device, k.no) }

// bytes returns the chain's key in maps.
func (k chainKey) bytes() []byte {
	return binary.BigEndian.AppendUint32(bytes.Clone(k.device[:]), k.no)
}

func (k chainKey) compare(o chainKey) int {
	return bytes.Compare(k.bytes(), o.bytes())
}

func chainKeyOf(b []byte) (chainKey, error) {
	if len(b) != chainKeySize {
		return chainKey{}, fmt.Errorf("journal: stored chain name of %d bytes", len(b))
	}
	return chainKey{identity.DeviceID(b[:32]), binary.BigEndian.Uint32(b[32:])}, nil
}

func seqKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// headRecord is where a chain stands.
type headRecord struct {
	Seq    uint64               `cbor:"1,keyasint"`
	ID     wire.ID              `cbor:"2,keyasint"`
	Heads  []governance.EventID `cbor:"3,keyasint"`
	Newest uint64               `cbor:"4,keyasint"`
	Kept   uint64               `cbor:"5,keyasint"`
	Bytes  uint64               `cbor:"6,keyasint"`
}

func (h *headRecord) branch(no uint32, from uint64, on uint32) *branch {
	return &branch{
		no: no, from: from, on: on, head: h.Seq, headID: h.ID, heads: h.Heads,
		signed: signatures{newest: h.Newest, kept: h.Kept, bytes: h.Bytes},
	}
}

func (b *branch) record() headRecord {
	return headRecord{Seq: b.head, ID: b.headID, Heads: b.heads, Newest: b.signed.newest, Kept: b.signed.kept, Bytes: b.signed.bytes}
}

// branchRecord is a further branch of a chain.
type branchRecord struct {
	From uint64     `cbor:"1,keyasint"`
	On   uint32     `cbor:"2,keyasint"`
	Head headRecord `cbor:"3,keyasint"`
}

func (b *branch) stored() branchRecord { return branchRecord{From: b.from, On: b.on, Head: b.record()} }

// currentRecord names the branch that a chain is held as.
type currentRecord struct {
	Branch uint32 `cbor:"1,keyasint"`
	Last   uint32 `cbor:"2,keyasint,omitempty"` // the greatest number that a branch ever had; no other gets it
}

// forkRecord proves that a device wrote two envelopes of one place: two runs that begin there.
type forkRecord struct {
	Seq uint64 `cbor:"1,keyasint"`
	A   []byte `cbor:"2,keyasint"`
	B   []byte `cbor:"3,keyasint"`
}

// entry names an envelope of a document.
type entry struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	ChainNo uint32
	Seq     uint64
	Branch  uint32
}

func (e entry) chain() chainKey { return chainKey{e.Device, e.ChainNo} }

// trunkEntry is an entry of branch 0, which nearly all are.
type trunkEntry struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	ChainNo uint32
	Seq     uint64
}

func (e entry) encode() []byte {
	if e.Branch == 0 {
		return wire.Marshal(trunkEntry{Device: e.Device, ChainNo: e.ChainNo, Seq: e.Seq})
	}
	return wire.Marshal(e)
}

func decodeEntry(raw []byte) (e entry, err error) {
	var t trunkEntry
	if wire.Unmarshal(raw, &t, store.MaxRecord) == nil {
		return entry{Device: t.Device, ChainNo: t.ChainNo, Seq: t.Seq}, nil
	}
	return e, unmarshal(raw, &e)
}

// localRecord is a snapshot that only this device reads.
type localRecord struct {
	Number  uint64 `cbor:"1,keyasint"` // of the log that holds the document
	Entries uint64 `cbor:"2,keyasint"` // how many of the document's envelopes it covers
	Spans   []span `cbor:"3,keyasint"`
}

// span says which envelopes of a chain are in a document: all up to Top, and that Skipped, if not 0, is the first
// that was left out because it did not count.
type span struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	ChainNo uint32
	Top     uint64
	Skipped uint64
}

// adoptedRecord is a snapshot from another device that the document still rests on.
type adoptedRecord struct {
	Giver identity.DeviceID `cbor:"1,keyasint"`
}

// heldRecord is one batch of own edits.
type heldRecord struct {
	Doc     DocID    `cbor:"1,keyasint"`
	ChainNo uint32   `cbor:"2,keyasint"` // under whose client ID it edits
	Updates [][]byte `cbor:"3,keyasint"`
}

// holdRecord is a quarantine that has come to this device.
type holdRecord struct {
	Member  identity.MemberID `cbor:"1,keyasint"`
	Since   int64             `cbor:"2,keyasint"` // Unix seconds by this device's clock
	Expires int64             `cbor:"3,keyasint"`
	Over    bool              `cbor:"4,keyasint,omitempty"` // its time was over here
	Points  []holdPoint       `cbor:"5,keyasint"`
	Alone   bool              `cbor:"6,keyasint,omitempty"` // the time was over here for which it holds before others have voted
}

// muteRecord is the owner's own decision to see no more of a member.
type muteRecord struct {
	Points []holdPoint `cbor:"1,keyasint"`
}

// holdPoint is up to where a chain was shown when a hold began. Of a chain that is not listed nothing was.
type holdPoint struct {
	_       struct{} `cbor:",toarray"`
	Device  identity.DeviceID
	ChainNo uint32
	Seq     uint64
}

func (r *holdRecord) points() map[chainKey]uint64 {
	out := make(map[chainKey]uint64, len(r.Points))
	for _, p := range r.Points {
		out[chainKey{p.Device, p.ChainNo}] = p.Seq
	}
	return out
}

func (r *muteRecord) point(key chainKey) uint64 {
	for _, p := range r.Points {
		if (chainKey{p.Device, p.ChainNo}) == key {
			return p.Seq
		}
	}
	return 0
}

func put(tx *store.Tx, m string, key []byte, v any) error { return tx.Map(m).Put(key, wire.Marshal(v)) }

// unmarshal reads a record of this device's own store.
func unmarshal(raw []byte, v any) error {
	if err := wire.Unmarshal(raw, v, store.MaxRecord); err != nil {
		return fmt.Errorf("journal: stored record: %w", err)
	}
	return nil
}

// appendAt appends to a log whose record number must be n: the store and the memory would disagree otherwise.
func appendAt(log store.Log, n uint64, rec []byte) error {
	got, err := log.Append(rec)
	if err == nil && got != n {
		return fmt.Errorf("journal: stored log is at record %d, expected %d", got, n)
	}
	return err
}

// docOfLog reads the name of a document's log.
func docOfLog(name string) (id DocID, ok bool) {
	raw, err := hex.DecodeString(strings.TrimPrefix(name, docLogs))
	if err != nil || len(raw) != len(id) {
		return id, false
	}
	return DocID(raw), true
}

// sortedKeys lists the keys of a map in ascending order.
func sortedKeys(m store.Map) [][]byte {
	var keys [][]byte
	for k := range m.All() {
		keys = append(keys, bytes.Clone(k))
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}
