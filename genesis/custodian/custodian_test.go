package custodian

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/internal/disk"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore/memory"
)

var testTime = time.Unix(1_800_000_000, 0)

// person remembers the phrase that was shown, as if on paper, and types it when asked.
type person struct {
	paper  string
	shown  int
	asked  int
	answer func(generated string) (string, error) // replaces what is typed
}

func (p *person) ask(_ context.Context, generated string) (string, error) {
	if generated != "" {
		p.shown++
		p.paper = generated
	} else {
		p.asked++
	}
	if p.answer != nil {
		return p.answer(generated)
	}
	return p.paper, nil
}

// kind is one sort of custodian. open returns a custodian over the same medium each time, as a new process would.
type kind struct {
	name string
	open func() genesis.Custodian
}

func kinds(t *testing.T) []kind {
	t.Helper()
	cost.ForTests(t)
	dir, ks, p := t.TempDir(), memory.New(), new(person)
	device := memory.NewToken("4242", testPIN)
	return []kind{
		{"file", func() genesis.Custodian { return File(filepath.Join(dir, "shares")) }},
		{"key store", func() genesis.Custodian { return KeyStore(ks) }},
		{"phrase", func() genesis.Custodian { return Phrase(p.ask, filepath.Join(dir, "recovery")) }},
		{"own phrase", func() genesis.Custodian {
			return OwnPhrase(func(context.Context, PhraseQuestion) (string, error) { return goodOwn, nil }, filepath.Join(dir, "own"))
		}},
		{"token", func() genesis.Custodian { return Token(device, "4242", pin(testPIN, nil)) }},
	}
}

func refOf(project byte, x byte) genesis.ShareRef {
	return genesis.ShareRef{Project: genesis.ProjectID{project}, Ceremony: [16]byte{project}, X: x}
}

func TestCustodiansKeepRecallForget(t *testing.T) {
	for _, k := range kinds(t) {
		t.Run(k.name, func(t *testing.T) {
			ctx, share, ref := t.Context(), []byte("the share of a test"), refOf(1, 2)
			if _, err := k.open().Recall(ctx, ref); !errors.Is(err, genesis.ErrNoShare) {
				t.Fatalf("empty medium: %v", err)
			}
			if err := k.open().Forget(ctx, ref); err != nil {
				t.Fatalf("forget nothing: %v", err)
			}
			c := k.open()
			if err := c.Keep(ctx, ref, share); err != nil {
				t.Fatal(err)
			}
			for _, c := range []genesis.Custodian{c, k.open()} {
				if got, err := c.Recall(ctx, ref); err != nil || !bytes.Equal(got, share) {
					t.Fatalf("recall: %q, %v", got, err)
				}
			}
			got, err := c.Recall(ctx, ref)
			if err != nil {
				t.Fatal(err)
			}
			clear(got)
			if again, err := c.Recall(ctx, ref); err != nil || !bytes.Equal(again, share) {
				t.Fatalf("the caller's copy is the custodian's own: %q, %v", again, err)
			}
			if err := c.Keep(ctx, ref, []byte("another share")); !errors.Is(err, ErrOccupied) {
				t.Fatalf("keep over another share: %v", err)
			}
			if _, err := c.Recall(ctx, refOf(1, 3)); !errors.Is(err, genesis.ErrNoShare) {
				t.Fatalf("another x: %v", err)
			}
			for x, want := range map[byte]bool{2: true, 3: false} {
				if there, err := k.open().(genesis.Peeker).Holds(ctx, refOf(1, x)); err != nil || there != want {
					t.Fatalf("holds x = %d: %t, %v", x, there, err)
				}
			}
			if err := c.Keep(ctx, refOf(2, 1), []byte("of another project")); err != nil {
				t.Fatal(err)
			}
			if err := k.open().Forget(ctx, ref); err != nil {
				t.Fatal(err)
			}
			if _, err := k.open().Recall(ctx, ref); !errors.Is(err, genesis.ErrNoShare) {
				t.Fatalf("after forget: %v", err)
			}
			if got, err := k.open().Recall(ctx, refOf(2, 1)); err != nil || string(got) != "of another project" {
				t.Fatalf("forgetting one share took another along: %q, %v", got, err)
			}
		})
	}
}

func TestCustodiansHonourContext(t *testing.T) {
	for _, k := range kinds(t) {
		t.Run(k.name, func(t *testing.T) {
			if err := k.open().Keep(t.Context(), refOf(1, 1), []byte("share")); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			c := k.open()
			if err := c.Keep(ctx, refOf(1, 2), []byte("share")); !errors.Is(err, context.Canceled) {
				t.Errorf("keep: %v", err)
			}
			if _, err := c.Recall(ctx, refOf(1, 1)); !errors.Is(err, context.Canceled) {
				t.Errorf("recall: %v", err)
			}
			if err := c.Forget(ctx, refOf(1, 1)); !errors.Is(err, context.Canceled) {
				t.Errorf("forget: %v", err)
			}
		})
	}
}

