package collabtest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/collabtest"
)

// TestGovernedSimulation lets people who are far from agreed govern a project: they give and take roles, hold one another
// back, remove one another, leave and let others in, while the network breaks and heals and devices restart. Afterwards
// all who are left hold the same history, judge it alike and show the same documents, and no removed person has a role.
// All that is chosen follows from the seed.
//
//	go test ./collabtest -run TestGovernedSimulation -v -seed 7
func TestGovernedSimulation(t *testing.T) {
	first, last := uint64(1), *seeds
	if *onlySeed != 0 {
		first, last = *onlySeed, *onlySeed
	}
	steps := 60
	if collabtest.RaceDetector {
		steps = 20
	}
	t.Run("seed", func(t *testing.T) {
		for seed := first; seed <= last; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				govern(t, seed, steps)
			})
		}
	})
}

// parliament is a project whose members disagree.
type parliament struct {
	*world
	done map[string]int // of acts that took place, by kind
}

func govern(t *testing.T, seed uint64, steps int) {
	var p *parliament
	began := time.Now()
	defer func() {
		if p == nil {
			return
		}
		result := "passed"
		if t.Failed() {
			result = fmt.Sprintf("FAILED; it is repeated by: go test ./collabtest -run TestGovernedSimulation -v -seed %d", seed)
		}
		fmt.Printf("governed seed %d: %.1f s; %s; %s: %s\n", seed, time.Since(began).Seconds(), p.tally(), p.acts(), result)
	}()
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		w := newWorld(t, net, scale{people: 9, first: 6, running: 4, steps: steps, docs: 2}, seed)
		w.rng = rand.New(rand.NewPCG(seed, 1))
		p = &parliament{world: w, done: map[string]int{}}
		defer w.end()
		w.found()
		founder := w.people[0].session
		p.did("manager", founder.SetRole(t.Context(), w.people[1].session.Me().ID, collab.RoleManager))
		for range steps {
			p.step()
		}
		p.agree()
	})
}

// step lets somebody do something.
func (p *parliament) step() {
	time.Sleep(p.upTo(20 * time.Second))
	switch n := p.rng.IntN(24); {
	case n < 6:
		if a := p.awake(); a != nil && a.session.Me().Role >= collab.RoleEditor {
			p.edit(a)
		}
	case n < 8:
		p.partition()
	case n < 11:
		p.net.Heal()
	case n == 11:
		p.stop("restarts", (*collabtest.Node).Stop)
	case n == 12:
		p.startAny()
	default:
		p.act()
	}
}

