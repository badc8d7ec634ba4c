package crdt

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/studio-whip/collab/internal/testbed/traces"
)

// sessions is a trace of people who write one text at once, each in their own replica. The real one is
// friendsforever-concurrent of josephg/editing-traces; others are made up.
type sessions struct {
	Name   string   `json:"name"`
	EndSHA string   `json:"endSha256,omitempty"` // SHA-256 of the text in the end, in hexadecimal
	Agents int      `json:"agents"`
	Txns   []stroke `json:"txns"`
}

// stroke is one transaction: who makes it, on top of which earlier transactions, and its patches.
type stroke struct {
	agent   int
	parents []int
	patches []traces.Patch
}

func (x *stroke) UnmarshalJSON(b []byte) error {
	var patches [][3]any
	if err := json.Unmarshal(b, &[]any{&x.agent, &x.parents, &patches}); err != nil {
		return err
	}
	for _, p := range patches {
		x.patches = append(x.patches, traces.Patch{At: int(p[0].(float64)), Del: int(p[1].(float64)), Ins: p[2].(string)})
	}
	return nil
}

func (x stroke) MarshalJSON() ([]byte, error) {
	patches := [][3]any{}
	for _, p := range x.patches {
		patches = append(patches, [3]any{p.At, p.Del, p.Ins})
	}
	return json.Marshal([]any{x.agent, x.parents, patches})
}

// loadSessions reads the traces of concurrent sessions in the folder that COLLAB_TRACES names.
func loadSessions(t testing.TB) (out []sessions) {
	files, _ := filepath.Glob(filepath.Join(os.Getenv("COLLAB_TRACES"), "*-concurrent.json.gz"))
	for _, f := range files {
		var s sessions
		if err := json.Unmarshal(gunzip(t, f), &s); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		out = append(out, s)
	}
	return out
}

// replicas plays a trace: one replica for each agent. Before each of its transactions an agent receives, in order, what
// the transactions that it builds on knew.
type replicas struct {
	docs    []*Doc
	has     [][]int    // of each agent: how many of each agent's transactions it has
	own     [][][]byte // of each agent: its updates
	knows   [][]int    // of each transaction: how many of each agent's transactions it builds on, itself included
	emitted []byte     // the update of the transaction that was played last
}

func newReplicas(agents int) *replicas {
	r := &replicas{own: make([][][]byte, agents)}
	for a := range agents {
		d := New(WithClientID(uint64(a + 1)))
		d.OnUpdate(func(u []byte, o Origin) {
			if o.Local {
				r.emitted = u
			}
		})
		r.docs, r.has = append(r.docs, d), append(r.has, make([]int, agents))
	}
	return r
}

// receive gives an agent the transactions of others up to the given ones.
func (r *replicas) receive(agent int, upTo []int) error {
	for from, n := range upTo {
		for ; from != agent && r.has[agent][from] < n; r.has[agent][from]++ {
			if _, err := r.docs[agent].ApplyUpdate(r.own[from][r.has[agent][from]]); err != nil {
				return err
			}
		}
	}
	return nil
}

// play makes one transaction.
func (r *replicas) play(x stroke) error {
	knows := make([]int, len(r.docs))
	for _, p := range x.parents {
		for a, n := range r.knows[p] {
			knows[a] = max(knows[a], n)
		}
	}
	if err := r.receive(x.agent, knows); err != nil {
		return err
	}
	d := r.docs[x.agent]
	text := d.Text("text")
	r.emitted = []byte{0, 0}
	err := d.Update(func(tx *Txn) error {
		for _, p := range x.patches {
			if err := text.Delete(tx, p.At, p.Del); err != nil {
				return err
			}
			if err := text.Insert(tx, p.At, p.Ins); err != nil {
				return err
			}
		}
		return nil
	})
	r.own[x.agent] = append(r.own[x.agent], r.emitted)
	knows[x.agent] = len(r.own[x.agent])
	r.knows = append(r.knows, knows)
	return err
}

// end gives everybody everything, checks that all end equal, and returns the first one's text.
func (r *replicas) end(t testing.TB) string {
	t.Helper()
	var upTo []int
	for _, us := range r.own {
		upTo = append(upTo, len(us))
	}
	for a, d := range r.docs {
		if err := r.receive(a, upTo); err != nil {
			t.Fatal(err)
		}
		if err := d.selfCheck(); err != nil {
			t.Fatal(err)
		}
		if d.Digest() != r.docs[0].Digest() {
			t.Fatalf("session %d ends different from session 0", a)
		}
	}
	reloads(t, r.docs[0])
	return textOf(r.docs[0], "text")
}

