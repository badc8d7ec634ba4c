// Package invite is how a newcomer gets into a project: the code that a member hands over, and the handshake by which
// the code's holder and a host of the invite prove themselves to each other before anything of the project is said.
//
// The one who invites draws a secret ([NewSecret]), announces [ProofHash] and, to further hosts, [SealMAC] in the
// project's log, shows [Code.Text] once and forgets the secret; what hosts keep of it is [MACKey]. The newcomer reads
// the code with [Parse], reaches one of its hosts over an authenticated channel and calls [Join]; the host calls
// [Serve]. Both run over an [io.ReadWriter] whose deadline the caller sets.
//
// What is promised. Only the code's holder gets an answer; everybody else gets silence, whatever the reason. The host
// does no signature work before the newcomer has shown that it knows the secret. Every message is bound to the
// channel by its exporter and to all messages before it, so that nothing of one handshake is of use in another. The
// newcomer talks to a host named in the code and gets a root record that reaches the one pinned there. What passes is
// sealed under a key that stays secret even if the channel is broken later, as long as the host's KEM key or the
// code's secret is. What is not: a thief of the code can come first; with manual approval the six words show it.
//
// The package is pure: it owns no goroutine, clock or network, and randomness comes in as an [io.Reader]. Secrets
// print as "[redacted]". SPEC.md beside this file gives the wire form.
package invite
