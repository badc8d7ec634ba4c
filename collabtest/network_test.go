package collabtest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/collabtest"
	"github.com/studio-whip/collab/crdt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// insert types at the beginning of a document's text "body".
func insert(t *testing.T, s *collab.Session, doc, text string) *collab.Doc {
	t.Helper()
	return insertAt(t, s, doc, 0, text)
}

func insertAt(t *testing.T, s *collab.Session, doc string, at int, text string) *collab.Doc {
	t.Helper()
	d, err := s.Doc(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Update(func(tx *crdt.Txn) error { return d.Text("body").Insert(tx, at, text) }); err != nil {
		t.Fatal(err)
	}
	return d
}

// body reads it.
func body(t *testing.T, s *collab.Session, doc string) (text string) {
	t.Helper()
	d, err := s.Doc(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.View(func(tx *crdt.ReadTxn) error { text = d.Text("body").String(tx); return nil }); err != nil {
		t.Fatal(err)
	}
	return text
}

// three is a project of three nodes that know one another.
func three(net *collabtest.Network) (nodes []*collabtest.Node, sessions []*collab.Session) {
	nodes = []*collabtest.Node{net.Node("Ada"), net.Node("Ben"), net.Node("Cy")}
	first := nodes[0].Create("The Last Reel")
	sessions = []*collab.Session{first, nodes[1].Join(first), nodes[2].Join(first)}
	meet(net, 2, sessions...)
	return nodes, sessions
}

// meet waits until each session is connected to so many devices.
func meet(net *collabtest.Network, peers int, sessions ...*collab.Session) {
	net.Wait("all are connected", func() bool {
		for _, s := range sessions {
			if s.Status().Peers != peers {
				return false
			}
		}
		return true
	})
}

// TestRealTime runs a network without a bubble.
func TestRealTime(t *testing.T) {
	net := collabtest.New(t)
	net.Latency(time.Millisecond)
	a := net.Node("Ada").Create("The Last Reel")
	b := net.Node("Ben").Join(a)
	insert(t, a, "script", "INT. HOUSE\n")
	net.Equal("script", a, b)
	if got := body(t, b, "script"); got != "INT. HOUSE\n" {
		t.Errorf("Ben reads %q", got)
	}
}

// TestLatency measures how long an edit is on its way.
func TestLatency(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		nodes, s := three(net)
		net.Link(nodes[0], nodes[2], collabtest.Link{Latency: 2 * time.Second})
		for to, want := range map[int]time.Duration{1: 20 * time.Millisecond, 2: 40 * time.Millisecond} {
			began := time.Now()
			insert(t, s[0], "script", "x")
			net.Equal("script", s[0], s[to])
			if took := time.Since(began); took < want || took > want+100*time.Millisecond {
				t.Errorf("it took %s to %s", took, s[to].Me().Name)
			}
		}
		net.Latency(500 * time.Millisecond)
		began := time.Now()
		insert(t, s[0], "script", "x")
		net.Equal("script", s[0], s[1])
		if took := time.Since(began); took < 500*time.Millisecond || took > 700*time.Millisecond {
			t.Errorf("it took %s over a slow network", took)
		}
	})
}

func TestBandwidth(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		a := net.Node("Ada").Create("The Last Reel")
		net.Bandwidth(1_000_000, 1_000_000)
		slow := net.Node("Ben").Join(a)
		net.Bandwidth(50_000_000, 50_000_000)
		fast := net.Node("Cy").Join(a)
		meet(net, 2, a, slow, fast)
		began := time.Now()
		noise := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 1000)
		for range 10 {
			insert(t, a, "script", noise)
		}
		net.Equal("script", a, fast)
		quick := time.Since(began)
		net.Equal("script", a, slow)
		if took := time.Since(began); took < 2*time.Second || took < 2*quick {
			t.Errorf("450 kB took %s at 1 Mbit/s, %s at 50", took, quick)
		}
	})
}

// TestLoss loses every fifth datagram.
func TestLoss(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		ada, ben := net.Node("Ada"), net.Node("Ben")
		net.Link(ada, ben, collabtest.Link{Latency: 20 * time.Millisecond, Loss: 0.2})
		a := ada.Create("The Last Reel")
		b := ben.Join(a)
		for range 20 {
			insert(t, a, "script", "x")
			insert(t, b, "script", "y")
			time.Sleep(time.Second)
		}
		net.Equal("script", a, b)
		net.Link(ada, ben, collabtest.Link{Loss: 1})
		insert(t, a, "script", "lost")
		time.Sleep(time.Minute)
		if n := a.Status().Peers; n != 0 {
			t.Errorf("connected to %d over a link that loses everything", n)
		}
	})
}

