// Package governance is a project's signed history of who may do what: a hash-linked log of events, and the pure
// function that turns any set of them into members, devices, chains, invites and key epochs.
//
// A [Log] holds the events of one project. Feed it received bytes with [Log.Add]; it refuses what has the wrong
// structure or a bad signature, keeps for a while what waits for a missing parent, and takes the rest, whether its
// author had the authority or not. [Log.State] and [Log.StateAt] say what a set of events amounts to: an event
// without authority, or one that a removal beats, counts for nothing there, and [Log.Explain] says why. Make own
// events with [Log.Propose], which checks the authority first.
//
// Many events at once, from a disk or a peer, go in with [Log.AddUntil], which verifies them on all cores. [Log.Compact] drops
// signatures that an old checkpoint attests, and [Log.Import] takes what others have so compacted. [Log.ExportAudit] and
// [VerifyAudit] carry the whole history to somebody with no network.
//
// What is promised: the state is a function of the set of events and of nothing else, neither of the order of their
// arrival nor of any clock. Replay never fails. Removal wins: of concurrent acts the one that takes standing away
// prevails, and who was removed has a role again only through a later lawful admission that knew of the removal. No
// manager alone changes another manager's standing. What is not understood counts for nothing and stands in
// nobody's way.
//
// The package is pure: it owns no goroutine, clock or network. A Log is not safe for concurrent use; a [State] is
// immutable and may be shared. SPEC.md beside this file gives the wire forms and the rules of replay, ACTS.md what comes
// of every act in small projects.
package governance
