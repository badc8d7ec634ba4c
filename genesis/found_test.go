package genesis

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/studio-whip/collab/internal/wire"
)

func TestFoundRefusesBeforeAnythingIsKept(t *testing.T) {
	f, eve := newFounder(t, 1), newFounder(t, 50)
	ended := *f.device
	end := uint64(testTime.Add(-time.Second).Unix())
	ended.NotAfter = &end
	for _, tt := range []struct {
		name  string
		spoil func(*Founding)
		want  error
	}{
		{"1 of 3", func(f *Founding) { f.Ceremony.Threshold = 1 }, ErrCeremony},
		{"4 of 3", func(f *Founding) { f.Ceremony.Threshold = 4 }, ErrCeremony},
		{"nobody", func(f *Founding) { f.Ceremony = Ceremony{} }, ErrCeremony},
		{"17 custodians", func(f *Founding) { _, f.Ceremony.Custodians = shelves(17) }, ErrCeremony},
		{"a custodian missing", func(f *Founding) { f.Ceremony.Custodians[1] = nil }, ErrCeremony},
		{"another's device", func(f *Founding) { f.Device = eve.device }, ErrCeremony},
		{"device certificate ended", func(f *Founding) { f.Device = &ended }, ErrCeremony},
		{"no certificates", func(f *Founding) { f.Identity, f.Device = nil, nil }, ErrCeremony},
		{"policy of a team", func(f *Founding) { f.Policy.Threshold = 2 }, ErrRoot},
		{"empty policy", func(f *Founding) { f.Policy = Policy{} }, ErrRoot},
		{"title not UTF-8", func(f *Founding) { f.Title = "\xff" }, wire.ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := shelves(3)
			founding := f.founding(2, c...)
			tt.spoil(&founding)
			root, err := Found(t.Context(), rand.Reader, testTime, founding)
			if root != nil || !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			for _, shelf := range s {
				if len(shelf.handed) != 0 || shelf.asked != 0 {
					t.Fatalf("%s was asked", shelf.label)
				}
			}
		})
	}
}

func TestFoundReportsRandomness(t *testing.T) {
	for n := 0; n < 32+16+16+3*32; n += 15 {
		s, c := shelves(3)
		broken := errors.New("no randomness")
		random := io.MultiReader(io.LimitReader(rand.Reader, int64(n)), iotest.ErrReader(broken))
		if _, err := Found(t.Context(), random, testTime, newFounder(t, 1).founding(2, c...)); !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		if len(s[0].handed) != 0 {
			t.Fatal("a share was kept without randomness")
		}
	}
}

// Every ceremony size rebuilds the key from any k shares that stand together.
func TestCeremonySizes(t *testing.T) {
	f := newFounder(t, 1)
	for m := 2; m <= MaxShares; m += 7 {
		for k := 2; k <= m; k += 3 {
			_, c := shelves(m)
			root := found(t, f.founding(k, c...))
			if err := authorize(t, root, c[m-k:]...); err != nil {
				t.Errorf("%d of %d: %v", k, m, err)
			}
			quorumError(t, authorize(t, root, c[:k-1]...), k-1, k)
		}
	}
}

func TestTwoFoundingsShareNothing(t *testing.T) {
	f := newFounder(t, 1)
	_, c := shelves(2)
	_, d := shelves(2)
	a, b := found(t, f.founding(2, c...)), found(t, f.founding(2, d...))
	if a.Project == b.Project || a.Holders[0].Key.Equal(b.Holders[0].Key) || a.ShareSets[0].Ceremony == b.ShareSets[0].Ceremony {
		t.Fatal("two projects share an id, a key or a ceremony")
	}
	err := authorize(t, a, d...)
	q := quorumError(t, err, 0, 2)
	if !errors.Is(q.Answers["shelf 1"], ErrNoShare) {
		t.Fatalf("answers %v", q.Answers)
	}
}

// recordShelf also carries root records.
type recordShelf struct {
	*shelf
	records   [][]byte
	spreadErr error
}

func (s *recordShelf) KeepWithRecords(ctx context.Context, ref ShareRef, share []byte, records [][]byte) error {
	s.records = append(s.records, records...)
	return s.Keep(ctx, ref, share)
}

