package live

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
	"github.com/studio-whip/collab/sync/journal"
)

// refit takes a gossip message apart, lets fn change it, and puts it together.
func refit(t *testing.T, data []byte, fn func(*message)) []byte {
	t.Helper()
	m, err := parseMessage(data)
	if err != nil {
		t.Fatal(err)
	}
	fn(m)
	return wire.Marshal(m)
}

// flip changes the last byte, which is the signature's.
func flip(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)-1] ^= 1
	return b
}

// TestValidator hands Ada what Ben and others publish and looks at the answers.
func TestValidator(t *testing.T) {
	ben, cleo, dora := newPerson(t, "Ben"), newPerson(t, "Cleo"), newPerson(t, "Dora")
	w := newTeam(t, ben, cleo)
	foreign := newTeam(t, ben)

	// What Ben sends, and what Dora does, whom Ada does not know of yet.
	b := w.seat(ben)
	wrote := b.write("one", "two")
	intro, first, second := wrote[0], wrote[len(wrote)-2], wrote[len(wrote)-1]
	all := slices.Clone(wrote)
	presence := b.presenceRecord(1, docA, `"here"`)
	behind := w.view(w.ada)
	w.admit(governance.Editor, dora)
	d := w.seat(dora)
	doras := d.write("three")
	informed := w.seat(ben).write("four") // of the same chain, but knowing of Dora
	elsewhere := foreign.seat(ben)
	other := elsewhere.write("five")

	introduced := func(s *seat) {
		if got := s.hand(b, b.carried(intro)); got != "accepted" {
			t.Fatalf("the introduction is %s", got)
		}
	}
	envelopeOf := func(raw []byte) []byte { return wire.Marshal(message{Kind: kindEnvelope, Record: raw}) }
	for _, tc := range []struct {
		name   string
		before func(*seat)
		data   []byte
		from   *person // nil: Ben
		want   string
		gap    bool // asks for a round
	}{
		{"introduction", nil, b.carried(intro), nil, "accepted", false},
		{"introduction, forwarded", nil, b.carried(intro), cleo, "accepted", false},
		{"edit after it", introduced, b.carried(wrote[1]), nil, "accepted", false},
		{"presence after it", introduced, carriedEphemeral(presence), nil, "accepted", true}, // names later envelopes
		{"from a stranger", introduced, b.carried(wrote[1]), newPerson(t, "Mallory"), "ignored", false},
		{"from a device not known yet", introduced, b.carried(wrote[1]), dora, "ignored", false},

		{"nothing", nil, nil, nil, "rejected", false},
		{"garbage", nil, []byte("garbage"), nil, "rejected", false},
		{"too large", nil, wire.Marshal(message{Kind: kindEnvelope, Record: make([]byte, MaxMessage)}), nil, "rejected", false},
		{"unknown kind", nil, wire.Marshal(message{Kind: 5, Record: intro.Raw}), nil, "ignored", false},
		{"kind 0", nil, wire.Marshal(message{Record: intro.Raw}), nil, "rejected", false},
		{"no envelope", nil, envelopeOf([]byte{0x80}), nil, "rejected", false},
		{"no ephemeral record", nil, wire.Marshal(message{Kind: kindEphemeral, Record: []byte{0x80}}), nil, "rejected", false},
		{"of a newer version", nil, envelopeOf(newerVersion(t, intro.Raw)), nil, "ignored", false},
		{"not in deterministic form", nil, append(b.carried(intro), 0), nil, "rejected", false},

		{"of another project", nil, elsewhere.carried(other[0]), nil, "rejected", false},
		{"presence of another project", nil, carriedEphemeral(elsewhere.presenceRecord(1, docA, `1`)), nil, "rejected", false},

		{"author unknown", nil, d.carried(doras[0]), nil, "ignored", true},
		{"presence, author unknown", nil, carriedEphemeral(d.presenceRecord(1, docA, `1`)), nil, "ignored", true},
		{"head, author unknown", nil, headOf(doras[0]), nil, "ignored", true},

		{"introduction as an edit", nil, envelopeOf(intro.Raw), nil, "rejected", false},
		{"edit as an introduction", nil, refit(t, b.carried(intro), func(m *message) { m.Record = first.Raw }), nil, "rejected", false},
		{"edit as presence", introduced, wire.Marshal(message{Kind: kindEphemeral, Record: first.Raw}), nil, "rejected", false},
		{"with another's device certificate", nil, refit(t, b.carried(intro), func(m *message) { m.Device = cleo.dev.Raw }), nil, "rejected", false},
		{"with another's identity certificate", nil, refit(t, b.carried(intro), func(m *message) { m.Identity = cleo.id.Raw }), nil, "rejected", false},
		{"with another's certificates", nil, refit(t, b.carried(intro), func(m *message) { m.Identity, m.Device = cleo.id.Raw, cleo.dev.Raw }), nil, "rejected", false},
		{"with an altered certificate", nil, refit(t, b.carried(intro), func(m *message) { m.Device = flip(m.Device) }), nil, "rejected", false},

		{"edit before the introduction", nil, b.carried(wrote[1]), nil, "ignored", true},
		{"presence before the introduction", nil, carriedEphemeral(presence), nil, "ignored", true},

		{"introduction again", introduced, b.carried(intro), nil, "ignored", false},
		{"edit again", func(s *seat) { introduced(s); s.hand(b, b.carried(wrote[1])) }, b.carried(wrote[1]), nil, "ignored", false},
		{"presence again", func(s *seat) { introduced(s); s.hand(b, carriedEphemeral(presence)) }, carriedEphemeral(presence), nil, "ignored", false},
		{"older presence", func(s *seat) { introduced(s); s.hand(b, carriedEphemeral(b.presenceRecord(2, docA, `2`))) }, carriedEphemeral(presence), nil, "ignored", false},
		{"own presence comes back", nil, carriedEphemeral(w.seat(w.ada).presenceRecord(1, docA, `1`)), nil, "ignored", false},

		{"too much", func(s *seat) { introduced(s); exhaust(s.rates, s, b) }, b.carried(wrote[1]), nil, "ignored", false},
		{"too much presence", func(s *seat) { introduced(s); exhaust(s.rates, s, b) }, carriedEphemeral(presence), nil, "ignored", false},
		{"too much that was forged", func(s *seat) { introduced(s); exhaust(s.faults, s, b) }, b.carried(wrote[1]), nil, "ignored", false},
		{"too many hints", func(s *seat) { exhaust(s.hints, s, b) }, headOf(second), nil, "ignored", false},

		{"bad signature", introduced, envelopeOf(flip(wrote[1].Raw)), nil, "rejected", false},
		{"introduction with a bad signature", nil, refit(t, b.carried(intro), func(m *message) { m.Record = flip(m.Record) }), nil, "rejected", false},
		{"presence with a bad signature", introduced, wire.Marshal(message{Kind: kindEphemeral, Record: flip(presence.Raw)}), nil, "rejected", false},

		{"governance events unknown", nil, b.carried(informed[0]), nil, "ignored", true},
		{"key unknown", func(s *seat) { introduced(s); s.gov.setBlind(true) }, carriedEphemeral(presence), nil, "ignored", true},
		{"presence of an unknown kind", introduced, carriedEphemeral(b.ephemeral(9, 1, nil)), nil, "ignored", false},
		{"acknowledgement", introduced, carriedEphemeral(b.ephemeral(envelope.Acknowledgement, 1, nil)), nil, "accepted", true},

		{"head", nil, headOf(second), nil, "accepted", true},
		{"head of what is held", introduced, headOf(intro), nil, "ignored", false},
		{"head of nothing", nil, wire.Marshal(message{Kind: kindHead, Head: &head{Device: ben.dev.ID}}), nil, "rejected", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ada := w.seatAt(viewOf(behind))
			if tc.before != nil {
				tc.before(ada)
			}
			ada.gapsAsked()
			text := ada.text()
			from := b
			if tc.from != nil {
				from = &seat{gov: &gov{person: tc.from}}
			}
			if got := ada.hand(from, tc.data); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			if gaps := ada.gapsAsked(); (gaps > 0) != tc.gap {
				t.Errorf("asked for %d rounds", gaps)
			}
			if tc.want != "accepted" && (ada.text() != text || tc.before == nil && ada.Frontier() > 0) {
				t.Error("it has an effect")
			}
		})
	}

	t.Run("in order", func(t *testing.T) {
		ada := w.seatAt(viewOf(behind))
		for i, e := range all {
			if got := ada.hand(b, b.carried(e)); got != "accepted" {
				t.Fatalf("%d is %s", i, got)
			}
		}
		if ada.text() != b.text() || ada.text() == "" {
			t.Errorf("Ada reads %q, Ben %q", ada.text(), b.text())
		}
	})
	t.Run("removed", func(t *testing.T) {
		ada := w.seat(w.ada)
		introduced(ada)
		ada.hand(b, carriedEphemeral(presence))
		kind, body := governanceRevoke(t, ada.gov, ben)
		ada.gov.learn(w.add(kind, body))
		if got := ada.hand(b, b.carried(wrote[1])); got != "ignored" {
			t.Errorf("from the removed himself: %s", got)
		}
		through := &seat{gov: &gov{person: cleo}}
		for name, data := range map[string][]byte{
			"edit": b.carried(wrote[1]), "introduction": b.carried(intro),
			"presence": carriedEphemeral(b.presenceRecord(9, docA, `9`)), "head": headOf(second),
		} {
			if got := ada.hand(through, data); got != "rejected" {
				t.Errorf("%s of the removed, forwarded: %s", name, got)
			}
		}
		if len(ada.Presence(docA)) != 0 {
			t.Error("the removed is present")
		}
	})
}

