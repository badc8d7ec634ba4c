// Package journal is the replicated content of one project: the envelopes that this device holds, which of them count,
// and the documents that those make.
//
// Open one with [Open] and close it with [Journal.Close]. [Journal.Doc] opens a document; edit it through
// [Replica.Update], collect what its [crdt.Doc] emits and hand it to [Journal.Append], which seals, chains, signs and
// stores it. What is durable goes to the functions given to [Journal.OnOwn], which publish it. [Journal.Accept] and
// [Journal.AcceptRun] take what others wrote; [Journal.Frontier] and [Journal.Runs] are what anti-entropy compares and
// sends. [Journal.Snapshot] and [Journal.AdoptSnapshot] let a newcomer see a document before it holds every envelope.
//
// What is promised: a document is a function of the present governance state and of the envelopes that count in it,
// whatever the order in which they came; when a change of governance takes away what was applied, the document is
// rebuilt. What is refused is neither stored nor applied. What [Journal.WaitSaved] acknowledged survives a crash. An
// edit that cannot be signed yet, because no key epoch is usable or the device is in doubt about its own chain, is kept
// and signed later, in order.
//
// A chain that its device went on writing in two ways ends where the two part ([Journal.Forks]). Once governance knows, what is
// settled and what a manager picks beyond it counts: the journal then takes in the branch that is meant, wherever it stood.
//
// A quarantine in force, and the owner's own [Journal.Mute], hold back the newest edits of a member: they are stored and
// count, and are not shown on this device until it ends. [Journal.OnHold] tells.
//
// What is not promised: that an accepted envelope shows at once. It may depend on edits that have not arrived or do
// not count ([Replica.Blocked]).
//
// SPEC.md beside this file gives the rules and the wire form of snapshots.
package journal
