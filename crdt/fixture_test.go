package crdt

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// The fixtures under testdata/yjs were recorded from real Yjs: what every client did, the bytes each transaction
// emitted, in which order they were delivered, and what every client then held.

type fixture struct {
	name    string
	Kind    string
	Clients []uint64
	GC      bool `json:"gc"`
	Split   bool `json:"splitSurrogates"`
	Roots   map[string]string
	Updates []struct {
		By     int
		V1, V2 []byte
	}
	Events []fixtureEvent
	Final  struct {
		State   any
		SVBytes []byte          `json:"svBytes"`
		JSON    json.RawMessage `json:"json"`

		Full1, Full2, Canon1, Canon2 []byte
		Snapshot1, Snapshot2         []byte
	}
	RPos []struct {
		Root     string
		I, Assoc int
		Enc      []byte
		Abs      *int
	}
	Utils struct {
		Merged1, Merged2, MergedSv []byte

		Diff struct {
			SV []byte `json:"sv"`

			U1, Doc1, Doc2 []byte
		}
	}
}

type fixtureEvent struct {
	T       string
	C       int
	From    int
	U       json.RawMessage
	V       int
	Auto    []int
	Ops     []fixtureOp
	SV      json.RawMessage
	D1, D2  []byte
	Pending struct{ Structs, DS bool }
	State   any
}

type fixtureOp struct {
	Op   string
	Path []any
	I, N int
	S    string
	A    json.RawMessage
	V    json.RawMessage
	K    string
	Type string
	VS   []json.RawMessage

	Nodes []string
	D     []struct {
		Insert         json.RawMessage
		Retain, Delete uint32
		Attributes     json.RawMessage
	}
}

// fixtureDir is where fixtures come from; COLLAB_YJS_FIXTURES judges the engine by others. A relative path may be meant
// from where go test was called, the folder above this one.
func fixtureDir() string {
	dir := os.Getenv("COLLAB_YJS_FIXTURES")
	if dir == "" {
		return filepath.Join("..", "testdata", "yjs")
	}
	if _, err := os.Stat(dir); err != nil && !filepath.IsAbs(dir) {
		return filepath.Join("..", dir)
	}
	return dir
}

func loadFixtures(t testing.TB) []*fixture {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(fixtureDir(), "*.json.gz"))
	var out []*fixture
	for _, file := range files {
		fx := &fixture{name: strings.TrimSuffix(filepath.Base(file), ".json.gz")}
		if err := json.Unmarshal(gunzip(t, file), fx); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out = append(out, fx)
	}
	if len(out) == 0 {
		t.Fatalf("no fixtures in %s", fixtureDir())
	}
	return out
}

// someFixtures are the first n, or as many as there are.
func someFixtures(t testing.TB, n int) []*fixture {
	all := loadFixtures(t)
	return all[:min(n, len(all))]
}

