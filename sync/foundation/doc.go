// Package foundation is tier 2: what gossip cannot promise. Anti-entropy compares the chains of two devices and brings
// either what it lacks ([Foundation.Sync]); a newcomer gets a snapshot of every document first
// ([Foundation.FetchSnapshots]) and the signed envelopes behind it afterwards.
//
// Make one [Server] for a node before its host listens, and [Server.Join] it for each open project.
//
// What is promised: each side says what it holds and asks for what it lacks, so nobody is sent what it did not ask for;
// what is refused of one chain keeps no other from coming; whoever sends too much, too slowly or nothing is dropped
// within the deadlines of limits.go, with at most one run or snapshot of it in memory. Every request is checked against
// the roster of the project it names when it is answered, not only when its stream was opened. A project that is not
// open here and one that the peer is no member of get the same answer: none, the stream is reset.
//
// What is not promised: that a peer tells all it holds. A round with another peer finds what one has kept back.
//
// SPEC.md beside this file gives the wire form.
package foundation