func headOf(e *envelope.Envelope) []byte {
	return wire.Marshal(message{Kind: kindHead, Head: &head{Device: e.Device, ChainNo: e.ChainNo, Seq: e.Seq, ID: e.ID}})
}

// newerVersion makes an envelope whose header says that it is of a later version.
func newerVersion(t *testing.T, raw []byte) []byte {
	t.Helper()
	old, later := []byte{0xa9, 1, 1}, []byte{0xa9, 1, 2} // a map of nine, version 1
	i := bytes.Index(raw, old)
	if i < 0 {
		for n := byte(0xa5); n < 0xb0 && i < 0; n++ {
			old[0], later[0] = n, n
			i = bytes.Index(raw, old)
		}
	}
	if i < 0 {
		t.Fatal("no version in the header")
	}
	return slices.Concat(raw[:i], later, raw[i+3:])
}

// exhaust uses up what a limiter grants to somebody.
func exhaust(l *limiter, s *seat, who *seat) {
	for l.take(who.gov.person.dev.ID, s.now()) {
	}
}

// viewOf is another device's view with the same events.
func viewOf(g *gov) *gov {
	out := &gov{team: g.team, person: g.person, log: governance.NewLog(g.team.root)}
	for e := range g.log.All() {
		out.learn(e.Raw)
	}
	return out
}

