package collabtest_test

// What the facade promises where a loopback interface cannot show it: over time, distance and broken networks.

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/collabtest"
)

// TestPresenceOfTheLost sees a cursor stay as long as its owner is there, and go when the network has lost them.
func TestPresenceOfTheLost(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		nodes, s := three(net)
		if err := insert(t, s[0], "script", "x").Presence().Set("here"); err != nil {
			t.Fatal(err)
		}
		net.Equal("script", s...)
		d, err := s[1].Doc(t.Context(), "script")
		if err != nil {
			t.Fatal(err)
		}
		seen := func() (n int) {
			for st := range d.Presence().Peers() {
				if st.Who == s[0].Me().ID && string(st.State) == `"here"` {
					n++
				}
			}
			return n
		}
		net.Wait("Ben sees Ada", func() bool { return seen() == 1 })
		for range 3 {
			time.Sleep(time.Minute)
			if seen() != 1 {
				t.Fatal("Ada is there, and Ben does not see her")
			}
		}
		net.Partition(nodes[:1])
		began := time.Now()
		net.Wait("Ben sees Ada no more", func() bool { return seen() == 0 })
		if took := time.Since(began); took > 35*time.Second {
			t.Errorf("it took %s", took)
		}
		net.Heal()
		net.Wait("Ben sees Ada again", func() bool { return seen() == 1 })
	})
}

// TestInviteExpires comes with a code an hour late.
func TestInviteExpires(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		a := net.Node("Ada").Create("The Last Reel")
		code, err := a.Invite(t.Context(), collab.InviteOptions{Expires: time.Hour, Uses: 2})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Minute)
		if _, err := net.Node("Ben").Node.Join(t.Context(), code); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := net.Node("Cy").Node.Join(t.Context(), code); !errors.Is(err, collab.ErrInviteExpired) {
			t.Errorf("join: %v; want ErrInviteExpired", err)
		}
	})
}

// TestJoinOverABadLink joins a project with much in it from the other side of the world, over a line that loses.
func TestJoinOverABadLink(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		ada := net.Node("Ada")
		net.Bandwidth(1_000_000, 1_000_000)
		ben := net.Node("Ben")
		net.Link(ada, ben, collabtest.Link{Latency: 300 * time.Millisecond, Loss: 0.05})
		a := ada.Create("The Last Reel")
		for range 20 {
			insert(t, a, "script", strings.Repeat("All work and no play makes Jack a dull boy. ", 100))
		}
		b := ben.Join(a)
		net.Equal("script", a, b)
		insert(t, b, "script", "THE END\n")
		net.Equal("script", a, b)
	})
}

// TestWaitSyncedAlone waits for somebody who can be reached, and finds them once the network has healed.
func TestWaitSyncedAlone(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		nodes, s := three(net)
		net.Partition(nodes[:1])
		net.Wait("Ada is alone", func() bool { return s[0].Status().Peers == 0 })
		d := insert(t, s[0], "script", "alone ")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := d.WaitSynced(ctx); !errors.Is(err, collab.ErrUnreachable) {
			t.Errorf("synced: %v; want ErrUnreachable", err)
		}
		insert(t, s[1], "script", "together ")
		net.Heal()
		if err := d.WaitSynced(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := body(t, s[0], "script"); !strings.Contains(got, "together") {
			t.Errorf("synced, and reads %q", got)
		}
	})
}

// TestStopInAPartition stops a device whose peers are lost and not yet missed: it does not wait for long, and what was
// typed arrives when it is back.
func TestStopInAPartition(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		nodes, s := three(net)
		net.Partition(nodes[:1])
		insert(t, s[0], "script", "the last words")
		began := time.Now()
		nodes[0].Stop()
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s to stop", took)
		}
		net.Heal()
		time.Sleep(time.Minute)
		if got := body(t, s[1], "script"); got != "" {
			t.Errorf("Ben reads %q of who is not there", got)
		}
		nodes[0].Start()
		s[0] = nodes[0].Reopen(s[1].ID())
		net.Equal("script", s...)
		if got := body(t, s[2], "script"); got != "the last words" {
			t.Errorf("Cy reads %q", got)
		}
	})
}

// TestEventsOfAPartition is told of who goes and comes.
func TestEventsOfAPartition(t *testing.T) {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		nodes, s := three(net)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changes := collab.Subscribe[collab.PeerChanged](ctx, s[1])
		net.Partition(nodes[:1])
		for _, online := range []bool{false, true} {
			if c := <-changes; c.Who != s[0].Me().ID || c.Online != online {
				t.Errorf("got %+v, want online %t of Ada", c, online)
			}
			net.Heal()
		}
	})
}
