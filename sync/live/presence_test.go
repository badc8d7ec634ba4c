package live

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
	"github.com/studio-whip/collab/sync/journal"
)

func keyOf(device byte, chain uint32, doc docID) presenceKey {
	return presenceKey{writerKey{identityOf(device), chain}, doc}
}

func TestPresenceStates(t *testing.T) {
	p, now := newPresences(), testTime
	key := keyOf(1, 0, docA)
	for i, step := range []struct {
		json    string
		changed bool
	}{{"", false}, {`1`, true}, {`1`, false}, {`2`, true}, {"", true}, {"", false}, {`2`, true}} {
		var st State
		if step.json != "" {
			st.JSON = []byte(step.json)
		}
		if got := p.take(key, st, now); got != step.changed {
			t.Errorf("step %d, %q: changed %v", i, step.json, got)
		}
	}
	p.take(key, State{}, now)
	if len(p.remotes)+len(p.counts) != 0 {
		t.Error("something is left of a client that has gone")
	}
}

func TestPresenceCaps(t *testing.T) {
	p := newPresences()
	st := State{JSON: []byte("1")}
	for n := range 2 * maxPresencesOne {
		p.take(keyOf(1, 0, docID{byte(n), byte(n >> 8)}), st, testTime)
	}
	if len(p.remotes) != maxPresencesOne {
		t.Errorf("%d states of one client are kept", len(p.remotes))
	}
	if !p.take(keyOf(1, 0, docID{}), State{JSON: []byte("2")}, testTime) {
		t.Error("a client with many states cannot change one")
	}
	for device := range byte(200) {
		for n := range 64 {
			p.take(keyOf(device, 0, docID{byte(n)}), st, testTime)
		}
	}
	if len(p.remotes) != maxPresences {
		t.Errorf("%d states are kept", len(p.remotes))
	}
}

// A state is dropped when it was not renewed, and at once when its device has left the roster.
func TestPresenceExpiry(t *testing.T) {
	ben, cleo := newPerson(t, "Ben"), newPerson(t, "Cleo")
	w := newTeam(t, ben, cleo)
	ada, b, c := w.seat(w.ada), w.seat(ben), w.seat(cleo)
	doc := docA
	for _, s := range []*seat{b, c} {
		ada.hand(s, s.carried(s.write("x")[0]))
		if got := ada.hand(s, carriedEphemeral(s.presenceRecord(1, doc, `"here"`))); got != "accepted" {
			t.Fatal(got)
		}
	}
	if n := len(ada.Presence(doc)); n != 2 {
		t.Fatalf("%d are present", n)
	}
	if got := ada.Presence(doc)[0]; got.JSON == nil || got.Member == (identity.MemberID{}) ||
		got.Client != identity.ClientID(ada.gov.ID(), got.Device, 0) {
		t.Errorf("state %+v", got)
	}
	drain := func() (gone []State) {
		for {
			st, _, ok := ada.notices.next()
			if !ok {
				return gone
			}
			if st.JSON == nil {
				gone = append(gone, st)
			}
		}
	}
	drain()
	raw := w.add(governanceRevoke(t, ada.gov, cleo))
	ada.gov.learn(raw)
	if got := ada.Presence(doc); len(got) != 1 || got[0].Device != ben.dev.ID {
		t.Errorf("after Cleo's removal %d are listed", len(got))
	}
	ada.presence.stale.Store(true) // as RosterChanged does
	ada.dropStale(ada.now())
	if gone := drain(); len(gone) != 1 || gone[0].Device != cleo.dev.ID {
		t.Errorf("after Cleo's removal observers are told of %+v", gone)
	}
	ada.dropStale(ada.now().Add(-time.Millisecond)) // what came since it looked at the clock
	ada.pass(presenceLife - time.Second)
	if wait := ada.dropStale(ada.now()); wait != time.Second || len(ada.Presence(doc)) != 1 {
		t.Errorf("looks again after %v", wait)
	}
	ada.pass(time.Second)
	if len(ada.Presence(doc)) != 0 {
		t.Error("a state that was not renewed is listed")
	}
	ada.dropStale(ada.now())
	if gone := drain(); len(gone) != 1 || gone[0].Device != ben.dev.ID {
		t.Errorf("observers are told of %+v", gone)
	}
}

func TestPresenceRefused(t *testing.T) {
	w := newTeam(t)
	ada := w.seat(w.ada)
	for _, tc := range []struct {
		state string
		want  error
	}{
		{`{"cursor":7}`, nil},
		{`"` + strings.Repeat("x", MaxPresence-2) + `"`, nil},
		{`"` + strings.Repeat("x", MaxPresence-1) + `"`, ErrTooLarge},
		{``, ErrNotJSON},
		{`null`, ErrNotJSON},
		{` null `, ErrNotJSON},
		{`{"cursor":`, ErrNotJSON},
		{`1 2`, ErrNotJSON},
	} {
		if err := ada.SetPresence(docA, []byte(tc.state)); !errors.Is(err, tc.want) {
			t.Errorf("%.20q: %v, want %v", tc.state, err, tc.want)
		}
	}
}

// What others send in a presence record is checked as what is set here.
func TestPresencePayloads(t *testing.T) {
	for _, tc := range []struct {
		name  string
		state []byte
		gone  bool
		ok    bool
	}{
		{"a state", []byte(`{"a":1}`), false, true},
		{"goodbye", nil, true, true},
		{"null", []byte(`null`), true, true},
		{"not JSON", []byte(`{`), false, false},
		{"too large", []byte(`"` + strings.Repeat("x", MaxPresence) + `"`), false, false},
	} {
		got, err := parsePresence(wire.Marshal(presencePayload{Doc: docA, State: tc.state}))
		if (err == nil) != tc.ok || tc.ok && (got.State == nil) != tc.gone {
			t.Errorf("%s: %q, %v", tc.name, got.State, err)
		}
	}
}

