// Package membership runs the governance of this node's open projects: it keeps each project's event log, root
// record, epoch keys, invites and address book in the store, exchanges them with the other members, serves invites,
// and answers the transport's question who may connect.
//
// One [Registry] serves a node. Make it with [New], give it to the transport host as its roster, then hand it the host
// with [Registry.Serve]. A [Project] comes from [Registry.Found], [Registry.Open] or [Registry.Join]. Read it with
// [Project.State], act with [Project.Propose] and its named forms ([Project.CreateInvite], [Project.Remove],
// [Project.OpenChain]), follow it with [Project.OnChange], and bring it up to date with one peer with
// [Project.Pull]; what is new goes to all connected members by itself.
//
// This device's KEM keys ([boxkeys.Keys]) are replaced every 30 days ([Config]) and erased when nothing needs them any more, by
// themselves.
//
// [Project.Compact] drops signatures that are not needed any more.
//
// The root moves by [Project.ProposeRoot] and [Project.SignRoot], with those who have offered to hold it by
// [Project.OfferToHold]; [Project.Roots] says how it stands.
//
// An act that several managers have to sign is asked for by [Project.ProposeAct], which does at once what one may do alone;
// the others answer with [Project.ApproveAct], and their devices make the event when they meet. [Project.Acts] says what
// waits. Checkpoints are made and co-signed by managers' devices without people ([CheckpointPolicy]); what came too late
// because of one is in [Project.Late], and an act of kind Endorse brings it back. What the root does is [Project.ActAsRoot];
// if several people hold it, [Project.ProposeAsRoot] asks the others in the same way, and they sign by [Project.SignAct].
//
// What is promised. An event is durable before it is sent, acted upon or visible in State. Every request of a peer
// names one project and is checked against that project's members at that moment; a project that does not exist here
// and one that the peer is no member of get the same answer, a closed stream. Nothing is sent to who is not a member,
// but the removal itself to the one removed. An invite's secret is forgotten when its code has been returned. A store
// that fails stops the project: every later call returns the failure. A project from which this device was removed
// ([Project.Removed]) can be read, and asks nobody.
//
// What is not: the exchange hides nothing from members, and who is connected is never part of what counts.
//
// The protocol between members is in SPEC.md beside this file.
package membership
