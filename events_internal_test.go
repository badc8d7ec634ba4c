package collab

import (
	"testing"
	"testing/synctest"
)

// A member can send messages, and a stranger be refused, as often as they like; whoever reads slowly still learns of alerts and of
// what was decided, each in its last state.
func TestFloodDropsNothingThatMatters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var missed uint64
		f := newEvents(func(n uint64) { missed += n })
		defer f.Close()
		c := f.Subscribe(t.Context())
		f.Send(StatusChanged{}) // waits in the reader's hand
		synctest.Wait()
		alert := SecurityAlert{Kind: AlertEquivocation, Who: MemberID{1}}
		f.Send(alert)
		f.Send(alert)
		for i := range 5000 {
			f.Send(Message{Topic: "flood"})
			f.Send(PeerRejected{Peer: "stranger"})
			f.Send(DocChanged{Doc: string(rune(i))})
			f.Send(AssetChanged{Asset: AssetInfo{Path: string(rune(i))}})
		}
		for role := range Role(100) {
			f.Send(MemberChanged{Member: Member{Identity: Identity{ID: MemberID{1}}, Role: role}})
			f.Send(ProposalChanged{Proposal: Proposal{ID: ProposalID{1}, Needed: 100 - int(role)}})
			f.Send(QuarantineChanged{Member: MemberID{2}, Held: role%2 == 0})
		}
		f.Send(RootChanged{Version: 2})
		f.End()
		var alerts, members, proposals, quarantines, roots int
		for e := range c {
			switch e := e.(type) {
			case SecurityAlert:
				alerts++
			case MemberChanged:
				if members++; e.Member.Role != 99 {
					t.Errorf("%+v", e)
				}
			case ProposalChanged:
				if proposals++; e.Proposal.Needed != 1 {
					t.Errorf("%+v", e)
				}
			case QuarantineChanged:
				if quarantines++; e.Held {
					t.Errorf("%+v", e)
				}
			case RootChanged:
				roots++
			}
		}
		if alerts != 1 || members != 1 || proposals != 1 || quarantines != 1 || roots != 1 || missed == 0 {
			t.Errorf("%d alerts, %d changes of members, %d of proposals, %d of quarantines, %d of the root; %d missed", alerts, members, proposals, quarantines, roots, missed)
		}
	})
}