func gunzip(t testing.TB, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(z); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (fx *fixture) doc(id uint64, opts ...Option) *Doc {
	opts = append(opts, WithClientID(id))
	if !fx.GC {
		opts = append(opts, WithoutGC())
	}
	return New(opts...)
}

func firstError(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// replay delivers the events as they happened. A client's own transactions reach its document as the bytes that Yjs
// emitted. asSent delivers each update in the format in which it was sent, otherwise all are v1.
func replay(fx *fixture, asSent bool) error {
	docs := make([]*Doc, len(fx.Clients))
	for i := range docs {
		docs[i] = fx.doc(1<<40 + uint64(i)) // never a client of the fixture
	}
	for i, e := range fx.Events {
		d := docs[e.C]
		f, diff := V1, e.D1
		if asSent && e.V == 2 {
			f, diff = V2, e.D2
		}
		var err error
		switch e.T {
		case "op":
			var us []int
			if err = json.Unmarshal(e.U, &us); err == nil {
				err = fx.apply(d, f, us...)
			}
		case "recv":
			var u int
			if err = json.Unmarshal(e.U, &u); err == nil {
				err = fx.apply(d, f, u)
			}
		case "sync":
			_, err = d.ApplyUpdate(diff, f)
		case "check":
			err = fx.check(d, e)
		}
		if err == nil {
			err = fx.apply(d, f, e.Auto...)
		}
		if err != nil {
			return fmt.Errorf("event %d (%s): %w", i, e.T, err)
		}
	}
	return fx.converged(docs)
}

func (fx *fixture) apply(d *Doc, f Format, us ...int) error {
	for _, u := range us {
		b := fx.Updates[u].V1
		if f == V2 {
			b = fx.Updates[u].V2
		}
		if _, err := d.ApplyUpdate(b, f); err != nil {
			return fmt.Errorf("update %d in %v: %w", u, f, err)
		}
	}
	return nil
}

func (fx *fixture) converged(docs []*Doc) error {
	if err := fx.sameState(docs); err != nil {
		return err
	}
	for i, d := range docs {
		if d.Digest() != docs[0].Digest() {
			return fmt.Errorf("client %d: digest differs from that of client 0", i)
		}
	}
	return nil
}

// sameState says whether all documents are sound and show what Yjs showed in the end.
func (fx *fixture) sameState(docs []*Doc) error {
	for i, d := range docs {
		if err := d.selfCheck(); err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
		if got := fx.state(d); !reflect.DeepEqual(got, fx.Final.State) {
			return fmt.Errorf("client %d: state differs: %s", i, difference(got, fx.Final.State))
		}
		if !bytes.Equal(d.StateVector(), fx.Final.SVBytes) {
			return fmt.Errorf("client %d: state vector differs", i)
		}
		if len(d.Pending())+len(d.PendingDeletes()) > 0 {
			return fmt.Errorf("client %d: something still is pending", i)
		}
	}
	return nil
}

// ahead says whether got has everything that want has, and more. A document may get ahead of the Yjs that was recorded
// while that has something pending: Yjs looks at what waits again only when the clock it noted has passed, and it notes
// one clock for several structs that wait on each other. Here every struct is placed as soon as its own predecessors
// are there, so that what a document shows depends on what has arrived and not on the order.
func ahead(got, want map[string]uint64) bool {
	more := false
	for id, clock := range want {
		if got[id] < clock {
			return false
		}
	}
	for id, clock := range got {
		more = more || clock > want[id]
	}
	return more
}

func (fx *fixture) check(d *Doc, e fixtureEvent) error {
	if err := d.selfCheck(); err != nil {
		return err
	}
	var sv map[string]uint64
	if err := json.Unmarshal(e.SV, &sv); err != nil {
		return err
	}
	got := map[string]uint64{}
	for _, c := range d.clients {
		if c.state > 0 {
			got[strconv.FormatUint(c.id, 10)] = uint64(c.state)
		}
	}
	if e.Pending.Structs && ahead(got, sv) {
		return nil
	}
	if !reflect.DeepEqual(got, sv) {
		return fmt.Errorf("state vector is %v, want %v", got, sv)
	}
	if p := len(d.Pending()) > 0; p != e.Pending.Structs {
		return fmt.Errorf("pending structs: %v, want %v", p, e.Pending.Structs)
	}
	if p := len(d.PendingDeletes()) > 0; p != e.Pending.DS {
		return fmt.Errorf("pending deletes: %v, want %v", p, e.Pending.DS)
	}
	if s := fx.state(d); !reflect.DeepEqual(s, e.State) {
		return fmt.Errorf("state differs: %s", difference(s, e.State))
	}
	return nil
}

// replayInOrder delivers the updates that step i lists, for as many steps as there are updates, and then all of them,
// saving and loading the document half way.
func (fx *fixture) replayInOrder(f Format, step func(i int) []int) error {
	d := fx.doc(1 << 40)
	for i := range fx.Updates {
		if err := fx.apply(d, f, step(i)...); err != nil {
			return err
		}
	}
	saved, err := d.EncodeUpdate(nil)
	if f == V2 {
		saved, err = d.EncodeUpdateV2(nil)
	}
	if err != nil {
		return err
	}
	e := fx.doc(1<<40 + 1)
	if _, err := e.ApplyUpdate(saved, f); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	for i := range fx.Updates {
		if err := firstError(func() error { return fx.apply(d, f, i) }, func() error { return fx.apply(e, f, i) }); err != nil {
			return err
		}
	}
	return fx.converged([]*Doc{d, e})
}

// same compares bytes.
func same(what string, got, want []byte) error {
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s: bytes differ\n got %x\nwant %x", what, got, want)
	}
	return nil
}

// canonical loads the full state and encodes it again, which must give the bytes that Yjs gives.
func canonical(fx *fixture) error {
	for _, in := range []struct {
		b []byte
		f Format
	}{{fx.Final.Full1, V1}, {fx.Final.Full2, V2}} {
		d := fx.doc(1<<40, WithFormatCleanup())
		if _, err := d.ApplyUpdate(in.b, in.f); err != nil {
			return err
		}
		if err := fx.encodes(d, nil, fx.Final.Canon1, fx.Final.Canon2); err != nil {
			return fmt.Errorf("loaded from %v: %w", in.f, err)
		}
	}
	return nil
}

// encodes compares what a document encodes.
func (fx *fixture) encodes(d *Doc, sv, v1, v2 []byte) error {
	got1, err := d.EncodeUpdate(sv)
	if err != nil {
		return err
	}
	got2, err := d.EncodeUpdateV2(sv)
	if err != nil {
		return err
	}
	return firstError(
		func() error { return same("v1", got1, v1) },
		func() error { return same("v2", got2, v2) },
	)
}

// cutsPair says whether a state vector ends inside a surrogate pair of an update. Yjs then sends U+FFFD for its second
// half, although the document keeps the pair; this engine sends the pair.
func cutsPair(update, sv []byte) bool {
	us, err := decodeAll(V1, update)
	if err != nil {
		return false
	}
	known, _ := decodeStateVector(sv, Limits{}.withDefaults())
	for i := range us[0].structs {
		w := &us[0].structs[i]
		clock := uint32(known[us[0].ids[w.client]])
		if w.clock < clock && clock < w.end() && us[0].cutAt(w, clock) != clock {
			return true
		}
	}
	return false
}

// withoutDocument merges, cuts and converts the updates.
func withoutDocument(fx *fixture) error {
	var v1, v2 [][]byte
	for i, u := range fx.Updates {
		v1, v2 = append(v1, u.V1), append(v2, u.V2)
		one, err := Convert(u.V2, V2, V1)
		if err != nil {
			return err
		}
		two, err := Convert(one, V1, V2)
		if err != nil {
			return err
		}
		back, err := Convert(two, V2, V1)
		if err != nil {
			return err
		}
		if err := same(fmt.Sprintf("update %d, to v2 and back", i), back, one); err != nil {
			return err
		}
	}
	merged1, err := MergeUpdates(V1, v1...)
	if err != nil {
		return err
	}
	merged2, err := MergeUpdates(V2, v2...)
	if err != nil {
		return err
	}
	sv, err := UpdateStateVector(V1, merged1)
	if err != nil {
		return err
	}
	diff, err := DiffUpdate(V1, merged1, fx.Utils.Diff.SV)
	if err != nil {
		return err
	}
	d := fx.doc(1 << 40)
	if _, err := d.ApplyUpdate(merged2, V2); err != nil {
		return err
	}
	wantDiff := fx.Utils.Diff.U1
	if cutsPair(fx.Utils.Merged1, fx.Utils.Diff.SV) {
		wantDiff = diff
	}
	return firstError(
		func() error { return same("merged v1", merged1, fx.Utils.Merged1) },
		func() error { return same("merged v2", merged2, fx.Utils.Merged2) },
		func() error { return same("state vector of the merged update", sv, fx.Utils.MergedSv) },
		func() error { return same("difference", diff, wantDiff) },
		func() error { return fx.converged([]*Doc{d}) },
	)
}

// syncBytes makes the edits and compares what each client would send on a sync request, pending structs included, and
// the full state of client 0. Edits that cannot be made (see replayEdits) are loaded as Yjs emitted them.
func syncBytes(fx *fixture, loaded map[int]bool) error {
	docs := make([]*Doc, len(fx.Clients))
	waited := make([]bool, len(docs)) // and so may be ahead of the Yjs that was recorded
	ahead := 0
	for i, id := range fx.Clients {
		docs[i] = fx.doc(id, WithFormatCleanup())
	}
	for i, e := range fx.Events {
		d := docs[e.C]
		var err error
		switch e.T {
		case "op":
			var us []int
			if err = json.Unmarshal(e.U, &us); err == nil && loaded[i] {
				err = fx.apply(d, V1, us...)
			} else if err == nil {
				err = d.Update(func(tx *Txn) error { return fx.edit(d, tx, e.Ops) })
			}
		case "recv":
			var u int
			if err = json.Unmarshal(e.U, &u); err == nil {
				err = fx.apply(d, V1, u)
			}
		case "sync":
			var sv []byte
			if err = json.Unmarshal(e.SV, &sv); err != nil {
				return err
			}
			if !bytes.Equal(d.StateVector(), sv) {
				if ahead++; !waited[e.C] || ahead > len(fx.Events)/100 {
					return fmt.Errorf("event %d: state vector differs", i)
				}
			}
			if err := fx.encodes(docs[e.From], sv, e.D1, e.D2); err != nil {
				if ahead++; !waited[e.From] || ahead > len(fx.Events)/100 {
					return fmt.Errorf("event %d: %w", i, err)
				}
			}
			_, err = d.ApplyUpdate(e.D1)
		}
		if err != nil {
			return fmt.Errorf("event %d (%s): %w", i, e.T, err)
		}
		waited[e.C] = waited[e.C] || len(d.Pending()) > 0
	}
	if cutsPair(fx.Final.Full1, fx.Utils.Diff.SV) {
		return fx.encodes(docs[0], nil, fx.Final.Full1, fx.Final.Full2)
	}
	return firstError(
		func() error { return fx.encodes(docs[0], nil, fx.Final.Full1, fx.Final.Full2) },
		func() error { return fx.encodes(docs[0], fx.Utils.Diff.SV, fx.Utils.Diff.Doc1, fx.Utils.Diff.Doc2) },
	)
}

// replayEdits makes the edits through the public API and compares the bytes emitted, those of clean-ups after remote
// edits included. n is how many were compared,
// and behind the events whose edits were not made. An edit whose bytes differ is loaded as Yjs emitted it if its client has
// had something waiting before, and so may be ahead of the Yjs that was recorded (see ahead): the edit then has other
// neighbours here.
func (fx *fixture) replayEdits() (n int, behind map[int]bool, err error) {
	behind = map[int]bool{}
	for {
		n, at, waited, err := fx.replayEditsBut(behind)
		if err == nil || !waited || behind[at] || len(behind) > len(fx.Events)/20 {
			return n, behind, err
		}
		behind[at] = true
	}
}

// replayEditsBut does not make the edits of the events behind. If the bytes of another one differ, at says which, and
// waited whether its client has had something waiting.
func (fx *fixture) replayEditsBut(behind map[int]bool) (n, at int, waited bool, err error) {
	waits := make([]bool, len(fx.Clients))
	docs := make([]*Doc, len(fx.Clients))
	var emitted, emitted2 [][]byte
	for i, id := range fx.Clients {
		docs[i] = fx.doc(id, WithFormatCleanup())
		docs[i].OnUpdate(func(u []byte, o Origin) {
			if o.Local {
				emitted = append(emitted, u)
			}
		})
		docs[i].OnUpdateV2(func(u []byte, o Origin) {
			if o.Local {
				emitted2 = append(emitted2, u)
			}
		})
	}
	for i, e := range fx.Events {
		d := docs[e.C]
		us := e.Auto
		emitted, emitted2 = nil, nil
		switch e.T {
		case "op":
			if err = json.Unmarshal(e.U, &us); err != nil {
				return n, i, false, err
			}
			if behind[i] {
				err = fx.apply(d, V1, us...)
			} else {
				err = d.Update(func(tx *Txn) error { return fx.edit(d, tx, e.Ops) })
			}
		case "recv":
			var u int
			if err = json.Unmarshal(e.U, &u); err == nil {
				err = fx.apply(d, V1, u)
			}
		case "sync":
			_, err = d.ApplyUpdate(e.D1)
		}
		waits[e.C] = waits[e.C] || len(d.Pending()) > 0
		if err != nil {
			return n, i, waits[e.C], fmt.Errorf("event %d: %w", i, err)
		}
		if behind[i] {
			continue
		}
		if len(emitted) != len(us) {
			return n, i, waits[e.C], fmt.Errorf("event %d (%s): %d updates emitted, want %d", i, e.T, len(emitted), len(us))
		}
		for k, u := range us {
			n++
			if err := firstError(
				func() error { return same("emitted v1", emitted[k], fx.Updates[u].V1) },
				func() error { return same("emitted v2", emitted2[k], fx.Updates[u].V2) },
			); err != nil {
				return n, i, waits[e.C], fmt.Errorf("event %d (%s): %w", i, e.T, err)
			}
		}
	}
	if len(behind) > 0 { // clean-ups of edits that Yjs had not placed yet are nobody else's
		return n, 0, false, fx.sameState(docs)
	}
	return n, 0, false, fx.converged(docs)
}

// at returns the type at a path: a root name, then map keys and list indexes.
func (fx *fixture) at(d *Doc, tx *Txn, path []any) (Shared, error) {
	name := path[0].(string)
	var s Shared
	switch fx.Roots[name] {
	case "text":
		s = d.Text(name)
	case "map":
		s = d.Map(name)
	case "array":
		s = d.Array(name)
	default:
		s = d.XML(name)
	}
	for _, step := range path[1:] {
		v, ok := Value{}, false
		switch at := s.(type) {
		case interface {
			Get(Reader, string) (Value, bool)
		}:
			v, ok = at.Get(tx, step.(string))
		case interface {
			Get(Reader, int) (Value, bool)
		}:
			v, ok = at.Get(tx, int(step.(float64)))
		}
		if s = v.Shared(); !ok || s == nil {
			return nil, fmt.Errorf("nothing at %v of %v", step, path)
		}
	}
	return s, nil
}

var fixtureTypes = map[string]Type{"text": NewText(), "map": NewMap(), "array": NewArray(), "xmltext": NewXMLText()}

func (fx *fixture) edit(d *Doc, tx *Txn, ops []fixtureOp) error {
	for _, o := range ops {
		s, err := fx.at(d, tx, o.Path)
		if err != nil {
			return err
		}
		switch s := s.(type) {
		case *Text:
			err = o.onText(tx, s)
		case *XMLText:
			err = o.onText(tx, &s.Text)
		case *Map:
			err = o.onMap(tx, s)
		case *Array:
			err = o.onList(tx, s)
		case *XML:
			err = o.onList(tx, s)
		case *XMLElement:
			switch o.Op {
			case "xattr":
				err = s.SetAttr(tx, o.K, fixtureValue(o.V))
			case "xdelattr":
				err = s.DeleteAttr(tx, o.K)
			default:
				err = o.onList(tx, s)
			}
		}
		if err != nil {
			return fmt.Errorf("%s at %v: %w", o.Op, o.Path, err)
		}
	}
	return nil
}

func (o *fixtureOp) onText(tx *Txn, t *Text) error {
	switch o.Op {
	case "tins":
		return t.Insert(tx, o.I, o.S, fixtureAttrs(o.A)...)
	case "tdel":
		return t.Delete(tx, o.I, o.N)
	case "tfmt":
		return t.Format(tx, o.I, o.N, fixtureAttrs(o.A)...)
	case "temb":
		return t.Embed(tx, o.I, fixtureValue(o.V), fixtureAttrs(o.A)...)
	case "tdelta":
		var steps []Delta
		for _, step := range o.D {
			s := Delta{Retain: int(step.Retain), Erase: int(step.Delete), Attrs: fixtureAttrs(step.Attributes)}
			if step.Insert != nil && json.Unmarshal(step.Insert, &s.Insert) != nil {
				v := fixtureValue(step.Insert)
				s.Embed = &v
			}
			steps = append(steps, s)
		}
		return t.Apply(tx, steps...)
	}
	return fmt.Errorf("unknown edit of a text: %s", o.Op)
}

func (o *fixtureOp) onMap(tx *Txn, m *Map) error {
	switch o.Op {
	case "mset":
		if o.Type != "" {
			return m.Set(tx, o.K, fixtureTypes[o.Type])
		}
		return m.Set(tx, o.K, fixtureValue(o.V))
	case "mdel":
		return m.Delete(tx, o.K)
	case "mclear":
		return m.Clear(tx)
	}
	return fmt.Errorf("unknown edit of a map: %s", o.Op)
}

func (o *fixtureOp) onList(tx *Txn, l interface {
	Insert(*Txn, int, ...any) error
	Delete(*Txn, int, int) error
}) error {
	var vs []any
	switch o.Op {
	case "ains":
		for _, v := range o.VS {
			vs = append(vs, fixtureValue(v))
		}
		if o.Type != "" {
			vs = []any{fixtureTypes[o.Type]}
		}
		return l.Insert(tx, o.I, vs...)
	case "xins":
		for _, n := range o.Nodes {
			t, ok := fixtureTypes[n]
			if name, isElement := strings.CutPrefix(n, "el:"); isElement {
				t, ok = NewXMLElement(name), true
			}
			if !ok {
				return fmt.Errorf("unknown node %s", n)
			}
			vs = append(vs, t)
		}
		return l.Insert(tx, o.I, vs...)
	case "adel", "xdel":
		return l.Delete(tx, o.I, o.N)
	}
	return fmt.Errorf("unknown edit of a list: %s", o.Op)
}
