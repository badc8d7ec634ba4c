// Package p2p is a device's place on the network: the one package that builds a libp2p host. Every connection, over
// QUIC, TCP or a relay, is hybrid post-quantum TLS 1.3, and nobody sees one before both ends have proved their
// devices with composite signatures over it.
//
// Use [New], register protocols with [Host.Handle], then [Host.Start]; reach others with [Host.Dial] and open
// streams with [Conn.Open] or [Host.Open]. Who may connect is a [Roster], which is asked at every connection and at
// every stream. A device that only holds an invite is a [Guest] and reaches guests' protocols; all others are
// [Member] connections. [Host.MemberHost] is a libp2p view without guests, for gossip.
//
// Promised: no connection without X25519MLKEM768, whatever the environment says, and none without both proofs; a
// stranger at the listener is shown the transport's peer ID by TLS and nothing else, no certificate, device key or
// signature; a peer that keeps silent delays nobody; after [Host.Close] no goroutine is left. Not promised: that a
// peer who breaks Ed25519 learns nothing of the dialer (it can see the certificate that a dialer sends first), or that
// addresses and peer IDs are secret. Being connected authorises nothing by itself: what a stream may see is checked
// by whoever serves it.
//
// SPEC.md has the wire format.
package p2p
