package crdt

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
)

// yjsClient is a client on real Yjs, in a process of its own; see testdata/yjs/tools/peer.mjs.
type yjsClient struct {
	t   *testing.T
	in  *json.Encoder
	out *bufio.Reader
}

func startYjs(t *testing.T) *yjsClient {
	cmd := exec.Command("node", "peer.mjs")
	cmd.Dir = filepath.Join("..", "testdata", "yjs", "tools")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting node: %v", err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	return &yjsClient{t: t, in: json.NewEncoder(in), out: bufio.NewReaderSize(out, 1<<20)}
}

// answer is what a peer says.
type answer struct {
	Error      string
	U          [][]byte
	D1, D2     []byte
	State      any
	SV, V1, V2 []byte
}

func (p *yjsClient) ask(what map[string]any) (a answer) {
	p.t.Helper()
	if err := p.in.Encode(what); err != nil {
		p.t.Fatal(err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		p.t.Fatal(err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		p.t.Fatal(err)
	}
	if a.Error != "" {
		p.t.Fatal(a.Error)
	}
	return a
}

// live is one client of a session: a document of this package with an undo manager, or a peer.
type live struct {
	id   uint64
	doc  *Doc
	undo *Undo
	peer *yjsClient
	has  map[int]bool
}

// TestLiveConformance lets documents of this package and of real Yjs edit together, with late, repeated and reordered
// deliveries in both formats, undo managers, clean-ups, and reverting each other. In the end all must show the same, and encode to the same
// bytes. It runs if COLLAB_CONFORMANCE_SEED is set; see make conformance.
func TestLiveConformance(t *testing.T) {
	base, err := strconv.ParseUint(os.Getenv("COLLAB_CONFORMANCE_SEED"), 10, 32)
	if err != nil {
		t.Skip("needs Node and a seed: make conformance")
	}
	one, two := startYjs(t), startYjs(t)
	kinds := []string{"text", "map", "array", "xml", "rich", "mixed"}
	sessions := 0
	count, err := strconv.ParseUint(cmp.Or(os.Getenv("COLLAB_CONFORMANCE_SESSIONS"), "24"), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		seed := base*1000 + i
		s := session{t: t, rng: rand.New(rand.NewPCG(seed, 17)), seed: seed, kind: kinds[i%6], gc: (base+i)%5 != 0, peerUndo: (base+i)%4 != 3}
		s.start(one, two)
		s.run()
		s.compare()
		if t.Failed() {
			return
		}
		sessions++
	}
	announce(t, fmt.Sprintf("live %d/%d\n", sessions, sessions))
}

// session is one shared document.
type session struct {
	t    *testing.T
	rng  *rand.Rand
	seed uint64
	kind string
	gc   bool

	peerUndo bool
	fx       *fixture
	all      []*live
	log      [][]byte // updates in format v1,
	by       []uint64 // and whose they are
}

var conformanceRoots = map[string]map[string]string{
	"text": {"t": "text"}, "rich": {"t": "text"}, "map": {"m": "map"}, "array": {"a": "array"}, "xml": {"x": "xml"},
	"mixed": {"t": "text", "m": "map", "a": "array", "x": "xml"},
}

func (s *session) start(peers ...*yjsClient) {
	s.fx = &fixture{Kind: s.kind, GC: s.gc, Roots: conformanceRoots[s.kind]}
	for i, p := range peers {
		p.ask(map[string]any{"new": map[string]any{"id": 10 * (i + 1), "kind": s.kind, "gc": s.gc, "seed": s.seed + uint64(i)}})
		s.all = append(s.all, &live{id: uint64(10 * (i + 1)), peer: p, has: map[int]bool{}})
	}
	for id := range uint64(2) {
		l := &live{id: 5 + 10*id, doc: s.fx.doc(5+10*id, WithFormatCleanup()), has: map[int]bool{}}
		l.undo = NewUndo(l.doc, UndoOptions{})
		l.doc.OnUpdate(func(u []byte, o Origin) {
			if o.Local {
				s.emit(l, u)
			}
		})
		s.all = append(s.all, l)
	}
}

func (s *session) emit(by *live, us ...[]byte) {
	for _, u := range us {
		by.has[len(s.log)] = true
		s.log, s.by = append(s.log, u), append(s.by, by.id)
	}
}

func (s *session) run() {
	for range 60 + s.rng.IntN(80) {
		l := s.all[s.rng.IntN(len(s.all))]
		switch what := s.rng.IntN(10); {
		case what < 5 && len(s.log) > 0:
			s.deliver(l, s.rng.IntN(len(s.log)))
		case what == 5 && l.doc != nil:
			l.undo.Undo()
		case what == 6 && l.doc != nil:
			l.undo.Redo()
		case what == 5 && s.peerUndo:
			s.emit(l, l.peer.ask(map[string]any{"undo": true}).U...)
		case what == 6 && s.peerUndo:
			s.emit(l, l.peer.ask(map[string]any{"redo": true}).U...)
		case what == 7 && l.doc != nil && s.rng.IntN(2) == 0:
			s.revert(l, s.all[s.rng.IntN(len(s.all))].id)
		case l.doc != nil:
			edit(s.t, l.doc, func(tx *Txn) error { return s.edit(tx, l.doc) })
		default:
			s.emit(l, l.peer.ask(map[string]any{"edit": 1 + s.rng.IntN(3)}).U...)
		}
	}
	for done := 0; done < len(s.log); { // clean-ups add to the log
		done = len(s.log)
		for _, l := range s.all {
			for _, i := range s.rng.Perm(done) {
				if !l.has[i] {
					s.deliver(l, i)
				}
			}
		}
	}
}

// deliver gives an update to a client, in one of the formats.
func (s *session) deliver(l *live, i int) {
	u, f := s.log[i], V1
	l.has[i] = true
	if s.rng.IntN(3) == 0 {
		v2, err := Convert(u, V1, V2)
		if err != nil {
			s.t.Fatal(err)
		}
		u, f = v2, V2
	}
	if l.doc == nil {
		s.emit(l, l.peer.ask(map[string]any{"apply": u, "v": int(f)}).U...)
	} else if _, err := l.doc.ApplyUpdate(u, f); err != nil {
		s.t.Fatal(err)
	}
}

// revert reverts what has come of a client's edits.
func (s *session) revert(l *live, bad uint64) {
	source := s.fx.doc(1<<41, WithoutGC())
	var inserted, others []Range
	for i := range s.log {
		if !l.has[i] {
			continue
		}
		if _, err := source.ApplyUpdate(s.log[i]); err != nil {
			s.t.Fatal(err)
		}
		created, gone, err := Inspect(s.log[i])
		if err != nil {
			s.t.Fatal(err)
		}
		if s.by[i] == bad {
			inserted = append(inserted, created...)
		} else {
			others = append(others, gone...)
		}
	}
	_, gone, err := Inspect(mustEncode(s.t, source))
	if err != nil {
		s.t.Fatal(err)
	}
	edit(s.t, l.doc, func(tx *Txn) error {
		_, err := tx.Revert(inserted, without(gone, others), source)
		return err
	})
	if err := l.doc.selfCheck(); err != nil {
		s.t.Fatalf("seed %d: %v", s.seed, err)
	}
}

// edit makes a random edit of one of the roots.
func (s *session) edit(tx *Txn, d *Doc) error {
	switch s.kind {
	case "rich":
		return editFormatted(s.rng, tx, d.Text("t"))
	case "text":
		text := d.Text("t")
		n := text.Len(tx)
		i := wholeIndex(tx, text, s.rng.IntN(n+1))
		if s.rng.IntN(3) == 0 {
			return text.Delete(tx, i, wholeIndex(tx, text, i+s.rng.IntN(n-i+1))-i)
		}
		return text.Insert(tx, i, []string{"a", "bc", "é", "日本", "word "}[s.rng.IntN(5)])
	case "xml":
		x := d.XML("x")
		n := x.Len(tx)
		if n > 0 && s.rng.IntN(3) == 0 {
			return x.Delete(tx, s.rng.IntN(n), 1)
		}
		if v, ok := x.Get(tx, s.rng.IntN(n+1)); ok && v.XMLElement() != nil {
			return v.XMLElement().SetAttr(tx, "k", s.rng.IntN(9))
		} else if ok && v.XMLText() != nil {
			return editFormatted(s.rng, tx, &v.XMLText().Text)
		}
		return x.Insert(tx, s.rng.IntN(n+1), NewXMLElement("p"), NewXMLText())
	}
	for range 8 { // roots that the scenario does not have stay untouched
		switch k := s.rng.IntN(3); {
		case k == 0 && s.fx.Roots["t"] != "":
			return editFormatted(s.rng, tx, d.Text("t"))
		case k == 1 && s.fx.Roots["m"] != "":
			key := fmt.Sprint("k", s.rng.IntN(3))
			values := []any{1, 2.5, nil, "x", []byte{1}, true, NewText(), NewMap(), NewArray(), []any{1, "y"}}
			if s.rng.IntN(4) == 0 {
				return d.Map("m").Delete(tx, key)
			}
			return d.Map("m").Set(tx, key, values[s.rng.IntN(len(values))])
		case k == 2 && s.fx.Roots["a"] != "":
			a := d.Array("a")
			n := a.Len(tx)
			if n > 0 && s.rng.IntN(3) == 0 {
				i := s.rng.IntN(n)
				return a.Delete(tx, i, 1+s.rng.IntN(min(3, n-i)))
			}
			return a.Insert(tx, s.rng.IntN(n+1), 1, "x", []byte{2}, NewMap(), NewText())
		}
	}
	return nil
}

// compare checks that all clients ended equal.
func (s *session) compare() {
	want := s.all[0].peer.ask(map[string]any{"show": true})
	for i, l := range s.all {
		if l.doc == nil {
			a := l.peer.ask(map[string]any{"show": true})
			if shown := reflect.DeepEqual(a.State, want.State) && bytes.Equal(a.SV, want.SV); shown && s.replaced(s.all[len(s.all)-1].doc) {
				continue // Yjs may merge differently then
			}
			if !reflect.DeepEqual(a, want) {
				s.t.Errorf("seed %d (%s): the Yjs clients differ: %s", s.seed, s.kind, difference(a.State, want.State))
			}
			continue
		}
		fresh := s.fx.doc(1 << 40)
		if _, err := fresh.ApplyUpdate(mustEncode(s.t, l.doc)); err != nil {
			s.t.Fatal(err)
		}
		if err := firstError(
			l.doc.selfCheck,
			func() error {
				if got := s.fx.state(l.doc); !reflect.DeepEqual(got, want.State) {
					return fmt.Errorf("state: %s", difference(got, want.State))
				}
				return same("state vector", l.doc.StateVector(), want.SV)
			},
			func() error {
				err := s.fx.encodes(fresh, nil, want.V1, want.V2)
				if err != nil && s.replaced(l.doc) {
					s.t.Logf("seed %d (%s): client %d: other bytes than Yjs for neighbours that never met", s.seed, s.kind, i)
					return nil
				}
				return err
			},
		); err != nil {
			s.t.Errorf("seed %d (%s): client %d: %v", s.seed, s.kind, i, err)
		}
	}
}

// replaced says whether the document has put another right neighbour in the place of one that was named: bringing back the
// contents of nested types, Yjs names neighbours that never met (SPEC.md 1.4), and writes what it named again.
func (s *session) replaced(d *Doc) bool {
	for _, b := range s.log {
		us, err := decodeAll(V1, b)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, w := range us[0].structs {
			it := d.items.at(d.find(d.clientIndex[us[0].ids[w.client]], w.clock))
			if it.kind == kindGC || w.kind == kindGC || w.rightClient == noClient {
				continue
			}
			if it.rightClient == noClient || d.clients[it.rightClient].id != us[0].ids[w.rightClient] || it.rightClock != w.rightClock {
				return true
			}
		}
	}
	return false
}
