package collabtest_test

import (
	"testing"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/collabtest"
	"github.com/studio-whip/collab/crdt"
)

// t is the running test's.
var t *testing.T

// TestExamples runs the examples, each of which is a test's body.
func TestExamples(tt *testing.T) {
	for name, example := range map[string]func(){
		"Run": ExampleRun, "New": ExampleNew, "Partition": ExampleNetwork_Partition, "Link": ExampleNetwork_Link,
		"Wait": ExampleNetwork_Wait, "Firewall": ExampleNode_Firewall, "Kill": ExampleNode_Kill,
	} {
		tt.Run(name, func(sub *testing.T) {
			t = sub
			example()
		})
	}
}

// write is what the program under test does.
func write(t *testing.T, s *collab.Session, text string) {
	script, err := s.Doc(t.Context(), "script")
	if err != nil {
		t.Fatal(err)
	}
	if err := script.Update(func(tx *crdt.Txn) error { return script.Text("body").Insert(tx, 0, text) }); err != nil {
		t.Fatal(err)
	}
}

func ExampleRun() {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		ada, ben := net.Node("Ada"), net.Node("Ben")
		a := ada.Create("My film")
		b := ben.Join(a)

		time.Sleep(time.Minute) // of virtual time
		write(t, a, "INT. HOUSE\n")
		net.Equal("script", a, b)
	})
}

func ExampleNew() {
	net := collabtest.New(t) // in real time
	net.Latency(time.Millisecond)
	a := net.Node("Ada").Create("My film")
	b := net.Node("Ben").Join(a)
	write(t, b, "INT. HOUSE\n")
	net.Equal("script", a, b)
}

func ExampleNetwork_Partition() {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		ada, ben := net.Node("Ada"), net.Node("Ben")
		a := ada.Create("My film")
		b := ben.Join(a)

		net.Partition([]*collabtest.Node{ada}, []*collabtest.Node{ben})
		write(t, a, "INT. HOUSE\n")
		write(t, b, "EXT. GARDEN\n")
		time.Sleep(time.Minute)
		net.Heal()
		net.Equal("script", a, b)
	})
}

func ExampleNetwork_Link() {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		net.Bandwidth(1_000_000, 16_000_000) // at home
		ada, ben := net.Node("Ada"), net.Node("Ben")
		net.Link(ada, ben, collabtest.Link{Latency: 150 * time.Millisecond, Loss: 0.01}) // far away
		a := ada.Create("My film")
		b := ben.Join(a)
		write(t, a, "INT. HOUSE\n")
		net.Equal("script", a, b)
	})
}

func ExampleNetwork_Wait() {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		ada, ben := net.Node("Ada"), net.Node("Ben")
		a := ada.Create("My film")
		ben.Join(a)
		ben.Stop()
		net.Wait("Ada is alone", func() bool { return a.Status().Peers == 0 })
	})
}

func ExampleNode_Firewall() {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		ada, ben := net.Node("Ada"), net.Node("Ben")
		ben.Firewall(true)
		a := ada.Create("My film")
		b := ben.Join(a) // Ben calls, Ada answers
		write(t, a, "INT. HOUSE\n")
		net.Equal("script", a, b)
	})
}

func ExampleNode_Kill() {
	collabtest.Run(t, func(t *testing.T, net *collabtest.Network) {
		ada, ben := net.Node("Ada"), net.Node("Ben")
		a := ada.Create("My film")
		b := ben.Join(a)
		write(t, b, "INT. HOUSE\n")
		net.Equal("script", a, b)

		ben.Kill()
		write(t, a, "NIGHT\n")
		ben.Start()
		b = ben.Reopen(a.ID())
		net.Equal("script", a, b)
	})
}
