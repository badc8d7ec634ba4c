package foundation

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/journal"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenPath = "../../testdata/foundation/frames.json"

// golden is the content of the vector file. Nothing in it is random: all of it is made anew and compared.
type golden struct {
	Comment string        `json:"comment"`
	Frames  []goldenFrame `json:"frames"`
	Refused []goldenFrame `json:"refused"`
}

// goldenFrame is a frame's content without its length.
type goldenFrame struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // opening, frontier, ask, offer, wish
	Hex  string `json:"hex"`
}

func id(n byte) (b [32]byte) { b[0], b[31] = n, 0xee; return b }

func somePlaces() []place {
	return []place{
		{Device: id(1), ChainNo: 0, Seq: 7, ID: id(0xa1)},
		{Device: id(1), ChainNo: 2, Seq: 1, ID: id(0xa2)},
		{Device: id(2), ChainNo: 0, Seq: 1 << 33, ID: id(0xa3)},
	}
}

func makeGolden() golden {
	g := golden{Comment: "frames of both protocols, hex, without their length. Written by go test ./sync/foundation -run Golden -update"}
	add := func(list *[]goldenFrame, name, kind string, v any) {
		raw, ok := v.([]byte)
		if !ok {
			raw = wire.Marshal(v)
		}
		*list = append(*list, goldenFrame{name, kind, hex.EncodeToString(raw)})
	}
	p := somePlaces()
	good, bad := &g.Frames, &g.Refused
	add(good, "opening", "opening", opening{Project: genesis.ProjectID(id(9))})
	add(good, "empty frontier", "frontier", frontier{})
	add(good, "last frame of a frontier, with a fork", "frontier", frontier{Places: p, Forks: []fork{{Device: id(1), ChainNo: 2, Seq: 2}}})
	add(good, "frame of a frontier before another", "frontier", frontier{Places: p[:2], More: true})
	add(good, "ask", "ask", ask{
		Runs:   []wanted{{Device: id(1), ChainNo: 0, After: 7}, {Device: id(2), ChainNo: 3, After: 0}},
		Proofs: []chainKey{{Device: id(1), ChainNo: 2}},
	})
	add(good, "ask for nothing", "ask", ask{})
	add(good, "offer", "offer", offer{Docs: []journal.DocID{{1}, {2}}})
	add(good, "wish", "wish", wish{Docs: []journal.DocID{{2}}})
	add(good, "wish for nothing", "wish", wish{})

	add(bad, "chains out of order", "frontier", frontier{Places: []place{p[1], p[0]}})
	add(bad, "a chain twice", "frontier", frontier{Places: []place{p[0], p[0]}})
	add(bad, "an empty chain", "frontier", frontier{Places: []place{{Device: id(1)}}})
	add(bad, "nothing, and more to come", "frontier", frontier{More: true})
	add(bad, "forks before the last frame", "frontier", frontier{Places: p, Forks: []fork{{Device: id(1), Seq: 2}}, More: true})
	add(bad, "forks out of order", "frontier", frontier{Forks: []fork{{Device: id(2), Seq: 2}, {Device: id(1), Seq: 2}}})
	add(bad, "a fork at no place", "frontier", frontier{Forks: []fork{{Device: id(2)}}})
	add(bad, "asks about 65 chains", "ask", ask{Runs: make([]wanted, 60), Proofs: make([]chainKey, 5)})
	add(bad, "wishes for 5 documents", "wish", wish{Docs: make([]journal.DocID, 5)})
	add(bad, "trailing byte", "opening", append(wire.Marshal(opening{}), 0))
	add(bad, "another record", "ask", opening{})
	return g
}

// read takes a frame apart as a receiver does, and puts it together again.
func read(kind string, raw []byte) (again []byte, err error) {
	var v any
	switch kind {
	case "opening":
		var o opening
		err = decode(raw, &o, maxOpening)
		v = o
	case "frontier":
		v, err = decodeFrontier(raw, chainKey{})
	case "ask":
		v, err = decodeAsk(raw)
	case "offer":
		var o offer
		err = decode(raw, &o, maxOffer)
		v = o
	case "wish":
		v, err = decodeWish(raw)
	}
	if err != nil {
		return nil, err
	}
	return wire.Marshal(v), nil
}

func TestGolden(t *testing.T) {
	made, err := json.MarshalIndent(makeGolden(), "", "  ")
	must(t, err)
	made = append(made, '\n')
	if *update {
		must(t, os.MkdirAll(filepath.Dir(goldenPath), 0o755))
		must(t, os.WriteFile(goldenPath, made, 0o644))
	}
	file, err := os.ReadFile(goldenPath)
	must(t, err)
	if !bytes.Equal(made, file) {
		t.Error("the frames made now are others than those in the file")
	}
	var g golden
	must(t, json.Unmarshal(file, &g))
	for _, f := range g.Frames {
		raw, err := hex.DecodeString(f.Hex)
		must(t, err)
		if again, err := read(f.Kind, raw); err != nil || !bytes.Equal(again, raw) {
			t.Errorf("%s: reads as %x, %v", f.Name, again, err)
		}
	}
	for _, f := range g.Refused {
		raw, err := hex.DecodeString(f.Hex)
		must(t, err)
		if _, err := read(f.Kind, raw); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v; want ErrProtocol", f.Name, err)
		}
	}
}

