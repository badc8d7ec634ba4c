package foundation

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/journal"
	"github.com/studio-whip/collab/sync/membership"
)

// pipe is a stream in memory: what one side writes waits until the other reads.
type pipe struct{ net.Conn }

func (p pipe) Reset() error { return p.Close() }

// alone is a project on a device without a network, within the test's bubble. mallory is a member of it.
func alone(t *testing.T) (anna *room, mallory membership.Self) {
	t.Helper()
	n := &node{t: t, name: "anna", self: selfOf(t, "anna"), server: newServer(nil, nil)}
	n.reg = membership.NewRegistry(membership.RegistryConfig{Self: n.self})
	t.Cleanup(func() { must(t, n.reg.Close()) })
	anna, mallory = n.found(), selfOf(t, "mallory")
	_, err := anna.p.Propose(t.Context(), governance.KindAdmit, governance.Admit{
		Role: governance.Editor, Identity: mallory.Identity.Raw, Device: mallory.Device.Raw,
	})
	must(t, err)
	anna.write("script", "text")
	return anna, mallory
}

// frame is what a peer writes for a message.
func frame(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// expect reads and drops n frames; false if the other side hangs up.
func expect(c net.Conn, n int) bool {
	for range n {
		var head [4]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return false
		}
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:]))); err != nil {
			return false
		}
	}
	return true
}

// drain reads until the other side hangs up.
func drain(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// say writes; false if the other side hangs up.
func say(c net.Conn, b []byte) bool {
	_, err := c.Write(b)
	return err == nil
}

// hostile is a peer's conduct, with which error it must end, nil for any, and by when.
type hostile struct {
	name   string
	act    func(c net.Conn)
	want   error
	within time.Duration
}

func manyPlaces(from, n int) []place {
	out := make([]place, n)
	for i := range out {
		binary.BigEndian.PutUint64(out[i].Device[:], uint64(from+i+1))
		out[i].Seq = 1
	}
	return out
}

// conduct is what a peer may do when it is asked for something: the same on both sides of both protocols.
func conduct(limit int) []hostile {
	long := binary.BigEndian.AppendUint32(nil, uint32(limit+1))
	return []hostile{
		{"silence", drain, ErrStalled, idleTime},
		{"hangs up", func(c net.Conn) {}, nil, 0},
		{"length and silence", func(c net.Conn) { say(c, binary.BigEndian.AppendUint32(nil, uint32(limit))); drain(c) }, ErrStalled, 2 * idleTime},
		{"too long a frame", func(c net.Conn) { say(c, long); drain(c) }, ErrProtocol, 0},
		{"longest of all frames", func(c net.Conn) { say(c, []byte{0xff, 0xff, 0xff, 0xff}); drain(c) }, ErrProtocol, 0},
		{"garbage", func(c net.Conn) { say(c, frame([]byte("garbage"))); drain(c) }, ErrProtocol, 0},
		{"half a frame", func(c net.Conn) { say(c, frame(make([]byte, 32))[:20]) }, nil, 0},
	}
}

// Nobody who leads or follows an exchange and does not keep to it holds the other side for longer than the deadlines.
func TestHostilePeers(t *testing.T) {
	lead := func(cases ...hostile) []hostile {
		for i, c := range cases {
			cases[i].act = func(conn net.Conn) {
				go drain(conn) // our frontier, asks and wishes
				c.act(conn)
			}
		}
		return cases
	}
	t.Run("answers", func(t *testing.T) {
		cases := conduct(maxFrontier)
		cases = append(cases,
			hostile{"frontier without end", func(c net.Conn) {
				for i := 0; say(c, frame(wire.Marshal(frontier{Places: manyPlaces(i*100, 100), More: true}))); i++ {
				}
			}, ErrProtocol, 0},
			hostile{"frontier in slow frames", func(c net.Conn) {
				for i := 0; say(c, frame(wire.Marshal(frontier{Places: manyPlaces(i, 1), More: true}))); i++ {
					time.Sleep(answerTime - time.Second)
				}
			}, ErrStalled, exchangeTime},
			hostile{"empty frames that promise more", func(c net.Conn) {
				say(c, frame(wire.Marshal(frontier{More: true})))
				drain(c)
			}, ErrProtocol, 0},
			hostile{"runs without end", func(c net.Conn) {
				more := place{Device: selfOf(t, "anna").Device.ID, Seq: 1000}
				say(c, frame(wire.Marshal(frontier{Places: []place{more}})))
				for say(c, frame(make([]byte, 1<<20))) {
				}
			}, ErrProtocol, 0},
			hostile{"tiny runs without end", func(c net.Conn) {
				more := place{Device: selfOf(t, "anna").Device.ID, Seq: 1000}
				say(c, frame(wire.Marshal(frontier{Places: []place{more}})))
				for say(c, frame([]byte{1})) {
					time.Sleep(time.Second)
				}
			}, ErrStalled, exchangeTime},
			hostile{"a run too large", func(c net.Conn) {
				more := place{Device: selfOf(t, "anna").Device.ID, Seq: 1000}
				say(c, frame(wire.Marshal(frontier{Places: []place{more}})))
				say(c, binary.BigEndian.AppendUint32(nil, MaxRun+1))
				drain(c)
			}, ErrProtocol, 0},
			hostile{"chains out of order", func(c net.Conn) {
				p := manyPlaces(0, 2)
				say(c, frame(wire.Marshal(frontier{Places: []place{p[1], p[0]}})))
				drain(c)
			}, ErrProtocol, 0},
		)
		run(t, lead(cases...), func(f *Foundation) func(context.Context, *exchange) error { return f.leadSync })
	})
	t.Run("asks", func(t *testing.T) {
		cases := conduct(maxAsk)
		for i, c := range cases {
			cases[i].act = func(conn net.Conn) { say(conn, frame(wire.Marshal(frontier{}))); expect(conn, 1); c.act(conn) }
		}
		many := ask{Runs: make([]wanted, maxAsks+1)}
		cases = append(cases,
			hostile{"asks about too many", func(c net.Conn) {
				go drain(c)
				say(c, append(frame(wire.Marshal(frontier{})), frame(wire.Marshal(many))...))
			}, ErrProtocol, 0},
			hostile{"asks and takes no answer", func(c net.Conn) {
				say(c, frame(wire.Marshal(frontier{})))
				expect(c, 1)
				say(c, frame(wire.Marshal(ask{Runs: many.Runs[:1]})))
				time.Sleep(2 * idleTime)
			}, ErrStalled, idleTime},
			hostile{"asks without end", func(c net.Conn) {
				go drain(c)
				say(c, frame(wire.Marshal(frontier{})))
				for say(c, frame(wire.Marshal(ask{Runs: many.Runs[:1]}))) {
					time.Sleep(time.Second)
				}
			}, ErrStalled, exchangeTime},
		)
		run(t, cases, func(f *Foundation) func(context.Context, *exchange) error { return f.followSync })
	})
	t.Run("offers", func(t *testing.T) {
		cases := conduct(maxOffer)
		offered := func(docs int, act func(c net.Conn)) func(c net.Conn) {
			return func(c net.Conn) {
				say(c, frame(wire.Marshal(offer{Docs: make([]journal.DocID, docs)})))
				act(c)
			}
		}
		cases = append(cases,
			hostile{"snapshots without end", offered(maxWishes, func(c net.Conn) {
				for say(c, frame([]byte{1})) {
				}
			}), nil, 0},
			hostile{"a snapshot too large", offered(1, func(c net.Conn) {
				say(c, binary.BigEndian.AppendUint32(nil, MaxSnapshot+1))
				drain(c)
			}), ErrProtocol, 0},
			hostile{"no snapshot", offered(1, drain), ErrStalled, buildTime},
		)
		run(t, lead(cases...), func(f *Foundation) func(context.Context, *exchange) error { return f.fetch })
	})
	t.Run("wishes", func(t *testing.T) {
		cases := conduct(maxWish)
		cases[0].within = wishTime
		cases[2].within = wishTime + idleTime
		for i, c := range cases {
			cases[i].act = func(conn net.Conn) { expect(conn, 1); c.act(conn) }
		}
		run(t, cases, func(f *Foundation) func(context.Context, *exchange) error { return f.followSnapshots })
	})
}

// run lets a device of the roster behave as each case says and looks at how the other side ends, and when.
func run(t *testing.T, cases []hostile, side func(*Foundation) func(context.Context, *exchange) error) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				anna, mallory := alone(t)
				ours, theirs := net.Pipe()
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					defer theirs.Close()
					c.act(theirs)
				}()
				began := time.Now()
				err := anna.f.exchange(t.Context(), &exchange{stream: pipe{ours}, with: mallory.Device.ID}, side(anna.f))
				if took := time.Since(began); took > c.within {
					t.Errorf("it took %v, at most %v are allowed", took, c.within)
				}
				if c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				<-gone
			})
		})
	}
}