func (s *recordShelf) KeepRecords(_ context.Context, ref ShareRef, records [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shares[ref] == nil {
		return ErrNoShare
	}
	if s.spreadErr != nil {
		return s.spreadErr
	}
	s.records = slices.Clone(records)
	return nil
}

func (*recordShelf) EndCeremony() {}

func (s *recordShelf) Records(context.Context) ([][]byte, error) { return s.records, nil }

func TestFindRoots(t *testing.T) {
	f := newFounder(t, 1)
	a, b := &recordShelf{shelf: newShelf("a")}, &recordShelf{shelf: newShelf("b")}
	first := found(t, f.founding(2, a, b, newShelf("c")))
	second := found(t, f.founding(2, a, newShelf("d")))
	roots, err := FindRoots(t.Context(), []Custodian{newShelf("plain"), a, b})
	if err != nil || len(roots) != 2 || roots[0].ID != first.ID || roots[1].ID != second.ID {
		t.Fatalf("%d roots, %v", len(roots), err)
	}
	b.records[0] = append(bytes.Clone(b.records[0]), 0)
	roots, err = FindRoots(t.Context(), []Custodian{a, b})
	var named *ShareError
	if len(roots) != 2 || !errors.As(err, &named) || named.Custodian != "b" || !errors.Is(err, wire.ErrMalformed) {
		t.Fatalf("%d roots, %v", len(roots), err)
	}
}

// A person is not asked for a phrase when the shares before it suffice.
func TestAuthorizeAsksNoMoreThanItMust(t *testing.T) {
	s, c := shelves(4)
	root := found(t, newFounder(t, 1).founding(2, c...))
	for _, shelf := range s {
		shelf.asked = 0
	}
	if err := authorize(t, root, newShelf("empty"), c[3], c[0], c[1]); err != nil {
		t.Fatal(err)
	}
	if s[3].asked == 0 || s[0].asked == 0 || s[1].asked != 0 {
		t.Fatalf("asked %d, %d and %d times", s[3].asked, s[0].asked, s[1].asked)
	}
}

func TestEqualLabelsAreTold(t *testing.T) {
	_, c := shelves(3)
	root := found(t, newFounder(t, 1).founding(3, c...))
	q := quorumError(t, authorize(t, root, c[0], newShelf("stick"), newShelf("stick"), newShelf("stick (2)")), 1, 3)
	if len(q.Answers) != 4 {
		t.Fatalf("answers of %d custodians, want 4: %v", len(q.Answers), q.Answers)
	}
}

func TestCutLabel(t *testing.T) {
	for in, want := range map[string]string{
		"stick":                               "stick",
		"":                                    "",
		"line\nbreak":                         "",
		"\xff":                                "",
		strings.Repeat("x", MaxLabel):         strings.Repeat("x", MaxLabel),
		strings.Repeat("x", MaxLabel+1):       "…" + strings.Repeat("x", MaxLabel-3),
		"a" + strings.Repeat("ü", MaxLabel/2): "…" + strings.Repeat("ü", (MaxLabel-3)/2),
	} {
		got := cutLabel(in)
		if got != want || wire.CheckText(got, MaxLabel) != nil {
			t.Errorf("cutLabel(%q) = %q, want %q", in, got, want)
		}
	}
}

// A founding with labels that fit no share record still succeeds.
func TestFoundWithOddLabels(t *testing.T) {
	a, b := newShelf(strings.Repeat("/media/usb", 20)), newShelf("line\nbreak")
	root := found(t, newFounder(t, 1).founding(2, a, b))
	if err := authorize(t, root, a, b); err != nil {
		t.Fatal(err)
	}
}

// Nothing that this package hands out prints a share or a seed.
func TestNothingSecretIsPrinted(t *testing.T) {
	s, c := shelves(2)
	root := found(t, newFounder(t, 1).founding(2, c...))
	ref, raw := s[0].only(t)
	share, err := ParseShare(raw)
	if err != nil {
		t.Fatal(err)
	}
	err = Authorize(t.Context(), root, c, func(a *Authority) error {
		for _, v := range []any{share, *share, []*Share{share}, struct{ S *Share }{share}, a, root, ref, CheckShares(t.Context(), root, c)} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
				checkHidden(t, &share.secret.record, fmt.Sprintf(verb, v))
			}
			if out, err := json.Marshal(v); err == nil {
				checkHidden(t, &share.secret.record, string(out))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if share.Wipe(); !zero(share.secret.record.Y[:]) {
		t.Fatal("a wiped share still holds bytes")
	}
}
