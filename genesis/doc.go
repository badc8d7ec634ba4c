// Package genesis is the root of trust of a project: the signed root record, and the ceremony that keeps its key.
//
// [Found] holds the founding ceremony. It draws the holder's root seed, splits it k-of-m over the custodians of a
// [Ceremony] (Shamir), makes sure that every share can be read back from its medium, and returns the signed root
// record; the seed itself is nowhere stored and is wiped on every path. [Authorize] gathers enough shares, verifies
// each, rebuilds the key for the length of one function call and wipes it again. [CheckShares] is the drill: are the
// shares still there and good? [ParseRoot] reads and verifies a root record from outside.
//
// A root moves by records that follow one another: a [Chain] takes them as they come and says which are in force. To make
// one, new holders offer keys ([MakeHolder]), somebody proposes ([Propose]), and holders old and new sign the [Proposal],
// each where their key is; a [Ledger] keeps every holder from signing two records for one place.
//
// Shares change without the key ([Refresh]) or with it ([Rekey]). Both run under a [Journal], so that a crash at any point
// leaves one usable set of shares and [Resume] says which; [Inspect] tells what is owed when others may know shares, which
// [MarkKnown] notes. [FindRoots] starts again on a machine that has nothing but custodians.
//
// What is promised: a wrong key is never used. Every share is checked against the commitment that the root record
// holds before shares are combined, and the key against the record's public key afterwards; a share that does not
// belong is named, with its custodian, and the others go on.
//
// What is not: during a ceremony the key is whole in this process's memory, and Go may have copied it; the copies
// that this package knows are wiped.
//
// The package is pure: it owns no goroutine, clock or network. Custodians, which do touch the world, lie behind the
// [Custodian] interface; package custodian has the built-in ones. SPEC.md beside this file gives the wire form.
package genesis