// A frame goes on after the one before it, not from the beginning.
func TestFrontierFrames(t *testing.T) {
	p := somePlaces()
	if _, err := decodeFrontier(wire.Marshal(frontier{Places: p[2:]}), p[1].chain()); err != nil {
		t.Error(err)
	}
	if _, err := decodeFrontier(wire.Marshal(frontier{Places: p[1:]}), p[1].chain()); !errors.Is(err, ErrProtocol) {
		t.Errorf("a chain in two frames: %v; want ErrProtocol", err)
	}
}

// The largest frames that are sent are within what is received.
func TestCaps(t *testing.T) {
	last := ^byte(0)
	device := identity.DeviceID(bytes.Repeat([]byte{last}, 32))
	f := frontier{Places: make([]place, maxPlaces), Forks: make([]fork, maxForks)}
	for i := range f.Places {
		f.Places[i] = place{Device: device, ChainNo: 1<<32 - 1, Seq: 1<<64 - 1}
		f.Forks[i] = fork{Device: device, ChainNo: 1<<32 - 1, Seq: 1<<64 - 1}
	}
	a := ask{Runs: make([]wanted, maxAsks)}
	for i := range a.Runs {
		a.Runs[i] = wanted{Device: device, ChainNo: 1<<32 - 1, After: 1<<64 - 1}
	}
	for name, c := range map[string]struct {
		v     any
		limit int
	}{
		"opening":  {opening{}, maxOpening},
		"frontier": {f, maxFrontier},
		"ask":      {a, maxAsk},
		"offer":    {offer{Docs: make([]journal.DocID, MaxSnapshots)}, maxOffer},
		"wish":     {wish{Docs: make([]journal.DocID, maxWishes)}, maxWish},
	} {
		if n := len(wire.Marshal(c.v)); n > c.limit {
			t.Errorf("%s of %d bytes, %d are received", name, n, c.limit)
		}
	}
}

// Frames of every size pass as they are, in parts that the other side need not know of.
func TestFrames(t *testing.T) {
	ours, theirs := net.Pipe()
	a, b := &exchange{stream: pipe{ours}}, &exchange{stream: pipe{theirs}}
	defer a.Close()
	for _, n := range []int{0, 1, part - 4, part - 1, part, part + 1, 2 * part, 5*part + 3} {
		want := bytes.Repeat([]byte{byte(n)}, n)
		sent := make(chan error, 1)
		go func() { sent <- a.send(want) }()
		got, err := b.receive(n, idleTime)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("frame of %d bytes: %d bytes, %v", n, len(got), err)
		}
		must(t, <-sent)
	}
}

func FuzzMessages(f *testing.F) {
	kinds := []string{"opening", "frontier", "ask", "offer", "wish"}
	g := makeGolden()
	for _, x := range append(g.Frames, g.Refused...) {
		raw, err := hex.DecodeString(x.Hex)
		must(f, err)
		for i, kind := range kinds {
			if kind == x.Kind {
				f.Add(uint8(i), raw)
			}
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, raw []byte) {
		again, err := read(kinds[int(kind)%len(kinds)], raw)
		if err == nil && !bytes.Equal(again, raw) {
			t.Errorf("one message has two encodings: %x and %x", raw, again)
		}
		if err != nil && !errors.Is(err, ErrProtocol) {
			t.Errorf("untyped error: %v", err)
		}
	})
}

// reader is a stream that holds what a peer has sent.
type reader struct {
	stream
	sent *bytes.Reader
}

func (r reader) Read(b []byte) (int, error) { return r.sent.Read(b) }

func FuzzReceive(f *testing.F) {
	f.Add([]byte{0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0}, uint16(8))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint16(0xffff))
	f.Fuzz(func(t *testing.T, sent []byte, limit uint16) {
		ours, theirs := net.Pipe() // for its deadlines
		defer theirs.Close()
		defer ours.Close()
		x := &exchange{stream: reader{pipe{ours}, bytes.NewReader(sent)}}
		var again []byte
		for {
			b, err := x.receive(int(limit), answerTime)
			if err != nil {
				break
			}
			if len(b) > int(limit) {
				t.Fatalf("frame of %d bytes, %d are allowed", len(b), limit)
			}
			again = append(again, frame(b)...)
		}
		if !bytes.HasPrefix(sent, again) {
			t.Error("other bytes were received than sent")
		}
	})
}
