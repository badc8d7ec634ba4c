package collab

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/sync/foundation"
)

// watch is a clock that a test sets.
type watch struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (w *watch) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.ahead)
}

func (w *watch) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead += d
}

func withWatch(w *watch) Option {
	return func(c *config) error { c.now = w.now; return nil }
}

// jury is a project of four, all connected: Ada manages it, and Dan is the one whom the others doubt.
type jury struct {
	t                   *testing.T
	ada, bob, cleo, dan *player
	clocks              map[*player]*watch
}

func newJury(t *testing.T, opts ...Option) *jury {
	t.Helper()
	j := &jury{t: t, clocks: map[*player]*watch{}}
	for _, p := range []struct {
		name string
		to   **player
	}{{"Ada", &j.ada}, {"Bob", &j.bob}, {"Cleo", &j.cleo}, {"Dan", &j.dan}} {
		w := &watch{}
		*p.to = newPlayer(t, p.name, append([]Option{withWatch(w)}, opts...)...)
		j.clocks[*p.to] = w
	}
	j.ada.found(t)
	for _, p := range j.all()[1:] {
		p.join(t, j.ada)
	}
	j.write(j.dan, "Dan. ")
	agree(t, j.all()...)
	for _, p := range j.all() {
		until(t, "all are connected", func() bool { return p.s.Status().Peers == 3 })
	}
	return j
}

func (j *jury) all() []*player { return []*player{j.ada, j.bob, j.cleo, j.dan} }

func (j *jury) others() []*player { return []*player{j.ada, j.bob, j.cleo} }

// write writes at the beginning of the script, in an envelope of its own.
func (j *jury) write(p *player, text string) { j.writeAt(p, 0, text) }

func (j *jury) writeAt(p *player, at int, text string) {
	j.t.Helper()
	err := p.doc.Update(func(tx *crdt.Txn) error { return p.doc.Text("body").Insert(tx, at, text) })
	if err == nil {
		err = p.s.live.Flush(j.t.Context())
	}
	if err != nil {
		j.t.Fatal(err)
	}
}

// hold puts Dan in quarantine by the votes of Bob, Cleo and further members, who say that they have seen his chain up to a
// place.
func (j *jury) hold(heads []governance.Cut, further ...*player) {
	j.t.Helper()
	ctx, who := j.t.Context(), j.dan.s.Me().ID
	id, err := j.bob.s.membership.Propose(ctx, governance.KindQuarantinePropose, &governance.QuarantinePropose{
		Member: who, Heads: heads, Expires: uint64(j.clocks[j.bob].now().Add(time.Hour).Unix()),
	})
	if err != nil {
		j.t.Fatal(err)
	}
	for _, p := range append(further, j.cleo) {
		until(j.t, "the proposal has come", func() (known bool) {
			p.s.membership.View(func(l *governance.Log) { known = l.Has(id) })
			return known
		})
		if _, err := p.s.membership.Propose(ctx, governance.KindQuarantineVote, &governance.QuarantineVote{Proposal: id, Heads: heads}); err != nil {
			j.t.Fatal(err)
		}
	}
	j.judged(MemberQuarantined)
}

// judged waits until all are in one state and see Dan so.
func (j *jury) judged(state MemberState) {
	j.t.Helper()
	for _, p := range j.all() {
		until(j.t, "all know what became of Dan", func() bool {
			same := p.s.membership.State().Digest() == j.ada.s.membership.State().Digest()
			for m := range p.s.Members() {
				same = same && (m.ID != j.dan.s.Me().ID || m.State == state)
			}
			return same
		})
	}
}

// heads names Dan's chain as Ada shows it.
func (j *jury) heads() []governance.Cut {
	cuts, err := j.ada.s.journal.Cuts(j.dan.s.Me().ID)
	if err != nil {
		j.t.Fatal(err)
	}
	return cuts
}