func TestFilesArePrivateAndLeaveNothingBehind(t *testing.T) {
	for _, k := range kinds(t) {
		if pathOf(k.open()) == "" {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			c := k.open()
			path := pathOf(c)
			if err := os.WriteFile(disk.Scratch(path), []byte("left by a crash"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := c.Keep(t.Context(), refOf(1, 1), []byte("share")); err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v", info.Mode())
			}
			if err := c.Forget(t.Context(), refOf(1, 1)); err != nil {
				t.Fatal(err)
			}
			for _, p := range []string{path, disk.Scratch(path)} {
				if _, err := os.Lstat(p); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is still there: %v", filepath.Base(p), err)
				}
			}
		})
	}
}

func pathOf(c genesis.Custodian) string {
	switch c := c.(type) {
	case *file:
		return c.path
	case *phrase:
		return c.path
	}
	return ""
}

// Every truncation and every changed byte of a custodian's file is noticed, and the file stays as it was.
func TestDamagedFilesAreNamed(t *testing.T) {
	for _, k := range kinds(t) {
		if pathOf(k.open()) == "" {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			c := k.open()
			path := pathOf(c)
			if err := c.Keep(t.Context(), refOf(1, 1), []byte("the share")); err != nil {
				t.Fatal(err)
			}
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			check := func(what string, bad []byte) {
				t.Helper()
				if err := os.WriteFile(path, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				if _, err := k.open().Recall(t.Context(), refOf(1, 1)); !errors.Is(err, ErrDamaged) {
					t.Errorf("%s: recall: %v", what, err)
				}
				if err := k.open().Keep(t.Context(), refOf(1, 2), []byte("more")); !errors.Is(err, ErrDamaged) {
					t.Errorf("%s: keep: %v", what, err)
				}
				if now, _ := os.ReadFile(path); !bytes.Equal(now, bad) {
					t.Errorf("%s: the damaged file was changed", what)
				}
			}
			for n := range good {
				check(fmt.Sprintf("truncated to %d", n), good[:n])
				bad := bytes.Clone(good)
				bad[n] ^= 0x10
				check(fmt.Sprintf("byte %d changed", n), bad)
			}
			check("trailing byte", append(bytes.Clone(good), 0))
		})
	}
}

func TestFileIsNoOtherThing(t *testing.T) {
	dir := t.TempDir()
	c := File(filepath.Join(dir, "link"))
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "link")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if err := c.Keep(t.Context(), refOf(1, 1), []byte("share")); !errors.Is(err, ErrDamaged) {
		t.Errorf("symbolic link: %v", err)
	}
	if _, err := File(dir).Recall(t.Context(), refOf(1, 1)); !errors.Is(err, ErrDamaged) {
		t.Errorf("folder: %v", err)
	}
	if err := File(filepath.Join(dir, "no medium", "shares")).Keep(t.Context(), refOf(1, 1), []byte("share")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, MaxShareFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := File(big).Recall(t.Context(), refOf(1, 1)); !errors.Is(err, ErrDamaged) {
		t.Errorf("too big a file: %v", err)
	}
}

func TestFileSaysWhatElseItHolds(t *testing.T) {
	c := File(filepath.Join(t.TempDir(), "shares"))
	if err := c.Keep(t.Context(), refOf(1, 1), []byte("share")); err != nil {
		t.Fatal(err)
	}
	other := refOf(1, 1)
	other.Ceremony[0] = 99
	for _, tt := range []struct {
		name string
		ref  genesis.ShareRef
		want error
	}{
		{"ceremony", other, genesis.ErrShareOtherCeremony},
		{"project", refOf(7, 1), genesis.ErrShareForeignProject},
	} {
		_, err := c.Recall(t.Context(), tt.ref)
		if !errors.Is(err, genesis.ErrNoShare) || !errors.Is(err, tt.want) {
			t.Errorf("other %s: %v", tt.name, err)
		}
	}
}

func TestFileIsFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shares")
	content := &shareFile{}
	for i := range MaxShares {
		content.Shares = append(content.Shares, keptShare{Project: genesis.ProjectID{1}, Ceremony: [16]byte{byte(i)}, X: 1, Share: []byte("s")})
	}
	if err := (&file{path}).write(content); err != nil {
		t.Fatal(err)
	}
	if err := File(path).Keep(t.Context(), refOf(9, 1), []byte("share")); err == nil || !strings.HasPrefix(err.Error(), "custodian:") {
		t.Fatalf("one share too many: %v", err)
	}
	if err := File(path).Keep(t.Context(), refOf(9, 1), make([]byte, genesis.MaxShare+1)); err == nil {
		t.Fatal("too big a share was kept")
	}
}

