package governance

import (
	mathrand "math/rand/v2"
	"slices"
	"testing"

	"github.com/studio-whip/collab/internal/wire"
)

// stepOf makes a real event's step of an abstract one.
func stepOf(a *act) step {
	s := step{by: a.device, with: a.cosigners, root: a.root, kind: a.kind}
	switch a.kind {
	case KindKeyEpoch:
		s.body = func(tm *team, st *State) any { return tm.epochFor(a.device, st, a.roster) }
	case KindInviteCreate:
		return step{by: a.device, with: a.cosigners, root: a.root, kind: a.kind,
			body: inviteStep(a.device, a.invite, a.role, uint16(a.uses), a.hosts...).body}
	case KindInviteRevoke:
		s.body = cancelStep(a.device, a.invite).body
	case KindAdmit:
		s.body = admitStep(a.device, a.admits, a.role).body
		if a.invite != "" {
			s.body = useStep(a.device, a.admits, a.invite, a.role).body
		}
	case KindRoleGrant:
		s.body = grantStep(a.device, a.member, a.role).body
	case KindRevoke:
		s.body = func(tm *team, st *State) any {
			b := &Revoke{Member: tm.member(a.member)}
			if a.roster != nil {
				b.Epoch = tm.epochFor(a.device, st, a.roster)
			}
			return b
		}
	case KindChainOpen:
		s.body = chainStep(a.device, a.chain).body
	default:
		s.body = func(*team, *State) any { return map[int]int{} }
	}
	return s
}

// epochFor is an epoch for devices by name.
func (tm *team) epochFor(by string, s *State, roster []string) *KeyEpoch {
	k := tm.epochObject(by, s, [32]byte{})
	c, err := k.Decode()
	if err != nil {
		tm.t.Fatal(err)
	}
	var r []RosterEntry
	for _, d := range roster {
		info := deviceOf(tm.person(d).cert, tm.person(d).device)
		r = append(r, RosterEntry{Device: info.id, KemID: info.kem})
	}
	c.Roster = RosterHash(r)
	k.Core = wire.Marshal(c)
	return k
}

// Random histories of really signed events, received in random orders with parents after their children, come to
// what the slow reference says of the same events.
func TestSignedHistoriesEqualReference(t *testing.T) {
	for seed := range uint64(6) {
		w := newWorld(seed+300, 2, seed%2 == 0)
		w.run(25)
		tm := newTeam(t, 2)
		var renamed []*act
		for k, a := range w.acts {
			id := tm.add(a.id, stepOf(a), a.parents...)
			b := *a
			b.id, b.parents, b.past = id.String(), nil, map[string]bool{}
			for p := range a.past {
				b.past[tm.ids[p].String()] = true
			}
			renamed = append(renamed, &b)
			if e := tm.log.h.entries[k+1]; e.aseq != a.aseq {
				t.Fatalf("seed %d: event %s has number %d, want %d", seed, a.id, e.aseq, a.aseq)
			}
		}
		r := newReference(2, renamed)
		out := r.void(r.all())
		for name, id := range tm.ids {
			x, err := tm.log.Explain(id)
			if err != nil || x.Counts == out.void[id.String()] {
				t.Errorf("seed %d: %s counts %v (%s), the reference disagrees\n%s", seed, name, x.Counts, x.Because, describe(w.acts))
			}
		}
		for k := range uint64(4) {
			l := NewLog(tm.root)
			tm.deliver(l, mathrand.New(mathrand.NewPCG(seed, k)))
			if l.State().Digest() != tm.log.State().Digest() {
				t.Errorf("seed %d: order %d comes to another state", seed, k)
			}
			if !slices.Equal(l.Heads(), tm.log.Heads()) {
				t.Error("other heads")
			}
		}
	}
}
