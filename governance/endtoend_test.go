package governance

import (
	"bytes"
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
		return stepOfRest(a)
	}
	return s
}

func stepOfRest(a *act) step {
	var s step
	switch a.kind {
	case KindRoleDrop:
		s = dropStep(a.device, a.member, a.role)
	case KindDeviceRemove:
		s.body = func(tm *team, st *State) any {
			b := &DeviceRemove{Device: tm.person(a.target).device.ID}
			if a.stolen {
				b.Stolen = 1
			}
			if a.roster != nil {
				b.Epoch = tm.epochFor(a.device, st, a.roster)
			}
			return b
		}
	case KindLeave:
		s = leaveStep(a.device)
	case KindCarry:
		s = carryStep(a.device, a.member, a.since)
	case KindCheckpoint:
		s = checkStep(a.device, a.number, a.time, a.prev...)
		if !a.ok || len(a.prev) == 0 {
			s.body = func(_ *team, st *State) any {
				b := &Checkpoint{Number: a.number, Time: a.time}
				if a.ok {
					b.State = st.Digest()
				}
				return b
			}
		}
		if inner := s.body; !a.ok {
			s.body = func(tm *team, st *State) any {
				b := inner(tm, st).(*Checkpoint)
				for _, p := range a.prev {
					b.Prev = append(b.Prev, tm.ids[p])
				}
				wire.SortIDs(b.Prev)
				return b
			}
		}
	case KindEndorse:
		s = endorseStep(a.device, a.named...)
	case KindQuarantinePropose:
		s = proposeStep(a.device, a.member, a.expires)
	case KindQuarantineVote:
		s = voteStep(a.device, a.named[0])
		if a.withdraw {
			s = withdrawStep(a.device, a.named[0])
		}
	case KindLiftQuarantine:
		s = liftStep(a.device, a.member)
		if a.target != "" {
			s = liftDeviceStep(a.device, a.target)
		}
	case KindEquivocationProof:
		s.body = func(tm *team, _ *State) any { return tm.proofOf(a.target, a.number) }
	default:
		s.body = func(*team, *State) any { return map[int]int{} }
	}
	s.by, s.with, s.root, s.kind = a.device, a.cosigners, a.root, a.kind
	return s
}

// proofOf shows two events of a device with one number.
func (tm *team) proofOf(device string, number uint64) *EquivocationProof {
	d := tm.person(device).device.ID
	var found []*Event
	for e := range tm.log.All() {
		if e.Device == d && e.Aseq == number {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b *Event) int { return bytes.Compare(a.core, b.core) })
	return &EquivocationProof{A: found[0].ProofHalf(), B: found[1].ProofHalf()}
}

// idName is the name under which the reference knows an event.
func idName(tm *team, id EventID) string {
	if id == EventID(tm.root.Project) {
		return "G"
	}
	return id.String()
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
			b.id, b.parents, b.past, b.named, b.prev = id.String(), nil, map[string]bool{}, nil, nil
			for _, n := range a.named {
				b.named = append(b.named, tm.ids[n].String())
			}
			for _, n := range a.prev {
				b.prev = append(b.prev, tm.ids[n].String())
			}
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
			if err != nil || x.Counts == out.void.has(r.at[idName(tm, id)]) {
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
