package crdt

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/studio-whip/collab/crdt/lib0"
)

// TestMergedInPortions merges the updates of recorded sessions in random portions, again and again until one is left:
// a document must not see a difference, in whatever order and with whatever repetitions it was put together.
func TestMergedInPortions(t *testing.T) {
	for n, fx := range someFixtures(t, 30) {
		rng := rand.New(rand.NewPCG(uint64(n), 3))
		f, all := V1, [][]byte(nil)
		for _, u := range fx.Updates {
			all = append(all, u.V1)
		}
		if n%2 == 1 {
			f, all = V2, nil
			for _, u := range fx.Updates {
				all = append(all, u.V2)
			}
		}
		for range len(all) / 3 {
			all = append(all, all[rng.IntN(len(all))])
		}
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for len(all) > 1 {
			k := 1 + rng.IntN(min(9, len(all)))
			m, err := MergeUpdates(f, all[:k]...)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all[k:], m)
		}
		d := fx.doc(1 << 40)
		if _, err := d.ApplyUpdate(all[0], f); err != nil {
			t.Fatal(err)
		}
		if err := fx.converged([]*Doc{d}); err != nil {
			t.Errorf("%s: %v", fx.name, err)
		}
		halves(t, fx, all[0], f)
	}
}

// halves cuts a merged update at a random state vector: a document that has that much needs only the rest.
func halves(t *testing.T, fx *fixture, merged []byte, f Format) {
	full, err := UpdateStateVector(f, merged)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(full, fx.Final.SVBytes) {
		t.Errorf("%s: state vector of the merged update differs from the document's", fx.name)
	}
	part, err := MergeUpdates(V1, fx.Updates[0].V1, fx.Updates[len(fx.Updates)/2].V1, fx.Updates[len(fx.Updates)/3].V1)
	if err != nil {
		t.Fatal(err)
	}
	d := fx.doc(1 << 40)
	for i := range fx.Updates[:len(fx.Updates)/2] {
		if err := fx.apply(d, V1, i); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.ApplyUpdate(part); err != nil {
		t.Fatal(err)
	}
	rest, err := DiffUpdate(f, merged, d.StateVector())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.ApplyUpdate(rest, f); err != nil {
		t.Fatal(err)
	}
	if err := fx.converged([]*Doc{d}); err != nil {
		t.Errorf("%s: cut update: %v", fx.name, err)
	}
}

// TestMergeNotesGaps merges what does not follow each other.
func TestMergeNotesGaps(t *testing.T) {
	d := New(WithClientID(1))
	var us [][]byte
	d.OnUpdate(func(u []byte, _ Origin) { us = append(us, u) })
	for i := range 5 {
		typeInto(t, d, i, "x")
	}
	m, err := MergeUpdates(V1, us[3], us[0], us[4])
	if err != nil {
		t.Fatal(err)
	}
	created, _, err := Inspect(m)
	if err != nil || len(created) != 2 || created[0] != (Range{1, 0, 1}) || created[1] != (Range{1, 3, 5}) {
		t.Fatalf("created %v, %v", created, err)
	}
	sv, err := UpdateStateVector(V1, m)
	if err != nil || !bytes.Equal(sv, []byte{1, 1, 1}) {
		t.Fatalf("state vector %x, %v", sv, err)
	}
	e := New(WithClientID(2))
	a, err := e.ApplyUpdate(m)
	if err != nil || len(a.Pending) != 1 || textOf(e, "t") != "x" {
		t.Fatalf("%+v, %v, %q", a, err, textOf(e, "t"))
	}
}

func TestUpdatesRefused(t *testing.T) {
	good := []byte{0, 0}
	bad := []byte{0}
	for name, err := range map[string]error{
		"merge":        second(MergeUpdates(V1, good, bad)),
		"merge one":    second(MergeUpdates(V1, bad)),
		"diff":         second(DiffUpdate(V1, bad, nil)),
		"diff by":      second(DiffUpdate(V1, good, []byte{1})),
		"state vector": second(UpdateStateVector(V2, good)),
		"convert":      second(Convert(bad, V1, V2)),
		"format":       second(Convert(good, 9, V2)),
	} {
		var de *DecodeError
		if !errors.As(err, &de) || de.Reason == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := MergeUpdates(V2); err != nil || len(b) != 13 {
		t.Errorf("merging nothing: %x, %v", b, err)
	}
}

func second(_ []byte, err error) error { return err }

// TestMergeBudget merges many small updates, each of which declares as many structs as one may.
func TestMergeBudget(t *testing.T) {
	var infos, lens = []byte{0}, lib0.RunsWriter{}
	for range 1 << 16 {
		lens.Write(1)
	}
	b := []byte{0, 0}
	b = lib0.AppendBuffer(b, []byte{1}) // client 1
	b = append(b, 0, 0)
	b = lib0.AppendBuffer(b, infos)
	b = append(b, 1, 0, 0, 0)
	b = lib0.AppendBuffer(b, lens.Bytes())
	b = append(lib0.AppendUvarint(append(b, 1), 1<<16), 0, 0)
	if _, err := Convert(b, V2, V1); err != nil {
		t.Fatal(err)
	}
	var many [][]byte
	for range 100 {
		many = append(many, b)
	}
	if _, err := MergeUpdates(V2, many...); !errors.Is(err, ErrLimit) {
		t.Errorf("error %v, want ErrLimit", err)
	}
}