// arrived waits until players keep something of Dan's that they do not show.
func (j *jury) arrived(players ...*player) {
	j.t.Helper()
	for _, p := range players {
		until(j.t, "his edit has arrived", func() bool { n, _ := p.s.journal.HeldBack(j.dan.s.Me().ID); return n > 0 })
	}
}

func (j *jury) shows(want string, players ...*player) {
	j.t.Helper()
	for _, p := range players {
		until(j.t, p.self.Identity.Display+" shows "+want, func() bool { return p.read(j.t) == want })
	}
}

// nextHold waits for the next event about a hold.
func nextHold(t *testing.T, from <-chan QuarantineChanged) QuarantineChanged {
	t.Helper()
	select {
	case e := <-from:
		return e
	case <-time.After(time.Minute):
		t.Fatal("nobody was told of the quarantine's effect")
		return QuarantineChanged{}
	}
}

func TestScenario59HeldEditsAppearOnLift(t *testing.T) {
	scenario.Run(t, 59, "quarantine, edits held, a manager lifts it: they appear on every device, each with an event", func(t *testing.T) {
		j := newJury(t)
		told := map[*player]<-chan QuarantineChanged{}
		for _, p := range j.all() {
			told[p] = Subscribe[QuarantineChanged](t.Context(), p.s)
		}
		j.hold(j.heads())
		for _, p := range j.all() {
			if e := nextHold(t, told[p]); e.Member != j.dan.s.Me().ID || !e.Held || e.Until.IsZero() || e.Detail == "" {
				t.Errorf("%s is told %+v", p.self.Identity.Display, e)
			}
		}
		j.write(j.dan, "Nobody reads this. ")
		j.arrived(j.others()...)
		j.shows("Dan. ", j.others()...)
		j.shows("Nobody reads this. Dan. ", j.dan)
		j.write(j.bob, "We go on. ")
		j.shows("We go on. Dan. ", j.others()...)
		if err := j.ada.s.LiftQuarantine(t.Context(), j.dan.s.Me().ID); err != nil {
			t.Fatal(err)
		}
		agree(t, j.all()...)
		if got := j.ada.read(t); !strings.Contains(got, "Nobody reads this. ") {
			t.Errorf("after the lift: %q", got)
		}
		for _, p := range j.all() {
			if e := nextHold(t, told[p]); e.Held || e.Member != j.dan.s.Me().ID {
				t.Errorf("%s is told %+v", p.self.Identity.Display, e)
			}
		}
	})
}

func TestScenario59HeldEditsAppearAtTheEnd(t *testing.T) {
	scenario.Run(t, 59, "nobody lifts it: what was held appears at the end of its time with an event; where it arrives after its end it holds nothing", func(t *testing.T) {
		j := newJury(t)
		j.clocks[j.cleo].pass(time.Hour + time.Minute) // hers says that the hour is over before it began
		told := Subscribe[QuarantineChanged](t.Context(), j.ada.s)
		heads := j.heads()
		late := Subscribe[QuarantineChanged](t.Context(), j.cleo.s)
		j.hold(heads)
		if e := nextHold(t, told); !e.Held {
			t.Errorf("Ada is told %+v", e)
		}
		j.write(j.dan, "Held. ")
		j.arrived(j.ada, j.bob)
		j.shows("Dan. ", j.ada, j.bob)
		j.shows("Held. Dan. ", j.cleo)
		select {
		case e := <-late:
			t.Errorf("Cleo is told %+v", e)
		default:
		}
		for _, p := range []*player{j.ada, j.bob} {
			j.clocks[p].pass(time.Hour + time.Minute)
			p.s.journal.Changed() // the journal looks at the clock once a minute
		}
		if e := nextHold(t, told); e.Held || e.Member != j.dan.s.Me().ID || !strings.Contains(e.Detail, "over") {
			t.Errorf("Ada is told %+v", e)
		}
		agree(t, j.all()...)
		j.shows("Held. Dan. ", j.all()...)
	})
}