// madeUpSessions lets people type at once who hear of each other now and then.
func madeUpSessions(t testing.TB, seed uint64, agents, txns int) (sessions, *replicas) {
	rng := rand.New(rand.NewPCG(seed, 23))
	s, r := sessions{Name: "typists", Agents: agents}, newReplicas(agents)
	last, at, burst := slices.Repeat([]int{-1}, agents), make([]int, agents), make([]int, agents)
	for len(s.Txns) < txns {
		a := rng.IntN(agents)
		x := stroke{agent: a, parents: []int{}}
		if last[a] >= 0 {
			x.parents = append(x.parents, last[a])
		}
		if from := rng.IntN(agents); from != a && last[from] >= 0 && rng.IntN(8) == 0 {
			x.parents = append(x.parents, last[from])
		}
		n := 0
		if err := r.play(stroke{agent: a, parents: x.parents}); err != nil { // hears, and writes nothing
			t.Fatal(err)
		}
		s.Txns = append(s.Txns, stroke{agent: a, parents: x.parents})
		x.parents = []int{len(s.Txns) - 1}
		_ = r.docs[a].View(func(tx *ReadTxn) error {
			n = r.docs[a].Text("text").Len(tx)
			return nil
		})
		if burst[a]--; burst[a] < 0 || at[a] > n {
			at[a], burst[a] = rng.IntN(n+1), rng.IntN(40)
		}
		p := traces.Patch{At: at[a], Ins: []string{"a", "b", " ", "é", "語", "ab ", "\n"}[rng.IntN(7)]}
		if rng.IntN(4) == 0 && at[a] > 0 {
			p = traces.Patch{At: at[a] - 1, Del: 1}
		}
		at[a] = p.At + UTF16Len(p.Ins)
		x.patches = []traces.Patch{p}
		if err := r.play(x); err != nil {
			t.Fatal(err)
		}
		last[a] = len(s.Txns)
		s.Txns = append(s.Txns, x)
	}
	return s, r
}

// TestSessions lets people write one text at once: all replicas end equal, and equal to one that gets everything in one
// piece.
func TestSessions(t *testing.T) {
	for seed := range uint64(6) {
		_, r := madeUpSessions(t, seed, 2+int(seed%3), 1500)
		if r.end(t) == "" {
			t.Error("nothing was written")
		}
	}
	for _, s := range loadSessions(t) {
		text := s.playAll(t).end(t)
		t.Logf("%s: %d transactions, %d characters", s.Name, len(s.Txns), len([]rune(text)))
		if sum := sha256.Sum256([]byte(text)); hex.EncodeToString(sum[:]) != s.EndSHA {
			t.Errorf("%s: not the text that the trace ends in", s.Name)
		}
	}
}

func (s *sessions) playAll(t testing.TB) *replicas {
	r := newReplicas(s.Agents)
	for i, x := range s.Txns {
		if err := r.play(x); err != nil {
			t.Fatalf("%s: transaction %d: %v", s.Name, i, err)
		}
	}
	return r
}

// TestYjsSessions plays concurrent sessions here and on real Yjs: the same text, state vector and bytes in the end, and
// the same bytes emitted by every transaction. It plays the traces in COLLAB_TRACES, and made-up ones. It runs if
// COLLAB_CONFORMANCE_SEED is set; see make conformance.
func TestYjsSessions(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv("COLLAB_CONFORMANCE_SEED"), 10, 32)
	if err != nil {
		t.Skip("needs Node and a seed: make conformance")
	}
	all := loadSessions(t)
	for agents := 2; agents < 4; agents++ {
		s, _ := madeUpSessions(t, seed*10+uint64(agents), agents, 1000)
		all = append(all, s)
	}
	equal := 0
	for _, s := range all {
		if t.Run(s.Name, func(t *testing.T) { s.againstYjs(t) }) {
			equal++
		}
	}
	announce(t, fmt.Sprintf("sessions %d/%d\n", equal, len(all)))
}

func (s *sessions) againstYjs(t *testing.T) {
	in, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "trace.mjs")
	cmd.Dir = filepath.Join("..", "testdata", "yjs", "tools")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v", err)
	}
	var yjs struct {
		Text, Emitted string
		SV, V1, V2    []byte
	}
	if err := json.Unmarshal(out, &yjs); err != nil {
		t.Fatal(err)
	}
	r := newReplicas(s.Agents)
	emitted := sha256.New()
	for i, x := range s.Txns {
		if err := r.play(x); err != nil {
			t.Fatalf("transaction %d: %v", i, err)
		}
		emitted.Write(r.emitted)
	}
	text := r.end(t)
	fx := &fixture{GC: true}
	fresh := fx.doc(1 << 40)
	if _, err := fresh.ApplyUpdate(mustEncode(t, r.docs[0])); err != nil {
		t.Fatal(err)
	}
	if text != yjs.Text {
		t.Errorf("the texts differ: %s", difference(text, yjs.Text))
	}
	if err := firstError(
		func() error { return same("state vector", r.docs[0].StateVector(), yjs.SV) },
		func() error { return fx.encodes(fresh, nil, yjs.V1, yjs.V2) },
	); err != nil {
		t.Error(err)
	}
	if got := hex.EncodeToString(emitted.Sum(nil)); got != yjs.Emitted {
		t.Error("some transaction emits other bytes than on Yjs")
	}
}
