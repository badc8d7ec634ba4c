// Package crdt is a document engine that speaks the formats of Yjs: replicas edit on their own, exchange updates in
// any order, and end up equal, together with every other program that speaks Yjs.
//
// # Which call to use
//
//	doc := crdt.New()                               // an empty replica
//	text, m := doc.Text("body"), doc.Map("meta")    // handles to shared types, by name; also Array and XML
//	m.Set(tx, "list", crdt.NewArray())              // types nest; Value.Array and the like give the handle
//	doc.Update(func(tx *crdt.Txn) error { … })      // edit: everything inside is one transaction, one update
//	doc.View(func(tx *crdt.ReadTxn) error { … })    // read a consistent state
//	doc.OnUpdate(func(u []byte, o crdt.Origin) {…}) // what to send to the others
//	doc.ApplyUpdate(u)                              // what came from the others, in any order, any number of times
//	doc.EncodeUpdate(peer.StateVector())            // what a peer lacks; EncodeUpdate(nil) saves the document
//
// Updates come in two formats, V1 (the default everywhere) and V2: ApplyUpdate(b, V2), EncodeUpdateV2, OnUpdateV2. Who
// stores or forwards updates needs no document: MergeUpdates, DiffUpdate, UpdateStateVector, Convert, Inspect.
//
// NewUndo undoes what this replica did and leaves the edits of others alone; Txn.Revert undoes what somebody else did. RelPos and AbsPos keep a cursor where it is
// while others type. Snapshot and Restore bring back old states of a document made WithoutGC; Text.Changes shows what came
// and went between two, Authors who wrote which part. Packages awareness and ysync speak the protocols that Yjs programs
// use between each other.
//
// # How it is built
//
//	Update(fn)          ApplyUpdate(bytes)
//	    │                   │ decode and validate all of it   (wire.go, wire2.go; nothing is touched before it is whole)
//	    ▼                   ▼
//	 sequence.go         apply.go ── lacks predecessors ──▶ pending.go ── they arrive ──┐
//	 position → item        │ ready                                                     │
//	    │                   ▼                                                           │
//	    └──────────▶  integrate.go  ◀───────────────────────────────────────────────────┘
//	                        │ order among concurrent insertions, link, settle
//	                        ▼
//	   ┌────────────────────────────────────────────────────────────────────────┐
//	   │ item.go     slabs of pointer-free items, named by 32-bit handles       │
//	   │ structs.go  per client: handles in clock order       ID → item         │
//	   │ branch.go   per shared type: a list and a map of items                 │
//	   │ index.go    per long list: B-tree            position ↔ item           │
//	   │ inforce.go  per formatted text: sums in that tree   item → attributes  │
//	   │ arena.go    the bytes of all contents, append-only, compacted          │
//	   └────────────────────────────────────────────────────────────────────────┘
//	                        │ commit.go: events (event.go, richevent.go), steps to undo (undo.go), clean-up, collect
//	                        │ contents, merge neighbours, encode (encode.go)
//	                        ▼
//	                    observe.go: observers, in commit order, outside the lock
//
// A document is per client a gapless run of clocks, cut into items: "hello" typed by client 7 may be one item of five
// clocks. An item remembers between which neighbours its author inserted it; from that alone every replica finds the
// same order. Deleting keeps the item and forgets its content. split.go cuts items where an edit falls inside one,
// commit.go joins them again where it can, exactly where Yjs does, so that equal documents have equal bytes.
//
// # What is promised
//
//   - All content kinds of the format are read, kept, ordered and written: formatted text, embeds, nested types, XML
//     and subdocuments. Values are written back byte for byte as they came, object keys in their order, and integers,
//     floats, bigints, undefined and null told apart.
//   - Edits made through this package emit the bytes that Yjs emits for them. So does undoing, unless Yjs would name
//     neighbours that never met (see SPEC.md).
//   - Events say exactly what changed, and reading them changes nothing.
//   - ApplyUpdate is atomic on error: malformed or oversized input is a *DecodeError and changes nothing. What an update
//     may cost is bounded by Limits; no recursion follows the input.
//   - Nothing received is lost: what waits for predecessors is part of EncodeUpdate. Pending and Missing say what waits
//     and for what.
//   - The package starts no goroutine, reads no clock, and opens nothing. Its only randomness is the client ID of New.
//
// What it does not promise: who wrote a struct. An update can claim any client ID, and a writer who forges its own
// history (two contents for one clock) makes replicas differ for good. Bind client IDs to identities before applying,
// with Inspect, and compare Digest to notice. That somebody uses this document's own ID, OnClientConflict tells.
//
// Structs whose named neighbours lie in different sequences can only be forged. They become collected structs on every
// replica; Yjs shows them somewhere. Neighbours that never were side by side are replaced in a fixed way; see SPEC.md.
//
// # Concurrency
//
// A Doc may be used from many goroutines. Update and ApplyUpdate exclude each other and all readers. Observers run one
// at a time, in the order of commits, on a goroutine that has just committed, with no lock held; they may use the
// document. EncodeUpdate keeps writers out only while it copies what it needs (capture.go), not while it encodes.
// Handles (Text, Map, …) are values to keep or throw away. A Txn must not leave its function.
package crdt