// founder makes a founding over custodians.
func founding(t *testing.T, custodians ...genesis.Custodian) genesis.Founding {
	t.Helper()
	ik := identity.NewIdentityKey(identity.Seed{1})
	id, err := identity.NewIdentityCert(ik, "Ada", wire.ID{9}, testTime)
	if err != nil {
		t.Fatal(err)
	}
	device, err := identity.NewDeviceCert(ik, id.Member(), identity.NewDeviceKeys(identity.Seed{2}, kem.NewPrivateKey([32]byte{3})), 30)
	if err != nil {
		t.Fatal(err)
	}
	return genesis.Founding{
		Title: "My film", Policy: genesis.DefaultPolicy(), Identity: id, Device: device,
		Ceremony: genesis.Ceremony{Threshold: 2, Custodians: custodians},
	}
}

// copyFile carries a medium to another machine.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Scenario 6: each two of three custodians, and all of them, rebuild the same key, each time from an empty directory
// on another machine: new custodian objects, only the media carried over.
func TestScenario6EveryPairRebuildsTheKeyElsewhere(t *testing.T) {
	scenario.Run(t, 6, "each two of three custodians, and all, rebuild the key from an empty directory on another machine", func(t *testing.T) {
		cost.ForTests(t)
		here, ring, p := t.TempDir(), memory.New(), new(person)
		root, err := genesis.Found(t.Context(), rand.Reader, testTime, founding(t,
			File(filepath.Join(here, "stick")), KeyStore(ring), Phrase(p.ask, filepath.Join(here, "recovery"))))
		if err != nil {
			t.Fatal(err)
		}
		if p.shown != 1 || p.asked != 0 {
			t.Fatalf("the ceremony showed the phrase %d times and asked for it %d times", p.shown, p.asked)
		}
		for _, pick := range [][]string{{"stick", "ring"}, {"stick", "phrase"}, {"ring", "phrase"}, {"stick", "ring", "phrase"}} {
			t.Run(strings.Join(pick, "+"), func(t *testing.T) {
				there := t.TempDir()
				var from []genesis.Custodian
				for _, name := range pick {
					switch name {
					case "stick":
						copyFile(t, filepath.Join(here, "stick"), filepath.Join(there, "stick"))
						from = append(from, File(filepath.Join(there, "stick")))
					case "ring":
						from = append(from, KeyStore(ring))
					case "phrase":
						copyFile(t, filepath.Join(here, "recovery"), filepath.Join(there, "recovery"))
						typed := " " + strings.ToUpper(strings.ReplaceAll(p.paper, " ", "\n ")) + "\t"
						from = append(from, Phrase(func(context.Context, string) (string, error) { return typed, nil },
							filepath.Join(there, "recovery")))
					}
				}
				elsewhere, err := genesis.ParseRoot(root.Raw)
				if err != nil {
					t.Fatal(err)
				}
				if err := useRoot(t, elsewhere, from); err != nil {
					t.Fatal(err)
				}
				for _, h := range genesis.CheckShares(t.Context(), elsewhere, from) {
					if h.Err != nil {
						t.Errorf("drill at %s: %v", h.Custodian, h.Err)
					}
				}
			})
		}
	})
}

// useRoot rebuilds the key and checks it against the record.
func useRoot(t *testing.T, root *genesis.Root, from []genesis.Custodian) error {
	t.Helper()
	return genesis.Authorize(t.Context(), root, from, func(a *genesis.Authority) error {
		core := []byte("an act")
		sig, err := a.Sign(sign.EventRoot, core)
		if err != nil {
			return err
		}
		return root.Holders[0].Key.Verify(sign.EventRoot, core, sig)
	})
}

// Phrase, recovery file and one more factor start again where everything else is lost, the root record included.
func TestRecoveryFileCarriesTheRootRecord(t *testing.T) {
	cost.ForTests(t)
	here, p := t.TempDir(), new(person)
	stick, recovery := filepath.Join(here, "stick"), filepath.Join(here, "recovery")
	root, err := genesis.Found(t.Context(), rand.Reader, testTime, founding(t, File(stick), Phrase(p.ask, recovery)))
	if err != nil {
		t.Fatal(err)
	}
	from := []genesis.Custodian{File(stick), Phrase(p.ask, recovery)}
	roots, err := genesis.FindRoots(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	if len(roots) != 1 || roots[0].ID != root.ID {
		t.Fatalf("found %d roots", len(roots))
	}
	if err := useRoot(t, roots[0], from); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(recovery)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"My film", "Ada"} {
		if bytes.Contains(data, []byte(s)) {
			t.Errorf("%q stands in clear in the recovery file", s)
		}
	}
	p.answer = func(string) (string, error) { return wrongPhrase, nil }
	if _, err := genesis.FindRoots(t.Context(), from); !errors.Is(err, ErrWrongPhrase) {
		t.Errorf("wrong phrase: %v", err)
	}
}