// Frontier says how many chains are held.
func (s *seat) Frontier() int { return len(s.cfg.Journal.Frontier()) }

// Who forges in another's name uses up their own credit, not the other's.
func TestForgeriesCostTheForwarder(t *testing.T) {
	ben, cleo := newPerson(t, "Ben"), newPerson(t, "Cleo")
	w := newTeam(t, ben, cleo)
	ada, b := w.seat(w.ada), w.seat(ben)
	wrote := b.write("one")
	mallory := &seat{gov: &gov{person: cleo}}
	ada.hand(b, b.carried(wrote[0]))
	answers := map[string]int{}
	for n := range 500 {
		e := b.presenceRecord(uint64(n+1), docA, `1`)
		answers[ada.hand(mallory, wire.Marshal(message{Kind: kindEphemeral, Record: flip(e.Raw)}))]++
	}
	if answers["rejected"] != faultBurst || answers["accepted"] != 0 {
		t.Errorf("%v of 500 forgeries", answers)
	}
	if got := ada.hand(b, b.carried(wrote[1])); got != "accepted" {
		t.Errorf("the true author's next envelope is %s", got)
	}
	ada.pass(time.Minute)
	if got := ada.hand(mallory, b.carried(wrote[len(wrote)-1])); len(wrote) > 2 && got != "accepted" {
		t.Errorf("what the forger forwards honestly, later, is %s", got)
	}
}

// One author's live messages are limited, and the limit is theirs alone.
func TestRateOfAnAuthor(t *testing.T) {
	ben, cleo := newPerson(t, "Ben"), newPerson(t, "Cleo")
	w := newTeam(t, ben, cleo)
	ada, b, c := w.seat(w.ada), w.seat(ben), w.seat(cleo)
	ada.hand(b, b.carried(b.write("x")[0]))
	ada.hand(c, c.carried(c.write("y")[0]))
	n := uint64(0)
	flood := func() (taken int) {
		for range 300 {
			n++
			if ada.hand(b, carriedEphemeral(b.presenceRecord(n, docA, `1`))) == "accepted" {
				taken++
			}
		}
		return taken
	}
	if got := flood(); got != liveBurst-1 { // one was the introduction
		t.Errorf("%d at once", got)
	}
	if got := ada.hand(c, carriedEphemeral(c.presenceRecord(1, docA, `1`))); got != "accepted" {
		t.Errorf("another's is %s", got)
	}
	ada.pass(2 * time.Second)
	if got := flood(); got != 2*liveRate {
		t.Errorf("%d after two seconds", got)
	}
}

