// Package coordinator owns a project's peers: it keeps a connection to every live device of the roster that can be
// reached, and decides when the tiers below run. On connect, on a hint that something is missing and periodically it
// runs a round with a device: governance events first, as content is judged by them, then the chains of envelopes.
//
// Make one with [New], run [Coordinator.Serve] in the session's task group, and tell it what happens with
// [Coordinator.Connected], [Coordinator.Disconnected], [Coordinator.RosterChanged] and [Coordinator.Gap].
//
// What is promised: with one device one round runs at a time, at least minPause after the last; hints that lead to
// nothing make the pauses longer, up to maxPause; a round that fails is repeated after a growing pause, whatever the
// hints. Few devices are dialed at a time, those first that have waited longest, each after a growing pause while it
// cannot be reached or its connections do not last; of two devices that lose each other one dials first. A device that
// makes a round slow keeps no other waiting for long. [Config].OnPeer is told of every change once and in order.
//
// [Tiers] is the node's schedule of its line, shared by the coordinators of all projects and by whatever fetches files:
// background transfers stand still while somebody waits or a round brings something.
//
// What is not: that everybody is reachable. Gossip and rounds with whoever is there bring the rest.
package coordinator