const wrongPhrase = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"

// Scenario 6, second half: a wrong phrase gives a clear error, and nothing of what was typed.
func TestScenario6WrongPhrase(t *testing.T) {
	scenario.Run(t, 6, "a wrong phrase: a clear error that shows no typed word", func(t *testing.T) {
		cost.ForTests(t)
		p := new(person)
		c := Phrase(p.ask, filepath.Join(t.TempDir(), "recovery"))
		if err := c.Keep(t.Context(), refOf(1, 1), []byte("share")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Recall(t.Context(), refOf(1, 1)); err != nil { // uses up the remembered key
			t.Fatal(err)
		}
		aborted := errors.New("window closed")
		for _, tt := range []struct {
			name, typed string
			err         error
			want        error
		}{
			{"other words", wrongPhrase, nil, ErrWrongPhrase},
			{"eleven words", p.paper[:strings.LastIndex(p.paper, " ")], nil, ErrWrongPhrase},
			{"word that is not on the list", "xyzzy " + p.paper, nil, ErrWrongPhrase},
			{"nothing", "", nil, ErrWrongPhrase},
			{"very long", strings.Repeat("abandon ", 1000), nil, ErrWrongPhrase},
			{"person gives up", "", aborted, aborted},
		} {
			t.Run(tt.name, func(t *testing.T) {
				p.answer = func(string) (string, error) { return tt.typed, tt.err }
				_, err := c.Recall(t.Context(), refOf(1, 1))
				if !errors.Is(err, tt.want) {
					t.Fatalf("got %v, want %v", err, tt.want)
				}
				for _, word := range []string{"xyzzy", "abandon", strings.Fields(p.paper)[0]} {
					if strings.Contains(err.Error(), word+" ") {
						t.Errorf("the error shows a typed word: %v", err)
					}
				}
			})
		}
		p.answer = nil
		if share, err := c.Recall(t.Context(), refOf(1, 1)); err != nil || string(share) != "share" {
			t.Fatalf("right phrase after wrong ones: %v", err)
		}
	})
}

func TestPhraseMustBeTypedBack(t *testing.T) {
	cost.ForTests(t)
	path := filepath.Join(t.TempDir(), "recovery")
	t.Run("third time right", func(t *testing.T) {
		p := new(person)
		p.answer = func(generated string) (string, error) {
			switch p.shown {
			case 1:
				return "no words of the list", nil
			case 2:
				return wrongPhrase, nil
			}
			return generated, nil
		}
		if err := Phrase(p.ask, path).Keep(t.Context(), refOf(1, 1), []byte("share")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("never right", func(t *testing.T) {
		p := new(person)
		p.answer = func(string) (string, error) { return wrongPhrase, nil }
		c := Phrase(p.ask, path)
		if err := c.Keep(t.Context(), refOf(2, 1), []byte("share")); !errors.Is(err, ErrWrongPhrase) {
			t.Fatalf("got %v", err)
		}
		if p.shown != phraseTries {
			t.Errorf("asked %d times", p.shown)
		}
		if _, err := c.Recall(t.Context(), refOf(2, 1)); !errors.Is(err, genesis.ErrNoShare) {
			t.Errorf("a share was kept under a phrase that nobody wrote down: %v", err)
		}
	})
	t.Run("nobody to ask", func(t *testing.T) {
		if err := Phrase(nil, path).Keep(t.Context(), refOf(3, 1), []byte("share")); err == nil {
			t.Fatal("a phrase was made without a person")
		}
	})
	t.Run("occupied before anybody is bothered", func(t *testing.T) {
		p := new(person)
		if err := Phrase(p.ask, path).Keep(t.Context(), refOf(1, 1), []byte("other")); !errors.Is(err, ErrOccupied) || p.shown != 0 {
			t.Fatalf("%v after %d questions", err, p.shown)
		}
	})
}

func TestPhrasesDiffer(t *testing.T) {
	cost.ForTests(t)
	a, b := new(person), new(person)
	dir := t.TempDir()
	for i, p := range []*person{a, b} {
		if err := Phrase(p.ask, filepath.Join(dir, "recovery")).Keep(t.Context(), refOf(byte(i+1), 1), []byte("share")); err != nil {
			t.Fatal(err)
		}
	}
	if a.paper == b.paper || len(strings.Fields(a.paper)) != 12 {
		t.Fatal("two shares have one phrase, or it has not twelve words")
	}
	if _, err := Phrase(a.ask, filepath.Join(dir, "recovery")).Recall(t.Context(), refOf(2, 1)); !errors.Is(err, ErrWrongPhrase) {
		t.Fatalf("one share's phrase opened another's: %v", err)
	}
}