// Two envelopes of one place reach the journal as proof that their author forked the chain.
func TestForkIsSeen(t *testing.T) {
	ben := newPerson(t, "Ben")
	w := newTeam(t, ben)
	ada, b, twin := w.seat(w.ada), w.seat(ben), w.seat(ben)
	var alerts []journal.AlertKind
	ada.cfg.Journal.OnAlert(func(a journal.Alert) { alerts = append(alerts, a.Kind) })
	for _, e := range b.write("one") {
		ada.hand(b, b.carried(e))
	}
	wrote := twin.write("two")
	if got := ada.hand(b, twin.carried(wrote[0])); got != "ignored" && got != "accepted" {
		t.Errorf("the twin's introduction is %s", got)
	}
	for _, e := range wrote[1:] {
		ada.hand(b, twin.carried(e))
	}
	if !slices.Contains(alerts, journal.AlertFork) {
		t.Errorf("alerts: %v", alerts)
	}
}

// Scenario 53: gossip before the introduction is ignored, an introduction with another's certificates is rejected, a
// replayed one has no effect, who was introduced and then removed is rejected.
func TestScenario53Introductions(t *testing.T) {
	scenario.Run(t, 53, "gossip before its introduction, one with another's certificates, replayed, introduced then revoked: ignored, rejected, no effect, rejected", func(t *testing.T) {
		ben, cleo := newPerson(t, "Ben"), newPerson(t, "Cleo")
		w := newTeam(t, ben, cleo)
		ada, b, c := w.seat(w.ada), w.seat(ben), w.seat(cleo)
		wrote := b.write("scene 1")
		last := wrote[len(wrote)-1]
		if got := ada.hand(b, b.carried(last)); got != "ignored" || ada.Frontier() != 0 {
			t.Errorf("before the introduction: %s", got)
		}
		stolen := refit(t, b.carried(wrote[0]), func(m *message) { m.Identity, m.Device = cleo.id.Raw, cleo.dev.Raw })
		if got := ada.hand(c, stolen); got != "rejected" || ada.Frontier() != 0 {
			t.Errorf("with another's certificates: %s", got)
		}
		for _, e := range wrote {
			if got := ada.hand(b, b.carried(e)); got != "accepted" {
				t.Fatalf("%d: %s", e.Seq, got)
			}
		}
		text, frontier := ada.text(), ada.cfg.Journal.Frontier()
		if got := ada.hand(b, b.carried(wrote[0])); got != "ignored" || ada.text() != text || !slices.Equal(ada.cfg.Journal.Frontier(), frontier) {
			t.Errorf("replayed: %s", got)
		}
		kind, body := governanceRevoke(t, ada.gov, ben)
		ada.gov.learn(w.add(kind, body))
		ada.cfg.Journal.Changed()
		if got := ada.hand(c, b.carried(b.write("scene 2")[0])); got != "rejected" || strings.Contains(ada.text(), "scene 2") {
			t.Errorf("after the removal: %s", got)
		}
	})
}