func TestScenario89NeighbourIsNotFrozen(t *testing.T) {
	scenario.Run(t, 89, "a member typed beside one character of the target and goes on: his edits appear at once everywhere, the target's chain is released up to that character only", func(t *testing.T) {
		j := newJury(t)
		heads := j.heads() // the votes reach no further
		for _, text := range []string{"1", "2", "3"} {
			j.write(j.dan, text)
		}
		agree(t, j.all()...)
		j.writeAt(j.ada, 2, "(beside)") // between 2 and 1
		agree(t, j.all()...)
		j.shows("32(beside)1Dan. ", j.all()...)
		j.hold(heads)
		j.shows("2(beside)1Dan. ", j.others()...)
		j.writeAt(j.ada, 1, "(on)")
		notes, err := j.ada.s.Doc(t.Context(), "notes")
		if err != nil {
			t.Fatal(err)
		}
		if err := notes.Update(func(tx *crdt.Txn) error { return notes.Map("meta").Set(tx, "title", "elsewhere") }); err != nil {
			t.Fatal(err)
		}
		j.shows("2(on)(beside)1Dan. ", j.others()...)
		for _, p := range j.others() {
			d, err := p.s.Doc(t.Context(), "notes")
			if err != nil {
				t.Fatal(err)
			}
			until(t, "what is written elsewhere appears", func() bool { return d.Digest() == notes.Digest() })
			if n, _ := p.s.journal.HeldBack(j.dan.s.Me().ID); n != 1 {
				t.Errorf("%s holds back %d envelopes, want the last one", p.self.Identity.Display, n)
			}
		}
		agree(t, j.others()...)
		if err := j.ada.s.LiftQuarantine(t.Context(), j.dan.s.Me().ID); err != nil {
			t.Fatal(err)
		}
		agree(t, j.all()...)
	})
}