// An announced length costs nothing; a frame that arrives costs at most its size and a half.
func TestReceiveMemory(t *testing.T) {
	for _, c := range []struct{ announced, sent, limit int }{
		{MaxSnapshot, 1000, 1 << 20},
		{16 << 20, 16 << 20, 40 << 20}, // all buffers together, of which two are in use at a time
	} {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			say(theirs, binary.BigEndian.AppendUint32(nil, uint32(c.announced)))
			chunk := make([]byte, 1000)
			for n := 0; n < c.sent; n += len(chunk) {
				if !say(theirs, chunk[:min(len(chunk), c.sent-n)]) {
					return
				}
			}
		}()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b, err := (&exchange{stream: pipe{ours}}).receive(MaxSnapshot, answerTime)
		runtime.ReadMemStats(&after)
		if (err == nil) != (c.announced == c.sent) || err == nil && len(b) != c.sent {
			t.Errorf("%d of %d bytes: %d bytes, %v", c.sent, c.announced, len(b), err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > uint64(c.limit) {
			t.Errorf("%d of %d bytes took %d bytes of memory", c.sent, c.announced, got)
		}
		_ = ours.Close()
	}
}

// A slow line is no silent one: what takes longer than a deadline arrives if each part keeps to it.
func TestSlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		want := make([]byte, 20*part+7)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			for b := frame(want); len(b) > 0; b = b[min(len(b), part/4):] {
				say(theirs, b[:min(len(b), part/4)])
				time.Sleep(idleTime / 5)
			}
		}()
		began := time.Now()
		got, err := (&exchange{stream: pipe{ours}}).receive(MaxRun, idleTime)
		<-gone
		if err != nil || len(got) != len(want) || time.Since(began) < 2*idleTime {
			t.Errorf("%d bytes of %d in %v: %v", len(got), len(want), time.Since(began), err)
		}
	})
}