// awake chooses somebody who runs and is a member as far as they know; nil if nobody is.
func (p *parliament) awake() *person {
	var list []*person
	for _, x := range p.people {
		if x.session != nil && x.session.Err() == nil {
			list = append(list, x)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[p.rng.IntN(len(list))]
}

// act lets somebody govern.
func (p *parliament) act() {
	a := p.awake()
	if a == nil {
		return
	}
	s, ctx := a.session, p.t.Context()
	var whom []collab.MemberID
	for m := range s.Members() {
		if m.State != collab.MemberRemoved && m.ID != s.Me().ID {
			whom = append(whom, m.ID)
		}
	}
	if len(whom) == 0 {
		return
	}
	who := whom[p.rng.IntN(len(whom))]
	switch p.rng.IntN(9) {
	case 0, 1:
		roles := []collab.Role{collab.RoleViewer, collab.RoleEditor, collab.RoleEditor, collab.RoleManager}
		p.did("role", s.SetRole(ctx, who, roles[p.rng.IntN(len(roles))]))
	case 2, 3:
		_, err := s.ProposeQuarantine(ctx, who, "simulated")
		p.did("quarantine", err)
	case 4:
		p.did("lift", s.LiftQuarantine(ctx, who))
	case 5, 6, 7:
		for _, open := range slices.Collect(s.Proposals()) {
			p.did("vote", s.Vote(ctx, open.ID, p.rng.IntN(4) > 0))
		}
	case 8:
		switch p.rng.IntN(6) {
		case 0, 1:
			p.did("removal", s.Revoke(ctx, who, "simulated"))
		case 2:
			p.did("departure", s.Leave(ctx))
		}
	}
}

// did counts an act. What a rule forbids is no fault; anything else is.
func (p *parliament) did(what string, err error) {
	pending := new(collab.PendingError)
	switch {
	case err == nil:
		p.done[what]++
	case errors.As(err, &pending):
		p.done[what+" pending"]++
	case errors.Is(err, collab.ErrDenied), errors.Is(err, collab.ErrQuarantined), errors.Is(err, collab.ErrNoProposal),
		errors.Is(err, collab.ErrNoQuorum), errors.Is(err, collab.ErrNoChange):
		p.done[what+" refused"]++
	case errors.Is(err, collab.ErrUnreachable), errors.Is(err, collab.ErrRevoked), errors.Is(err, collab.ErrLeft):
		p.done[what+" impossible"]++
	default:
		p.t.Errorf("%s: %v", what, err)
	}
}

func (p *parliament) acts() string {
	var out []string
	for what, n := range p.done {
		out = append(out, fmt.Sprintf("%s %d", what, n))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// agree heals everything and waits until all who are left hold and show the same.
func (p *parliament) agree() {
	p.net.Heal()
	for _, x := range p.people {
		if x.session == nil {
			p.start(x)
		}
	}
	left := func() (out []*collab.Session) { // whoever knows most says who that is: a removed person may never hear of it
		var most *collab.Session
		events := -1
		for _, x := range p.people {
			if n := strings.Count(history(p.t, x.session), "\n"); x.session.Err() == nil && n > events {
				most, events = x.session, n
			}
		}
		for _, x := range p.people {
			if most != nil && x.session.Err() == nil && standing(most, x.session.Me().ID) != collab.MemberRemoved {
				out = append(out, x.session)
			}
		}
		return out
	}
	p.net.Wait("all who are left judge one history alike", func() bool {
		time.Sleep(5 * time.Second)
		members := left()
		return !slices.ContainsFunc(members, func(s *collab.Session) bool {
			return history(p.t, s) != history(p.t, members[0]) || roster(s) != roster(members[0])
		})
	})
	p.count["left"] = len(left())
	if p.release(left()) {
		for i := range p.size.docs {
			p.net.Equal(fmt.Sprint("doc", i), left()...)
		}
		p.count["shown alike"]++
	}
}

// standing is how a session sees a member.
func standing(s *collab.Session, who collab.MemberID) collab.MemberState {
	for m := range s.Members() {
		if m.ID == who {
			return m.State
		}
	}
	return collab.MemberRemoved
}

// release ends all quarantines, what managers only proposed too, and reports whether there was somebody who could. Until
// then what is shown depends on whose edits a device holds back.
func (p *parliament) release(left []*collab.Session) bool {
	if len(left) == 0 {
		return false
	}
	held := func() (out []collab.MemberID) {
		for open := range left[0].Proposals() {
			if open.Kind == collab.ProposalQuarantine {
				out = append(out, open.Target)
			}
		}
		return out
	}
	for range 2 { // the first may free the manager who ends the others
		for _, who := range held() {
			for _, s := range left {
				if s.Me().Role >= collab.RoleManager && s.Me().ID != who && s.LiftQuarantine(p.t.Context(), who) == nil {
					break
				}
			}
		}
		time.Sleep(time.Minute)
	}
	if len(held()) > 0 {
		return false
	}
	p.net.Wait("all judge one history alike after the quarantines", func() bool {
		for _, s := range left[1:] {
			if history(p.t, s) != history(p.t, left[0]) {
				return false
			}
		}
		return true
	})
	return true
}

// history lists the events that a session holds, and whether they count.
func history(t *testing.T, s *collab.Session) string {
	var out []string
	for e, err := range s.Audit(collab.EventID{}) {
		if errors.Is(err, collab.ErrClosed) {
			return ""
		}
		if err != nil {
			t.Error(err)
			return ""
		}
		out = append(out, fmt.Sprintf("%s %t", e.ID, e.Counts))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// roster lists the members as a session sees them.
func roster(s *collab.Session) string {
	var out []string
	for m := range s.Members() {
		out = append(out, fmt.Sprintf("%s %s %d", m.ID, m.Role, m.State))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