func TestOwnPresenceSchedule(t *testing.T) {
	p, now := newPresences(), testTime
	send := func() (sent []string) {
		due, _ := p.due(now)
		for doc, state := range due {
			o := p.own[doc]
			o.sent, o.dirty = now, false
			sent = append(sent, fmt.Sprintf("%c:%s", doc[0], state))
		}
		slices.Sort(sent)
		return sent
	}
	expect := func(what string, want ...string) {
		t.Helper()
		if got := send(); !slices.Equal(got, want) {
			t.Errorf("%s: sent %q, want %q", what, got, want)
		}
	}
	p.set(docA, []byte("1"))
	expect("set", "a:1")
	p.set(docA, []byte("2"))
	now = now.Add(100 * time.Millisecond)
	p.set(docA, []byte("3"))
	p.set(docB, []byte("x"))
	expect("too soon for one", "b:x")
	if _, wait := p.due(now); wait != 150*time.Millisecond {
		t.Errorf("the next is due after %v", wait)
	}
	now = now.Add(150 * time.Millisecond)
	expect("the newest", "a:3")
	now = now.Add(10 * time.Second)
	expect("nothing has changed")
	p.renew()
	expect("somebody has come", "a:3", "b:x")
	now = now.Add(presenceRenew)
	expect("renewed", "a:3", "b:x")
	p.set(docA, nil)
	p.set(docA, nil)
	p.set(docID{'c'}, nil) // was never there
	now = now.Add(presenceEvery)
	expect("goodbye", "a:")
	p.renew()
	now = now.Add(presenceRenew)
	expect("one is left", "b:x")
	if len(p.own) != 1 {
		t.Errorf("%d own states are remembered", len(p.own))
	}
	now = now.Add(-time.Hour) // the clock was set back
	p.set(docB, []byte("y"))
	if _, wait := p.due(now); wait > presenceEvery {
		t.Errorf("after the clock was set back the next is due after %v", wait)
	}
}

// Nothing is sent before the introduction has gone out, and the newest state is when it has.
func TestPresenceFollowsIntroduction(t *testing.T) {
	w := newTeam(t)
	ada := w.seat(w.ada)
	if err := ada.sendEphemeral(t.Context(), 1, nil); !errors.Is(err, ErrNotReady) {
		t.Fatalf("before the introduction: %v", err)
	}
	if !ada.progress.isIntroduced(0) {
		t.Fatal("the journal was not asked for an introduction")
	}
	if ada.progress.mayFollow(0, ada.now()) {
		t.Error("records may overtake the introduction")
	}
	ada.pass(introductionWait)
	if !ada.progress.mayFollow(0, ada.now()) {
		t.Error("an introduction that nobody has seen go out blocks for ever")
	}
	eventually(t, "the introduction is durable", func() bool { ada.mu.Lock(); defer ada.mu.Unlock(); return len(ada.own) == 1 })
	ada.pass(-introductionWait)
	ada.progress.noteGone(ada.own[0])
	if !ada.progress.mayFollow(0, ada.now()) {
		t.Error("the introduction has gone out")
	}
}

// Who is in quarantine is neither seen nor heard, and nobody is told later what he said.
func TestQuarantineSilences(t *testing.T) {
	ben, cleo := newPerson(t, "Ben"), newPerson(t, "Cleo")
	w := newTeam(t, ben, cleo)
	b, c := w.seat(ben), w.seat(cleo)
	b.hand(c, c.carried(c.write("x")[0]))
	say := func(n uint64) string {
		return b.hand(c, carriedEphemeral(c.ephemeral(envelope.Message, n, wire.Marshal(messagePayload{Topic: "chat", Payload: []byte{byte(n)}}))))
	}
	show := func(n uint64, state string) string {
		return b.hand(c, carriedEphemeral(c.presenceRecord(n, docA, state)))
	}
	if say(1) != "accepted" || show(2, `"here"`) != "accepted" || len(b.Presence(docA)) != 1 {
		t.Fatal("she is not heard")
	}
	b.gov.learn(w.add(governance.KindQuarantinePropose, &governance.QuarantinePropose{
		Member: cleo.id.Member(), Reason: "shouts", Expires: uint64(testTime.Add(time.Hour).Unix()),
	}))
	b.cfg.Journal.Changed()
	if got := b.Presence(docA); len(got) != 0 {
		t.Errorf("she is seen: %+v", got)
	}
	if say(3) != "accepted" || show(4, `"there"`) != "accepted" { // others may hold nothing
		t.Error("what she sends is not passed on")
	}
	b.HoldsChanged()
	b.dropStale(b.now())
	if got := b.Presence(docA); len(got) != 0 || len(b.presence.remotes) != 0 {
		t.Errorf("she is seen: %+v", got)
	}
	b.pass(journal.Provisional)
	b.cfg.Journal.Changed()
	if say(5) != "accepted" || show(6, `"back"`) != "accepted" || len(b.Presence(docA)) != 1 {
		t.Error("she is not heard afterwards")
	}
	if len(b.received) != 2 || b.received[0].Payload[0] != 1 || b.received[1].Payload[0] != 5 {
		t.Errorf("heard: %+v", b.received)
	}
}
