// Package collabtest gives a program's tests a simulated network of [collab] nodes, as net/http/httptest gives servers.
//
// [Run] runs a test in a bubble of virtual time (see testing/synctest): a night offline takes a moment, and nothing
// depends on how busy the machine is. [New] makes a network that lives in real time. [Network.Node] adds a node; the
// network then decides what passes between nodes: [Network.Latency], [Network.Bandwidth], [Network.Link],
// [Network.Partition], [Node.Firewall]. Nodes keep their state on disk, so that [Node.Restart] and [Node.Kill] show what
// survives. [Network.Wait] and [Network.Equal] wait for what the nodes bring about.
//
// # What is real
//
// Everything but the wires and, under Run, the clock: each node is what collab.Open gives, with its own folder, keys and
// store, and QUIC with post-quantum TLS and both proofs runs between them. A datagram takes its time, may be lost, and
// may overtake another.
//
// # What is not
//
// There is no TCP, no relay, no hole punching and no translation of addresses. Order of execution is the scheduler's:
// a test that fails rarely does so here too, only sooner.
//
// In a bubble a test must not wait for what happens outside it: no sockets, no other processes, no channels made
// before. Everything ends with the test; goroutines that it starts itself must end before it returns.
package collabtest
