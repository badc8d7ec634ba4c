package boxkeys

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"os"
	"testing"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenPath = "../../testdata/boxkeys/records.json"

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(dst, src); err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
}

// golden is a device's first key, and the keys of a project where it is retired, another is gone, and two followed.
func golden() (first, project record) {
	key := func(n byte, s State) stored {
		seed := bytes.Repeat([]byte{n}, 32)
		return stored{ID: identity.KemID(kem.NewPrivateKey([32]byte(seed)).Public()), Seed: seed, Made: 1_800_000_000 + uint64(n), State: s}
	}
	f, gone, current := key(1, Current), key(2, Erased), key(3, Current)
	first.Keys = []stored{f}
	f.Seed, f.State, f.Retired = nil, Retired, &governance.EventID{4}
	gone.Seed, gone.Retired, gone.Swept = nil, &governance.EventID{5}, true
	project.Keys = []stored{f, gone, current, key(6, Fresh)}
	return first, project
}

func TestGolden(t *testing.T) {
	type vectors struct {
		First   string `json:"first"`
		Project string `json:"project"`
	}
	first, project := golden()
	want := vectors{hex.EncodeToString(wire.Marshal(first)), hex.EncodeToString(wire.Marshal(project))}
	if *update {
		goldenfile.Write(t, goldenPath, want)
	}
	var got vectors
	goldenfile.Read(t, goldenPath, &got)
	if got != want {
		t.Errorf("the records have another form:\n%+v\n%+v", got, want)
	}
	if _, err := readRecord(wire.Marshal(first), wire.ID{}); err != nil {
		t.Errorf("the first: %v", err)
	}
	if _, err := readRecord(wire.Marshal(project), first.Keys[0].ID); err != nil {
		t.Errorf("a project's: %v", err)
	}
}

// FuzzRecord reads what a vault holds of keys.
func FuzzRecord(f *testing.F) {
	first, project := golden()
	f.Add(wire.Marshal(first), false)
	f.Add(wire.Marshal(project), true)
	f.Fuzz(func(t *testing.T, b []byte, ofProject bool) {
		var id wire.ID
		if ofProject {
			id = first.Keys[0].ID
		}
		r, err := readRecord(b, id)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		if !bytes.Equal(wire.Marshal(r), b) {
			t.Fatal("decoded, but not in its one form")
		}
		for _, k := range r.Keys {
			if (len(k.Seed) == 0) != (k.State == Erased || k.ID == id) {
				t.Fatalf("a key that is %v with %d bytes", k.State, len(k.Seed))
			}
		}
	})
}