// A presence that comes a moment before what is needed to judge it is shown as soon as that is here.
func TestEarlyPresence(t *testing.T) {
	ben := newPerson(t, "Ben")
	w := newTeam(t, ben)
	for name, missing := range map[string]struct {
		hide, bring func(ada, b *seat, intro []byte)
	}{
		"introduction, by gossip": {
			func(*seat, *seat, []byte) {},
			func(ada, b *seat, intro []byte) { ada.hand(b, intro) },
		},
		"introduction, by anti-entropy": {
			func(*seat, *seat, []byte) {},
			func(ada, b *seat, _ []byte) {
				runs, err := b.cfg.Journal.Runs(ben.dev.ID, 0, 0, 1)
				if err == nil {
					err = ada.cfg.Journal.AcceptRun(t.Context(), runs[0], ben.dev.ID)
				}
				if err != nil {
					t.Fatal(err)
				}
			},
		},
		"key": {
			func(ada, b *seat, intro []byte) { ada.hand(b, intro); ada.gov.setBlind(true) },
			func(ada, _ *seat, _ []byte) { ada.gov.setBlind(false) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			ada, b := w.seat(w.ada), w.seat(ben)
			intro := b.carried(b.write("x")[0])
			missing.hide(ada, b, intro)
			for n := range uint64(3) {
				if got := ada.hand(b, carriedEphemeral(b.presenceRecord(n+1, docA, `"`+strings.Repeat("x", int(n))+`"`))); got != "ignored" {
					t.Fatal(got)
				}
			}
			if ada.takeEarly(nil); len(ada.Presence(docA)) != 0 {
				t.Fatal("shown before it can be judged")
			}
			missing.bring(ada, b, intro)
			if left := ada.takeEarly(nil); left {
				t.Error("something is left")
			}
			if got := ada.Presence(docA); len(got) != 1 || string(got[0].JSON) != `"xx"` {
				t.Errorf("present: %v", got)
			}
		})
	}
}

// Messages of one sender arrive in order or not at all, also if the first came too early.
func TestEarlyMessagesKeepTheirOrder(t *testing.T) {
	ben := newPerson(t, "Ben")
	w := newTeam(t, ben)
	ada, b := w.seat(w.ada), w.seat(ben)
	intro := b.write("x")[0]
	say := func(n uint64) []byte {
		return carriedEphemeral(b.ephemeral(envelope.Message, n, wire.Marshal(messagePayload{Topic: "chat", Payload: []byte{byte(n)}})))
	}
	ada.hand(b, say(1))
	ada.hand(b, say(3))
	ada.hand(b, say(2))
	ada.hand(b, b.carried(intro))
	ada.hand(b, say(4))
	ada.hand(b, say(3))
	ada.hand(b, say(6))
	ada.hand(b, say(5))
	var got []byte
	for _, m := range ada.received {
		if m.From != ben.id.Member() || m.Device != ben.dev.ID || m.Topic != "chat" {
			t.Errorf("message %+v", m)
		}
		got = append(got, m.Payload...)
	}
	if !slices.Equal(got, []byte{1, 2, 3, 4, 6}) {
		t.Errorf("received %v", got)
	}
}

// Envelopes that name governance events which are not here yet go to the journal, which keeps them until they are.
func TestLaterEnvelopes(t *testing.T) {
	ben, cleo := newPerson(t, "Ben"), newPerson(t, "Cleo")
	w := newTeam(t, ben)
	behind := w.view(w.ada)
	w.admit(governance.Editor, cleo)
	ada, b := w.seatAt(behind), w.seat(ben)
	for i, e := range b.write("x") {
		want := "ignored"
		if got := ada.hand(b, b.carried(e)); got != want {
			t.Fatalf("%d: %s", i, got)
		}
		for len(ada.later) > 0 {
			ada.take(t.Context(), <-ada.later)
		}
	}
	if ada.text() != "" {
		t.Fatal("shown before it can be judged")
	}
	ada.gov.learn(w.events[len(w.events)-1])
	ada.cfg.Journal.Changed()
	if ada.Frontier() == 0 {
		t.Error("the introduction was lost")
	}
}

// Hints above what one forwarder may give become one round a moment later, so that the last one is not lost.
func TestTooManyHints(t *testing.T) {
	ben := newPerson(t, "Ben")
	w := newTeam(t, ben)
	ada, b := w.seat(w.ada), w.seat(ben)
	for n := range uint64(200) {
		ada.hand(b, headOf2(ben, n+1))
	}
	if n := ada.gapsAsked(); n != hintBurst {
		t.Errorf("%d rounds were asked for at once", n)
	}
	var at time.Time
	for range 100 {
		wait := ada.payRound(ada.now(), &at)
		ada.hand(b, headOf2(ben, 1000))
		ada.pass(min(wait, owedEvery/4))
	}
	if n := ada.gapsAsked(); n < 10 || n > 100*hintRate {
		t.Errorf("%d rounds were asked for in %v", n, 100*owedEvery/4)
	}
	ada.hints = newLimiter(hintRate, hintBurst)
	ada.pass(time.Minute)
	ada.payRound(ada.now(), &at)
	ada.gapsAsked()
	ada.pass(time.Minute)
	if ada.payRound(ada.now(), &at); ada.gapsAsked() != 0 {
		t.Error("a round is asked for that nobody gave a reason for")
	}
}
