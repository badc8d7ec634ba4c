package crdt

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/studio-whip/collab/crdt/lib0"
)

// TestDigestVectors checks the digest of recorded states (SPEC.md 3). Set COLLAB_WRITE_GOLDEN to write the file.
func TestDigestVectors(t *testing.T) {
	type vector struct{ Name, Update, Digest string }
	file := filepath.Join("..", "testdata", "crdt", "digest.json")
	var vs []vector
	if os.Getenv("COLLAB_WRITE_GOLDEN") != "" {
		vs = append(vs, vector{Name: "empty", Update: "0000"})
		vs = append(vs, vector{Name: "text and map", Update: hex.EncodeToString(mustEncode(t, typedDoc(t)))})
		for _, fx := range someFixtures(t, 6) {
			vs = append(vs, vector{Name: fx.name, Update: hex.EncodeToString(fx.Final.Full1)})
		}
		for i := range vs {
			b, _ := hex.DecodeString(vs[i].Update)
			d := New()
			if _, err := d.ApplyUpdate(b); err != nil {
				t.Fatal(err)
			}
			g := d.Digest()
			vs[i].Digest = hex.EncodeToString(g[:])
		}
		out, _ := json.MarshalIndent(vs, "", " ")
		if err := os.WriteFile(file, append(out, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &vs); err != nil {
		t.Fatal(err)
	}
	if len(vs) < 8 {
		t.Fatalf("%d vectors", len(vs))
	}
	for _, v := range vs {
		b, err := hex.DecodeString(v.Update)
		if err != nil {
			t.Fatal(err)
		}
		d := New()
		if _, err := d.ApplyUpdate(b); err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		if g := d.Digest(); hex.EncodeToString(g[:]) != v.Digest {
			t.Errorf("%s: digest %x, want %s", v.Name, g, v.Digest)
		}
	}
}

// TestDigestSees checks that the digest tells apart what differs, and not what only is written differently.
func TestDigestSees(t *testing.T) {
	digest := func(client uint64, fn func(d *Doc, tx *Txn) error) [32]byte {
		d := New(WithClientID(client))
		edit(t, d, func(tx *Txn) error { return fn(d, tx) })
		return d.Digest()
	}
	set := func(v Value) func(*Doc, *Txn) error {
		return func(d *Doc, tx *Txn) error { return d.Map("m").Set(tx, "k", v) }
	}
	object := func(keys ...string) Value {
		vs := make([]lib0.Any, len(keys))
		for i, k := range keys {
			vs[i] = lib0.String(k)
		}
		return Value{v: lib0.Object(keys, vs)}
	}
	if digest(1, set(object("a", "b"))) != digest(1, set(object("b", "a"))) {
		t.Error("the order of keys changes the digest")
	}
	seen := map[[32]byte]string{}
	for name, g := range map[string][32]byte{
		"client 1":  digest(1, set(object("a"))),
		"client 2":  digest(2, set(object("a"))),
		"null":      digest(1, set(Null())),
		"undefined": digest(1, set(Undefined())),
		"number":    digest(1, set(Value{v: lib0.Int(1)})),
		"bigint":    digest(1, set(BigInt(1))),
		"string":    digest(1, set(Value{v: lib0.String("1")})),
		"text": digest(1, func(d *Doc, tx *Txn) error {
			return d.Text("m").Insert(tx, 0, "1")
		}),
		"other root": digest(1, func(d *Doc, tx *Txn) error {
			return d.Text("n").Insert(tx, 0, "1")
		}),
	} {
		if other, dup := seen[g]; dup {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[g] = name
	}
}