// In quarantine a device gets and brings governance events and nothing else that it asks for.
func TestScenario43QuarantinedGetsGovernanceOnly(t *testing.T) {
	scenario.Run(t, 43, "a member in quarantine asks for runs, snapshots, blocks and a new key: refused on each protocol, governance events are exchanged, all is given after the lift", func(t *testing.T) {
		j := newJury(t)
		eve := newPlayer(t, "Eve")
		eve.join(t, j.ada)
		agree(t, append(j.all(), eve)...)
		j.hold(j.heads(), j.ada)
		ctx, ada := t.Context(), j.ada.self.Device.ID
		if err := j.dan.s.foundation.Sync(ctx, ada); !errors.Is(err, foundation.ErrRefused) {
			t.Errorf("runs: %v", err)
		}
		if err := j.dan.s.foundation.FetchSnapshots(ctx, ada); !errors.Is(err, foundation.ErrRefused) {
			t.Errorf("snapshots: %v", err)
		}
		if err := j.ada.s.foundation.Sync(ctx, j.dan.self.Device.ID); !errors.Is(err, foundation.ErrRefused) {
			t.Errorf("he is asked for runs: %v", err)
		}
		if _, err := j.ada.s.Assets().Add(ctx, "take.mov", strings.NewReader(strings.Repeat("frame ", 1000))); err != nil {
			t.Fatal(err)
		}
		until(t, "he knows of the file", func() bool { _, err := j.dan.s.Assets().Stat("take.mov"); return err == nil })
		for _, p := range []*player{j.bob, j.cleo} { // everybody else has it before he is done asking
			until(t, "the others have the file", func() bool { a, err := p.s.Assets().Stat("take.mov"); return err == nil && a.Local })
		}
		if a, err := j.dan.s.Assets().Stat("take.mov"); err != nil || a.Local {
			t.Errorf("he has the file: %v", err)
		}
		if err := j.ada.s.Revoke(ctx, eve.s.Me().ID, "left"); err != nil { // with a new key for those who stay
			t.Fatal(err)
		}
		j.judged(MemberQuarantined) // he has the event
		if err := j.dan.s.membership.Pull(ctx, ada); err != nil {
			t.Errorf("governance events: %v", err)
		}
		if _, _, ok := j.dan.s.membership.SendingEpoch(); ok {
			t.Error("he has the new key")
		}
		if err := j.ada.s.LiftQuarantine(ctx, j.dan.s.Me().ID); err != nil {
			t.Fatal(err)
		}
		until(t, "he gets the new key", func() bool { _, _, ok := j.dan.s.membership.SendingEpoch(); return ok })
		until(t, "he gets the file", func() bool { a, err := j.dan.s.Assets().Stat("take.mov"); return err == nil && a.Local })
		f, err := j.dan.s.Assets().Open(ctx, "take.mov")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if b, err := io.ReadAll(f); err != nil || len(b) != 6000 {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		agree(t, j.all()...)
	})
}

func TestProvisionalHoldAtNodes(t *testing.T) {
	j := newJury(t)
	open := newPlayer(t, "Eve", WithoutProvisionalHold())
	open.join(t, j.ada)
	told := Subscribe[QuarantineChanged](t.Context(), j.bob.s)
	if _, err := j.ada.s.ProposeQuarantine(t.Context(), j.dan.s.Me().ID, "odd"); err != nil {
		t.Fatal(err)
	}
	if e := nextHold(t, told); !e.Held || !strings.Contains(e.Detail, "proposes") {
		t.Errorf("Bob is told %+v", e)
	}
	j.write(j.dan, "Held. ")
	j.arrived(j.bob)
	j.shows("Dan. ", j.bob)
	j.shows("Held. Dan. ", open)
	for p, want := range map[*player]int{j.bob: 1, open: 0} { // the history does not pass off as shown what is not
		held := 0
		for e, err := range p.doc.History() {
			if err != nil || !e.Counts {
				t.Errorf("an edit that does not count: %v", err)
			}
			if e.Held {
				held++
			}
		}
		if held != want {
			t.Errorf("the history names %d held edits, want %d", held, want)
		}
	}
	j.clocks[j.bob].pass(11 * time.Minute)
	j.bob.s.journal.Changed()
	j.shows("Held. Dan. ", j.bob)
}

// Who is in quarantine takes nobody's last edits.
func TestLeaveBesideQuarantinedOnly(t *testing.T) {
	j := newJury(t)
	j.hold(j.heads(), j.ada)
	for _, p := range []*player{j.ada, j.cleo} {
		if err := p.s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "they are away", func() bool { return j.bob.s.Status().Peers == 1 })
	j.bob.write(t, "Last words. ")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := j.bob.s.Leave(ctx); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("with nobody to take the last edits: %v", err)
	}
	if err := j.bob.s.Err(); err != nil {
		t.Errorf("the membership does not go on: %v", err)
	}
}

func TestMuteIsPrivate(t *testing.T) {
	j := newJury(t)
	ctx, dan := t.Context(), j.dan.s.Me().ID
	if err := j.ada.s.Mute(ctx, j.ada.s.Me().ID, true); !errors.Is(err, ErrDenied) {
		t.Errorf("oneself: %v", err)
	}
	if err := j.ada.s.Mute(ctx, dan, true); err != nil || !j.ada.s.Muted(dan) || j.bob.s.Muted(dan) {
		t.Fatalf("%v, muted %v at Ada, %v at Bob", err, j.ada.s.Muted(dan), j.bob.s.Muted(dan))
	}
	j.write(j.dan, "Loud. ")
	j.arrived(j.ada)
	j.shows("Dan. ", j.ada)
	j.shows("Loud. Dan. ", j.bob, j.cleo, j.dan)
	if err := j.ada.s.Mute(ctx, dan, false); err != nil {
		t.Fatal(err)
	}
	agree(t, j.all()...)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_ = j.ada.s.Mute(ended, dan, true)
	if !j.ada.s.Muted(dan) {
		t.Error("a mute is not in force at once")
	}
}