func TestPartition(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		nodes, s := three(net)
		net.Partition(nodes[:1])
		insert(t, s[0], "script", "alone ")
		insert(t, s[1], "script", "together ")
		net.Equal("script", s[1], s[2])
		time.Sleep(2 * time.Minute)
		if a, b := body(t, s[0], "script"), body(t, s[1], "script"); a != "alone " || b != "together " {
			t.Errorf("something crossed the partition: %q, %q", a, b)
		}
		if a, b := s[0].Status().Peers, s[1].Status().Peers; a != 0 || b != 1 {
			t.Errorf("%d and %d connections", a, b)
		}
		net.Partition(nodes[1:2], nodes[2:])
		insert(t, s[2], "script", "also alone ")
		time.Sleep(time.Minute)
		net.Heal()
		meet(net, 2, s...)
		net.Equal("script", s...)
		for _, want := range []string{"alone", "together", "also alone"} {
			if !strings.Contains(body(t, s[0], "script"), want) {
				t.Errorf("%q is lost", want)
			}
		}
	})
}

// TestFirewall keeps strangers out: who is behind it gets out and is answered, but an inviter cannot be reached there.
func TestFirewall(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		ada, ben := net.Node("Ada"), net.Node("Ben")
		ada.Firewall(true)
		a := ada.Create("The Last Reel")
		code, err := a.Invite(t.Context(), collab.InviteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ben.Node.Join(t.Context(), code); !errors.Is(err, collab.ErrUnreachable) {
			t.Fatalf("join: %v; want ErrUnreachable", err)
		}
		ada.Firewall(false)
		ben.Firewall(true)
		b, err := ben.Node.Join(t.Context(), code)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			insert(t, a, "script", "from Ada ")
			insert(t, b, "script", "from Ben ")
			net.Equal("script", a, b)
			time.Sleep(3 * time.Minute)
		}
	})
}

// TestNoDirectWay lets two of three nodes never meet: they converge through the third.
func TestNoDirectWay(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		ada, ben, cy := net.Node("Ada"), net.Node("Ben"), net.Node("Cy")
		net.Link(ben, cy, collabtest.Link{Loss: 1})
		a := ada.Create("The Last Reel")
		b, c := ben.Join(a), cy.Join(a)
		for range 3 {
			insert(t, b, "script", "from Ben ")
			insert(t, c, "script", "from Cy ")
			net.Equal("script", a, b, c)
			time.Sleep(time.Minute)
		}
		if n, m := b.Status().Peers, c.Status().Peers; n != 1 || m != 1 {
			t.Errorf("Ben is connected to %d, Cy to %d", n, m)
		}
	})
}

func TestRestart(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		nodes, s := three(net)
		insert(t, s[1], "script", "before ")
		nodes[1].Stop()
		insert(t, s[0], "script", "meanwhile ")
		net.Equal("script", s[0], s[2])
		time.Sleep(3 * time.Minute)
		nodes[1].Start()
		s[1] = nodes[1].Reopen(s[0].ID())
		net.Equal("script", s...)
		nodes[1].Restart()
		s[1] = nodes[1].Reopen(s[0].ID())
		insert(t, s[1], "script", "after ")
		net.Equal("script", s...)
		for _, want := range []string{"before", "meanwhile", "after"} {
			if !strings.Contains(body(t, s[0], "script"), want) {
				t.Errorf("%q is lost", want)
			}
		}
	})
}

// TestKill kills a node: what was saved comes back, what was typed a moment ago does not, and nobody got it.
func TestKill(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		nodes, s := three(net)
		if err := insert(t, s[1], "script", "saved ").WaitSaved(t.Context()); err != nil {
			t.Fatal(err)
		}
		insert(t, s[1], "script", "in memory ")
		nodes[1].Kill()
		nodes[1].Start()
		s[1] = nodes[1].Reopen(s[0].ID())
		insert(t, s[1], "script", "after ")
		meet(net, 2, s...)
		net.Equal("script", s...)
		if got := body(t, s[0], "script"); got != "after saved " {
			t.Errorf("Ada reads %q", got)
		}
	})
}

// TestKillInRealTime kills a node while it writes.
func TestKillInRealTime(t *testing.T) {
	net := collabtest.New(t)
	ada := net.Node("Ada")
	a := ada.Create("The Last Reel")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d := insert(t, a, "script", "first ")
	saved := make(chan int)
	go func() {
		n := 0
		defer func() { saved <- n }()
		for ctx.Err() == nil {
			err := d.Update(func(tx *crdt.Txn) error { return d.Text("body").Insert(tx, 0, "x") })
			if err != nil || d.WaitSaved(ctx) != nil {
				return
			}
			n++
		}
	}()
	net.Wait("some is typed", func() bool { return len(body(t, a, "script")) > 20 })
	ada.Kill()
	cancel()
	<-saved
	ada.Start()
	if got := body(t, ada.Reopen(a.ID()), "script"); !strings.HasSuffix(got, "first ") || len(got) < 20 {
		t.Errorf("came back with %q", got)
	}
}

// TestBubble makes a network in a bubble of one's own.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := collabtest.New(t)
		a := net.Node("Ada").Create("The Last Reel")
		b := net.Node("Ben", collab.WithJoinPolicy(func(context.Context, collab.JoinRequest) error { return nil })).Join(a)
		began := time.Now()
		time.Sleep(10 * time.Minute)
		insert(t, b, "script", "ten minutes later")
		net.Equal("script", a, b)
		if time.Since(began) < 10*time.Minute {
			t.Error("time stood still")
		}
	})
}
