package boxkeys

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/file"
	"github.com/studio-whip/collab/keystore/memory"
)

var (
	projectA = genesis.ProjectID{0xa}
	projectB = genesis.ProjectID{0xb}
	event    = governance.EventID{7}
	now      = time.Unix(1_800_000_000, 0)
)

func config(vault keystore.Store, projects ...genesis.ProjectID) Config {
	return Config{
		Vault: vault, Random: rand.Reader, Now: func() time.Time { return now },
		Projects: func() ([]genesis.ProjectID, error) { return projects, nil },
	}
}

func open(t testing.TB, c Config) *Keys {
	t.Helper()
	k, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func ringOf(t testing.TB, k *Keys, p genesis.ProjectID) *Ring {
	t.Helper()
	r, err := k.Project(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// next puts a new key in the place of the current one.
func next(t testing.TB, r *Ring) *kem.PrivateKey {
	t.Helper()
	key, err := r.Prepare(t.Context())
	if err == nil {
		err = r.Follow(t.Context(), identity.KemID(key.Public()), event)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func erase(t testing.TB, r *Ring, ids ...wire.ID) {
	t.Helper()
	if err := r.Erase(t.Context(), ids...); err != nil {
		t.Fatal(err)
	}
}

func opens(t testing.TB, key *kem.PrivateKey, to *kem.PublicKey) bool {
	t.Helper()
	sealed, err := to.Seal(rand.Reader, nil, nil, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := key.Open(nil, nil, sealed)
	return err == nil && string(got) == "secret"
}

func states(r *Ring) (out []State) {
	for _, k := range r.All() {
		out = append(out, k.State)
	}
	return out
}

// The life of keys: prepared twice is one, followed is current, erased is gone, and all of it outlives the program.
func TestLife(t *testing.T) {
	vault := memory.New()
	k := open(t, config(vault, projectA))
	r := ringOf(t, k, projectA)
	first := k.First()
	fresh, err := r.Prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.Prepare(t.Context()); err != nil || again != fresh {
		t.Errorf("prepared again: another key, %v", err)
	}
	if got := states(r); !slices.Equal(got, []State{Current, Fresh}) {
		t.Errorf("prepared: %v", got)
	}
	if again := ringOf(t, open(t, config(vault, projectA)), projectA); !slices.Equal(states(again), states(r)) {
		t.Errorf("after a crash: %v", states(again))
	} else if key, err := again.Prepare(t.Context()); err != nil || !opens(t, key, fresh.Public()) {
		t.Errorf("after a crash another key is prepared: %v", err)
	}
	id := identity.KemID(fresh.Public())
	if err := r.Follow(t.Context(), id, event); err != nil {
		t.Fatal(err)
	}
	all := r.All()
	if !slices.Equal(states(r), []State{Retired, Current}) || all[0].Retired != event || all[0].ID != k.FirstID() || all[1].ID != id {
		t.Errorf("followed: %v", all)
	}
	if err := r.Follow(t.Context(), wire.ID{9}, event); err != nil || !slices.Equal(states(r), []State{Retired, Retired}) {
		t.Errorf("a key that is not here: %v, %v", states(r), err)
	}
	if err := r.Follow(t.Context(), id, event); err != nil || !slices.Equal(states(r), []State{Retired, Current}) {
		t.Errorf("back: %v, %v", states(r), err)
	}
	old, ok := r.Get(all[0].ID)
	if !ok || !opens(t, old, first.Public()) {
		t.Error("a retired key opens nothing")
	}
	erase(t, r, all[0].ID)
	if _, ok := r.Get(all[0].ID); ok || opens(t, old, first.Public()) || k.First() != nil {
		t.Error("an erased key opens")
	}
	if key, ok := r.Get(id); !ok || !opens(t, key, fresh.Public()) {
		t.Error("the current key is gone, too")
	}
	k = open(t, config(vault, projectA))
	if r := ringOf(t, k, projectA); !slices.Equal(states(r), []State{Erased, Current}) || k.First() != nil || k.FirstID() != all[0].ID {
		t.Errorf("after a restart: %v", states(r))
	}
}

// The first key serves all projects: it stays until each has erased it, also those that nobody has open.
func TestFirstKeyIsShared(t *testing.T) {
	vault := memory.New()
	k := open(t, config(vault, projectA, projectB))
	first := k.FirstID()
	a := ringOf(t, k, projectA)
	next(t, a)
	erase(t, a, first)
	if k.First() == nil {
		t.Fatal("one project has ended the key of both")
	}
	if _, ok := a.Get(first); ok {
		t.Error("it opens in the project that erased it")
	}
	k = open(t, config(vault, projectA, projectB))
	if k.First() == nil {
		t.Fatal("a restart has ended the key of both")
	}
	b := ringOf(t, k, projectB)
	held, ok := b.Get(first)
	if !ok {
		t.Fatal("it is gone from the other project")
	}
	next(t, b)
	erase(t, b, first)
	if k.First() != nil || opens(t, held, held.Public()) {
		t.Error("all have erased it, and it opens")
	}
	if c := ringOf(t, k, genesis.ProjectID{0xc}); !slices.Equal(states(c), []State{Erased}) {
		t.Errorf("a later project: %v", states(c))
	} else if key := next(t, c); !opens(t, key, key.Public()) {
		t.Error("a later project gets no key")
	}
}

// A project that is about to be joined is in no list yet.
func TestJoiningProjectKeepsTheFirstKey(t *testing.T) {
	k := open(t, config(memory.New(), projectA))
	a, b := ringOf(t, k, projectA), ringOf(t, k, projectB)
	next(t, a)
	erase(t, a, k.FirstID())
	if k.First() == nil {
		t.Fatal("it is gone")
	}
	if err := k.Forget(t.Context(), projectB); err != nil {
		t.Fatal(err)
	}
	erase(t, a)
	if _, ok := b.Get(k.FirstID()); ok || k.First() != nil {
		t.Error("a project that did not come to be keeps it")
	}
}

// flaky fails one of the writes, as a crash between two would.
type flaky struct {
	keystore.Store
	after int // writes that succeed
}

var errCrash = errors.New("the machine is off")

func (f *flaky) Put(ctx context.Context, name string, secret []byte) error {
	if f.after--; f.after < 0 {
		return errCrash
	}
	return f.Store.Put(ctx, name, secret)
}

// Whichever write of an erasure is the last, the next start ends with the key gone, from the vault's file and from what lies beside it.
func TestCrashWhileErasing(t *testing.T) {
	for after := range 5 {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			dir := t.TempDir()
			vault, err := file.OpenKey(filepath.Join(dir, "vault"), [32]byte{1})
			if err != nil {
				t.Fatal(err)
			}
			k := open(t, config(vault, projectA))
			r := ringOf(t, k, projectA)
			second := next(t, r)
			next(t, r)
			seeds := [][]byte{seedOf(t, vault, nameFirst, 0, wire.ID{}), seedOf(t, vault, nameOf(projectA), 1, k.FirstID())}
			k.cfg.Vault = &flaky{vault, after}
			err = r.Erase(t.Context(), k.FirstID(), identity.KemID(second.Public()))
			if (after < 4) != errors.Is(err, errCrash) || r.Finished() != (after == 0 || after >= 4) {
				t.Fatalf("%d writes: %v; finished: %t", after, err, r.Finished())
			}
			if err := vault.Close(); err != nil {
				t.Fatal(err)
			}
			if vault, err = file.OpenKey(filepath.Join(dir, "vault"), [32]byte{1}); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = vault.Close() }()
			k = open(t, config(vault, projectA))
			r = ringOf(t, k, projectA)
			if after == 0 { // nothing was written: it is done again
				if k.First() == nil {
					t.Fatal("it is gone, and nothing says so")
				}
				erase(t, r, k.FirstID(), identity.KemID(second.Public()))
			}
			if k.First() != nil || !slices.Equal(states(r), []State{Erased, Erased, Current}) {
				t.Errorf("after the start: %v", states(r))
			}
			for _, seed := range seeds {
				if found := anywhere(t, dir, seed); found != "" {
					t.Errorf("a seed is in %s", found)
				}
			}
		})
	}
}

// seedOf reads a seed as a thief with the vault's key would.
func seedOf(t *testing.T, vault keystore.Store, name string, i int, first wire.ID) []byte {
	t.Helper()
	raw, err := vault.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := readRecord(raw, first)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(r.Keys[i].Seed)
}

// anywhere opens all files of a vault's folder with its key, and looks for a secret.
func anywhere(t *testing.T, dir string, secret []byte) string {
	t.Helper()
	for _, name := range []string{"vault", "vault.bak"} {
		copied := filepath.Join(t.TempDir(), "vault")
		copyFile(t, filepath.Join(dir, name), copied)
		vault, err := file.OpenKey(copied, [32]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range []string{nameFirst, nameOf(projectA)} {
			if raw, err := vault.Get(t.Context(), entry); err == nil && bytes.Contains(raw, secret) {
				_ = vault.Close()
				return name
			}
		}
		if err := vault.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return ""
}

func TestFull(t *testing.T) {
	r := ringOf(t, open(t, config(memory.New(), projectA)), projectA)
	for range maxHeld - 1 {
		next(t, r)
	}
	if _, err := r.Prepare(t.Context()); !errors.Is(err, ErrFull) {
		t.Fatalf("%d keys: %v", len(r.All()), err)
	}
	for range 3 * maxKeys { // erased ones make room, and are forgotten in the end
		for _, k := range r.All() {
			if k.State == Retired {
				erase(t, r, k.ID)
			}
		}
		next(t, r)
		if n := len(r.All()); n > maxKeys {
			t.Fatalf("%d keys are remembered", n)
		}
	}
}

func TestVaultFails(t *testing.T) {
	bad := &flaky{memory.New(), 1}
	k := open(t, config(bad, projectA))
	r := ringOf(t, k, projectA)
	if key, err := r.Prepare(t.Context()); !errors.Is(err, errCrash) || key != nil || !slices.Equal(states(r), []State{Current}) {
		t.Errorf("prepared %v: %v", states(r), err)
	}
	if err := r.Erase(t.Context(), k.FirstID()); !errors.Is(err, errCrash) || k.First() == nil {
		t.Errorf("erased: %v", err)
	}
	if _, ok := r.Get(k.FirstID()); !ok {
		t.Error("it is gone here and not there")
	}
	fixed := ringOf(t, Fixed(k.First()), projectA)
	if _, err := fixed.Prepare(t.Context()); !errors.Is(err, ErrFixed) {
		t.Errorf("fixed: %v", err)
	}
	if err := fixed.Erase(t.Context(), k.FirstID()); !errors.Is(err, ErrFixed) {
		t.Errorf("fixed: %v", err)
	}
}

// Records that no version has written are damage.
func TestDamaged(t *testing.T) {
	seed := func(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }
	good := func(n byte, s State) stored {
		return stored{ID: identity.KemID(kem.NewPrivateKey([32]byte(seed(n))).Public()), Seed: seed(n), Made: 1, State: s}
	}
	first := wire.ID{1}
	gone := stored{ID: wire.ID{2}, State: Erased}
	for name, r := range map[string]record{
		"no key":               {},
		"too many":             {Keys: slices.Repeat([]stored{gone}, maxKeys+1)},
		"twice":                {Keys: []stored{good(1, Current), good(1, Fresh)}},
		"two current":          {Keys: []stored{good(1, Current), good(2, Current)}},
		"two fresh":            {Keys: []stored{good(1, Fresh), good(2, Fresh)}},
		"no state":             {Keys: []stored{good(1, 0)}},
		"another state":        {Keys: []stored{good(1, 5)}},
		"an erased key":        {Keys: []stored{good(1, Erased)}},
		"no seed":              {Keys: []stored{{ID: wire.ID{3}, State: Current}}},
		"half a seed":          {Keys: []stored{{ID: wire.ID{3}, State: Current, Seed: seed(1)[:31]}}},
		"another's name":       {Keys: []stored{{ID: wire.ID{3}, State: Current, Seed: seed(1)}}},
		"retired by nothing":   {Keys: []stored{good(1, Retired)}},
		"current since":        {Keys: []stored{{ID: first, State: Current, Retired: &event}}},
		"swept and held":       {Keys: []stored{{ID: first, State: Current, Swept: true}}},
		"the first has a seed": {Keys: []stored{{ID: first, State: Current, Seed: seed(1)}}},
	} {
		if _, err := readRecord(wire.Marshal(r), first); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	vault := memory.New()
	k := open(t, config(vault, projectA))
	if err := vault.Put(t.Context(), nameOf(projectA), []byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Project(t.Context(), projectA); !errors.Is(err, ErrDamaged) {
		t.Errorf("a project's: %v", err)
	}
	if err := vault.Put(t.Context(), nameFirst, []byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), config(vault)); !errors.Is(err, ErrDamaged) {
		t.Errorf("the first: %v", err)
	}
}

func TestNothingIsPrinted(t *testing.T) {
	seed := bytes.Repeat([]byte{0xab}, 32)
	k := stored{ID: identity.KemID(kem.NewPrivateKey([32]byte(seed)).Public()), Seed: seed, Made: 1, State: Current}
	r := record{Keys: []stored{k}}
	vault := memory.New()
	if err := put(t.Context(), vault, nameFirst, &r); err != nil {
		t.Fatal(err)
	}
	keys := open(t, config(vault))
	ring := ringOf(t, keys, projectA)
	for _, v := range []any{k, &k, r, &r, keys, ring, ring.All()} {
		js, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, out := range []string{fmt.Sprintf("%v %+v %#v %x", v, v, v, v), string(js)} {
			for _, s := range []string{"abababab", "171 171", "171, 171", "0xab, 0xab", "q6urq6ur"} {
				if strings.Contains(out, s) {
					t.Errorf("%T shows a seed", v)
				}
			}
		}
	}
}

// A record that says nothing of the device's first key, as one that another device has left, is damage and no panic.
func TestRecordOfOtherFirstKey(t *testing.T) {
	ctx := t.Context()
	vault := memory.New()
	id := genesis.ProjectID{1}
	cfg := Config{Vault: vault, Random: rand.Reader, Now: time.Now, Projects: func() ([]genesis.ProjectID, error) { return []genesis.ProjectID{id}, nil }}
	k, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	k.Close()
	if err := put(ctx, vault, nameOf(id), &record{Keys: []stored{{ID: wire.ID{1}, Made: 1, State: Erased}}}); err != nil {
		t.Fatal(err)
	}
	if k, err = Open(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if _, err := k.Project(ctx, id); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
}
