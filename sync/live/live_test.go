package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/journal"
	"github.com/studio-whip/collab/sync/membership"
)

// Two people type, see each other and send messages, without one round of anti-entropy.
func TestTwoNodes(t *testing.T) {
	checkLeaks(t)
	ada, ben := newNode(t, "Ada"), newNode(t, "Ben")
	a := ada.found(newWorld())
	b := ben.join(a, governance.Editor)
	settle(t, a, b)
	a.insert("script", "two")
	await(t, "script", "two", a, b)
	b.insert("script", "one ")
	await(t, "script", "one two", a, b)

	doc := a.doc("script").ID
	var seen []string
	var mu sync.Mutex
	defer a.OnPresence(doc, func(st State) { mu.Lock(); defer mu.Unlock(); seen = append(seen, string(st.JSON)) })()
	if err := b.SetPresence(doc, []byte(`{"at":1}`)); err != nil {
		t.Fatal(err)
	}
	within(t, 2*time.Second, "Ben's cursor is seen", func() bool { return slices.Equal(a.present(doc), []string{`{"at":1}`}) })
	if len(b.present(doc)) != 0 || len(a.present(docB)) != 0 {
		t.Error("somebody is seen who is not there")
	}
	if err := b.SetPresence(doc, []byte(`{"at":2}`)); err != nil {
		t.Fatal(err)
	}
	within(t, 2*time.Second, "Ben's cursor moves", func() bool { return slices.Equal(a.present(doc), []string{`{"at":2}`}) })
	b.ClearPresence(doc)
	within(t, 2*time.Second, "Ben leaves", func() bool { return len(a.present(doc)) == 0 })
	eventually(t, "Ada was told of all", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Equal(seen, []string{`{"at":1}`, `{"at":2}`, ``})
	})

	for i := range 20 {
		if err := b.Send(t.Context(), "chat", []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the messages arrive", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return len(a.received) == 20 })
	for i, m := range a.received {
		if m.From != ben.who.id.Member() || m.Topic != "chat" || !bytes.Equal(m.Payload, []byte{byte(i)}) {
			t.Errorf("message %d: %+v", i, m)
		}
	}
	if len(b.received) != 0 {
		t.Error("Ben hears himself")
	}
}

// Whoever comes is seen, and sees who is there, within about a second of having joined.
func TestPresenceOnArrival(t *testing.T) {
	checkLeaks(t)
	ada := newNode(t, "Ada")
	a := ada.found(newWorld())
	doc := docA
	if err := a.SetPresence(doc, []byte(`"Ada"`)); err != nil {
		t.Fatal(err)
	}
	want := []string{`"Ada"`}
	all := []*session{a}
	for _, name := range []string{"Ben", "Cleo", "Dora"} {
		n := newNode(t, name)
		s := n.join(a, governance.Viewer)
		for _, other := range all[1:] {
			eventually(t, other.n.who.name+" has heard of "+name, func() bool { return other.live(n.who.dev.ID) })
			n.connect(other.n)
		}
		if err := s.SetPresence(doc, []byte(`"`+name+`"`)); err != nil {
			t.Fatal(err)
		}
		all, want = append(all, s), append(want, `"`+name+`"`)
		began := time.Now()
		for i, s := range all {
			others := slices.Delete(slices.Clone(want), i, i+1)
			within(t, 5*time.Second, fmt.Sprintf("%s sees %v", s.n.who.name, others), func() bool {
				return slices.Equal(s.present(doc), others)
			})
		}
		t.Logf("all see all %v after %s came", time.Since(began).Round(time.Millisecond), name)
	}
}

// Three in a row: what the first writes reaches the third through the second, and many edits at once all arrive.
func TestThreeInARow(t *testing.T) {
	checkLeaks(t)
	ada, ben, cleo := newNode(t, "Ada"), newNode(t, "Ben"), newNode(t, "Cleo")
	b := ben.found(newWorld())
	a, c := ada.join(b, governance.Editor), cleo.join(b, governance.Editor)
	settle(t, a, b, c)
	for _, s := range []*session{a, b, c} {
		if err := s.SetPresence(docA, []byte(`"`+s.n.who.name+`"`)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "Ada and Cleo see each other through Ben", func() bool {
		a.Renew() // until Ben's router passes on what either publishes
		c.Renew()
		return len(c.present(docA)) == 2 && len(a.present(docA)) == 2
	})
	var typing sync.WaitGroup
	for i, s := range []*session{a, b, c} {
		typing.Go(func() {
			for n := range 30 {
				s.insert("script", fmt.Sprintf("%d.%d ", i, n))
				if n%3 == 0 {
					if err := s.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	typing.Wait()
	eventually(t, "all read the same", func() bool {
		text := a.text("script")
		return strings.Count(text, " ") == 90 && b.text("script") == text && c.text("script") == text
	})
}

// An envelope that is too large for gossip is announced and pulled.
func TestLargeEnvelope(t *testing.T) {
	checkLeaks(t)
	ada, ben := newNode(t, "Ada"), newNode(t, "Ben")
	a := ada.found(newWorld())
	b := ben.join(a, governance.Editor)
	settle(t, a, b)
	before := b.asked()
	paste := strings.Repeat("FADE IN. ", 20_000)
	a.insert("script", paste)
	eventually(t, "Ben hears of it", func() bool { return b.asked() > before })
	if b.text("script") != "" {
		t.Error("it came by gossip")
	}
	b.deaf.Store(false)
	b.gap()
	await(t, "script", paste, b)
	if largest := largestOf(t, a); largest <= MaxMessage {
		t.Errorf("the largest envelope has %d bytes", largest)
	}
}

func largestOf(t *testing.T, s *session) (size int) {
	t.Helper()
	runs, err := s.journal.Runs(s.n.who.dev.ID, 0, 0, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		size = max(size, len(r))
	}
	return size
}

// What was published while somebody's subscription was on its way is not lost for long, though nothing follows it.
func TestMissedEdit(t *testing.T) {
	checkLeaks(t)
	ada, ben := newNode(t, "Ada"), newNode(t, "Ben")
	a := ada.found(newWorld())
	b := ben.join(a, governance.Editor)
	settle(t, a, b)
	ben.host.Disconnect(ada.who.dev.ID)
	eventually(t, "Ada hears that Ben has gone", func() bool { return !ada.subscribed(a.name, ben) })
	a.insert("script", "alone")
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.progress.wait(t.Context())
	ben.connect(ada)
	before := b.asked()
	within(t, 5*time.Second, "Ben hears that something is missing", func() bool { return b.asked() > before })
	b.deaf.Store(false)
	b.gap()
	await(t, "script", "alone", b)
}

// The router forgets a peer's subscriptions when its own stream to that peer ends. They come again.
func TestLostStream(t *testing.T) {
	checkLeaks(t)
	ada, ben := newNode(t, "Ada"), newNode(t, "Ben")
	a := ada.found(newWorld())
	b := ben.join(a, governance.Editor)
	settle(t, a, b)
	streamTo := func(n *node, p *person) *outStream {
		n.gossip.host.mu.Lock()
		defer n.gossip.host.mu.Unlock()
		return n.gossip.host.streams[p.peer()]
	}
	eventually(t, "Ada has a stream to Ben", func() bool { return streamTo(ada, ben.who) != nil })
	old := streamTo(ada, ben.who)
	if err := old.Reset(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Ada has a new stream to Ben", func() bool { s := streamTo(ada, ben.who); return s != nil && s != old })
	eventually(t, "Ada knows again that Ben is subscribed", func() bool { return ada.subscribed(a.name, ben) })
	a.insert("script", "again")
	await(t, "script", "again", b)
	b.insert("script", "and ")
	await(t, "script", "and again", a)
}

// At Close what was just typed still goes out, and goodbye is said; the project can be opened again.
func TestClose(t *testing.T) {
	checkLeaks(t)
	ada, ben := newNode(t, "Ada"), newNode(t, "Ben")
	a := ada.found(newWorld())
	b := ben.join(a, governance.Editor)
	settle(t, a, b)
	if _, err := ben.gossip.Join(b.config()); err == nil {
		t.Error("joined twice")
	}
	if err := b.SetPresence(docA, []byte(`1`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Ben is seen", func() bool { return len(a.present(docA)) == 1 })
	b.insert("script", "first")
	await(t, "script", "first", a)
	b.insert("script", "second ")
	b.insert("script", "last ")
	if err := b.Send(t.Context(), "bye", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Topic.Close(); err != nil {
		t.Fatal(err)
	}
	within(t, 3*time.Second, "what was typed last arrives", func() bool { return a.text("script") == "last second first" })
	within(t, 3*time.Second, "goodbye arrives", func() bool { return len(a.present(docA)) == 0 })
	eventually(t, "the message arrives", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return len(a.received) == 1 })
	if err := b.Topic.Close(); err != nil {
		t.Error(err)
	}
	if err := b.Send(t.Context(), "bye", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("send: %v", err)
	}
	if err := b.SetPresence(docA, []byte(`1`)); !errors.Is(err, ErrClosed) {
		t.Errorf("presence: %v", err)
	}
	b.Edited(docA, []byte{0})
	eventually(t, "Ada hears that Ben has left the topic", func() bool { return !ada.subscribed(a.name, ben) })

	var err error
	if b.Topic, err = ben.gossip.Join(b.config()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Ada hears that Ben is back", func() bool { return ada.subscribed(a.name, ben) })
	a.insert("script", "new ")
	await(t, "script", "new last second first", b)
}

// An edit of who may not write is not tried for ever.
func TestReadOnly(t *testing.T) {
	checkLeaks(t)
	ada, ben := newNode(t, "Ada"), newNode(t, "Ben")
	a := ada.found(newWorld())
	b := ben.join(a, governance.Viewer)
	settle(t, a, b)
	a.insert("script", "x")
	runs, err := a.journal.Runs(ada.who.dev.ID, 0, 0, 1<<20)
	if err != nil || len(runs) == 0 {
		t.Fatal(err)
	}
	b.Edited(docB, []byte{0, 0})
	eventually(t, "Ben is told", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.failed) == 1 })
	if !errors.Is(b.failed[0], journal.ErrReadOnly) {
		t.Errorf("told of %v", b.failed[0])
	}
	if err := b.Flush(t.Context()); err != nil {
		t.Errorf("the edit is still there: %v", err)
	}
}

func TestSendRefused(t *testing.T) {
	w := newTeam(t)
	ada := w.seat(w.ada)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ada.Send(t.Context(), "chat", make([]byte, MaxApplication+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if err := ada.Send(t.Context(), "a\nb", nil); err == nil {
		t.Error("a topic of two lines was taken")
	}
	if err := ada.Send(ended, "chat", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("context: %v", err)
	}
	ada.gov.setBlind(true)
	if err := ada.Send(t.Context(), "chat", nil); !errors.Is(err, ErrNotReady) {
		t.Errorf("without a key: %v", err)
	}
	ada.gov.setBlind(false)
	sent := 0
	var err error
	for range 1000 {
		if err = ada.Send(t.Context(), "chat", nil); err != nil {
			break
		}
		sent++
	}
	if !errors.Is(err, ErrTooFast) || sent != ownBurst-messageReserve {
		t.Errorf("%d messages at once, then %v", sent, err)
	}
}

// Scenario 104, for gossip: a member of one project of a node is told nothing of another one, not even that it is there,
// hears nothing of it and cannot speak in it.
func TestScenario104OtherProjects(t *testing.T) {
	scenario.Run(t, 104, "a member of one project subscribes to another's topic and is grafted: nothing of it is sent", func(t *testing.T) {
		checkLeaks(t)
		ada, ben := newNode(t, "Ada"), newNode(t, "Ben")
		film := ada.found(newWorld())
		b := ben.join(film, governance.Editor)
		comic := ada.found(newWorld())
		cleo, router := newEavesdropper(t, "Cleo")
		c := cleo.adoptOnly(comic)
		settle(t, film, b)

		// Cleo subscribes to the film's topic, whose name she has guessed, and to that of the comic.
		heard := router.subscribe(film.name)
		ours := router.subscribe(comic.name)
		eventually(t, "Cleo hears that Ada is subscribed to the comic", func() bool {
			return len(router.ps.ListPeers(comic.name)) == 1
		})
		eventually(t, "Ada hears that Cleo is", func() bool { return ada.subscribed(comic.name, cleo) })
		film.RosterChanged() // Ada announces once more
		comic.insert("page", "POW")
		film.insert("script", "scene 1")
		await(t, "script", "scene 1", b)
		b.insert("script", "new ")
		await(t, "script", "new scene 1", film)
		if err := film.SetPresence(docA, []byte(`1`)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "Ada is seen", func() bool { return len(b.present(docA)) == 1 })
		comic.insert("page", "BANG ")
		eventually(t, "Cleo hears the comic", func() bool { return ours.count() >= 2 })
		if n := heard.count(); n != 0 {
			t.Errorf("Cleo has heard %d messages of the film", n)
		}
		if peers := router.ps.ListPeers(film.name); len(peers) != 0 {
			t.Error("Cleo was told who is subscribed to the film")
		}

		// She publishes there: a hint, an introduction of hers, and Ben's own words.
		frontier := film.journal.Frontier()
		for _, data := range [][]byte{
			headOf2(ben.who, 1000),
			wire.Marshal(message{Kind: kindIntroduction, Record: []byte{1}, Identity: cleo.who.id.Raw, Device: cleo.who.dev.Raw}),
		} {
			router.force(film.name, data)
		}
		router.force(comic.name, []byte("garbage"))
		film.insert("script", "still ")
		await(t, "script", "still new scene 1", b, film)
		if got := film.journal.Frontier(); len(got) != len(frontier) {
			t.Errorf("%d chains are held, %d were", len(got), len(frontier))
		}
		c.close()
	})
}

// Who was removed from one project and stays connected because of another hears nothing of the first from then on.
func TestRemovedButConnected(t *testing.T) {
	checkLeaks(t)
	ada, ben, cleo := newNode(t, "Ada"), newNode(t, "Ben"), newNode(t, "Cleo")
	film, comic := ada.found(newWorld()), ada.found(newWorld())
	b, c := ben.join(film, governance.Editor), cleo.join(film, governance.Editor)
	other := ben.join(comic, governance.Editor)
	settle(t, film, b, c)
	film.insert("script", "scene 1")
	await(t, "script", "scene 1", b, c)
	if err := b.SetPresence(docA, []byte(`"Ben"`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Ben is seen", func() bool {
		b.Renew() // until Ada's router passes on what he publishes
		return len(film.present(docA)) == 1 && len(c.present(docA)) == 1
	})

	_, err := film.project.Remove(t.Context(), membership.Removal{Member: ben.who.id.Member(), Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all know of the removal", func() bool {
		return !b.live(ben.who.dev.ID) && !c.live(ben.who.dev.ID) && !film.live(ben.who.dev.ID)
	})
	within(t, 2*time.Second, "Ben is seen no more", func() bool { return len(film.present(docA)) == 0 && len(c.present(docA)) == 0 })
	film.insert("script", "secret ")
	c.insert("script", "very ")
	eventually(t, "the others go on", func() bool {
		return strings.Contains(c.text("script"), "secret") && strings.Contains(film.text("script"), "very")
	})
	comic.insert("page", "POW")
	await(t, "page", "POW", other) // still connected, and later than the film's edits
	if got := b.text("script"); got != "scene 1" {
		t.Errorf("the removed reads %q", got)
	}
	if held := b.journal.HeldTo(ada.who.dev.ID, 0); held >= film.journal.HeldTo(ada.who.dev.ID, 0) {
		t.Errorf("the removed holds Ada's envelopes up to %d", held)
	}
}

// eavesdropper is a stock router on somebody's host, which asks for what it likes.
type eavesdropper struct {
	t  *testing.T
	ps *pubsub.PubSub

	topics map[string]*pubsub.Topic
}

// newEavesdropper starts a node whose router is not ours.
func newEavesdropper(t *testing.T, name string) (*node, *eavesdropper) {
	t.Helper()
	n := newBareNode(t, name)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ps, err := pubsub.NewGossipSub(ctx, n.host.MemberHost(),
		pubsub.WithGossipSubProtocols([]protocol.ID{protocolMesh}, features),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(), pubsub.WithFloodPublish(true),
		pubsub.WithMessageIdFn(func(m *pb.Message) string { return string(m.GetData()) }),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.host.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	return n, &eavesdropper{t: t, ps: ps, topics: map[string]*pubsub.Topic{}}
}

// ear counts what is heard on a topic.
type ear struct {
	mu sync.Mutex
	n  int
}

func (e *ear) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.n
}

func (e *eavesdropper) subscribe(name string) *ear {
	e.t.Helper()
	topic, err := e.ps.Join(name)
	if err != nil {
		e.t.Fatal(err)
	}
	sub, err := topic.Subscribe()
	if err != nil {
		e.t.Fatal(err)
	}
	e.topics[name] = topic
	heard := &ear{}
	go func() {
		for {
			msg, err := sub.Next(e.t.Context())
			if err != nil {
				return
			}
			if !msg.Local && len(msg.GetFrom()) == 0 && msg.ReceivedFrom != "" {
				heard.mu.Lock()
				heard.n++
				heard.mu.Unlock()
			}
		}
	}()
	return heard
}

// force publishes to everybody who could listen.
func (e *eavesdropper) force(name string, data []byte) {
	e.t.Helper()
	if err := e.topics[name].Publish(e.t.Context(), data); err != nil {
		e.t.Fatal(err)
	}
}

func headOf2(p *person, seq uint64) []byte {
	return wire.Marshal(message{Kind: kindHead, Head: &head{Device: p.dev.ID, Seq: seq}})
}
