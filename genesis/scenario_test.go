package genesis

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
)

// shareOf decodes the share that a shelf holds.
func shareOf(t testing.TB, s *shelf) *shareRecord {
	t.Helper()
	_, raw := s.only(t)
	share, err := ParseShare(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &share.secret.record
}

// forge replaces the share on a shelf by a changed one whose checksum is right.
func forge(t testing.TB, s *shelf, change func(*shareRecord)) {
	t.Helper()
	ref, _ := s.only(t)
	r := shareOf(t, s)
	change(r)
	s.shares[ref] = r.encode()
}

func quorumError(t *testing.T, err error, have, need int) *QuorumError {
	t.Helper()
	var q *QuorumError
	if !errors.As(err, &q) {
		t.Fatalf("got %v, want a *QuorumError", err)
	}
	if q.Have != have || q.Need != need {
		t.Fatalf("have %d of %d, want %d of %d", q.Have, q.Need, have, need)
	}
	return q
}

// Scenario 1: two shares are identical.
func TestScenario1IdenticalShares(t *testing.T) {
	scenario.Run(t, 1, "two shares are identical: ErrShareDuplicate, the key is not built", func(t *testing.T) {
		s, c := shelves(3)
		root := found(t, newFounder(t, 1).founding(2, c...))
		ref, raw := s[0].only(t)
		copied := newShelf("a copy")
		copied.shares[ref] = raw
		err := authorize(t, root, c[0], copied)
		q := quorumError(t, err, 1, 2)
		if !errors.Is(q.Answers["a copy"], ErrShareDuplicate) || q.Answers["shelf 1"] != nil || !errors.Is(err, ErrShareDuplicate) {
			t.Fatalf("answers %v", q.Answers)
		}
		if err := authorize(t, root, c[0], copied, c[2]); err != nil {
			t.Fatalf("a copy and two good shares: %v", err)
		}
	})
}

// Scenario 3: a share of another ceremony of the same project is named; the other two still finish.
func TestScenario3OtherCeremony(t *testing.T) {
	scenario.Run(t, 3, "a share from another ceremony of the project: named, the other two finish", func(t *testing.T) {
		st := newStudio(t)
		ref, older := st.shelves[0].only(t)
		older = bytes.Clone(older)
		if _, err := Refresh(t.Context(), rand.Reader, st.change()); err != nil {
			t.Fatal(err)
		}
		root, s, c := st.kept.root, st.shelves, st.custodians
		s[0].shares = map[ShareRef][]byte{ref: older}
		if err := CheckShares(t.Context(), root, c)[0].Err; !errors.Is(err, ErrNoShare) {
			t.Fatalf("an old stick in the drill: %v", err)
		}
		ref.Ceremony = root.ShareSets[0].Ceremony // the attack: the older share in the place of the new one
		s[0].shares[ref] = older
		health := CheckShares(t.Context(), root, c)
		var named *ShareError
		if !errors.As(health[0].Err, &named) || named.Custodian != "shelf 1" || !errors.Is(named, ErrShareOtherCeremony) {
			t.Fatalf("the share was not named: %v", health[0].Err)
		}
		if health[1].Err != nil || health[2].Err != nil {
			t.Fatalf("good shares were blamed: %v", health)
		}
		if err := authorize(t, root, c...); err != nil {
			t.Fatalf("the other two did not finish: %v", err)
		}
		q := quorumError(t, authorize(t, root, c[0], c[1]), 1, 2)
		if !errors.Is(q.Answers["shelf 1"], ErrShareOtherCeremony) {
			t.Fatalf("answers %v", q.Answers)
		}
	})
}

// Scenario 4: a flipped bit in one of three shares; wherever it is, that share is named and the others finish.
func TestScenario4BitFlip(t *testing.T) {
	scenario.Run(t, 4, "each bit of one share in three flipped in turn: that share is named, the others finish", func(t *testing.T) {
		s, c := shelves(3)
		root := found(t, newFounder(t, 1).founding(2, c...))
		ref, good := s[1].only(t)
		for bit := range 8 * len(good) {
			bad := bytes.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			s[1].shares[ref] = bad
			health := CheckShares(t.Context(), root, c)
			if !errors.Is(health[1].Err, ErrShareCorrupt) || health[0].Err != nil || health[2].Err != nil {
				t.Fatalf("bit %d: %v", bit, health)
			}
		}
		if err := authorize(t, root, c...); err != nil {
			t.Fatal(err)
		}
	})
}

// Scenario 5: k-1 shares give a typed error without any part of a share or key in it.
func TestScenario5TooFewShares(t *testing.T) {
	scenario.Run(t, 5, "k-1 shares: *QuorumError, no part of a share in any error", func(t *testing.T) {
		s, c := shelves(5)
		root := found(t, newFounder(t, 1).founding(3, c...))
		err := authorize(t, root, c[0], c[3], newShelf("empty"))
		q := quorumError(t, err, 2, 3)
		if !errors.Is(q.Answers["empty"], ErrNoShare) || !errors.Is(err, ErrNoShare) {
			t.Fatalf("answers %v", q.Answers)
		}
		quorumError(t, authorize(t, root), 0, 3)
		quorumError(t, authorize(t, root, nil, c[0]), 1, 3)
		for _, shelf := range s {
			checkHidden(t, shareOf(t, shelf), err.Error(), fmt.Sprintf("%v %+v %#v", err, err, q))
		}
	})
}

// checkHidden fails if a text shows six bytes of a share in a row, in hex or as numbers.
func checkHidden(t *testing.T, share *shareRecord, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for i := 0; i+6 <= len(share.Y); i++ {
			part := share.Y[i : i+6]
			numbers := strings.Trim(fmt.Sprint(part), "[]")
			for _, form := range []string{hex.EncodeToString(part), numbers, strings.ReplaceAll(numbers, " ", ", "), string(part)} {
				if strings.Contains(strings.ToLower(text), form) {
					t.Fatal("a text shows part of a share")
				}
			}
		}
	}
}

// A share at x = 0 is the secret's own place: combining it would give whatever its forger chose.
func TestForgedShares(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*shareRecord)
	}{
		{"x = 0 with a chosen secret", func(r *shareRecord) { r.X = 0; r.Y = [32]byte{1, 2, 3} }},
		{"x beyond m", func(r *shareRecord) { r.X = 9 }},
		{"another share's x", func(r *shareRecord) { r.X = 1 }},
		{"another value", func(r *shareRecord) { r.Y[31] ^= 1 }},
		{"another salt", func(r *shareRecord) { r.Salt[0] ^= 1 }},
		{"smaller k", func(r *shareRecord) { r.K = 2 }},
		{"greater m", func(r *shareRecord) { r.M = 9 }},
		{"another holder", func(r *shareRecord) { r.Holder[0] ^= 1 }},
		{"another key", func(r *shareRecord) { r.RootPubHash[0] ^= 1 }},
		{"a later root version", func(r *shareRecord) { r.RootVersion = 2 }},
		{"root version 0", func(r *shareRecord) { r.RootVersion = 0 }},
		{"k = 1", func(r *shareRecord) { r.K = 1 }},
		{"k > m", func(r *shareRecord) { r.K, r.M = 5, 4 }},
		{"another magic", func(r *shareRecord) { r.Magic = "clbx" }},
		{"a newer version", func(r *shareRecord) { r.V = 2 }},
		{"too long a label", func(r *shareRecord) { r.Label = strings.Repeat("x", MaxLabel+1) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := shelves(4)
			root := found(t, newFounder(t, 1).founding(3, c...))
			forge(t, s[1], tt.change)
			if err := authorize(t, root, c...); err != nil {
				t.Fatalf("three good shares were not enough: %v", err)
			}
			q := quorumError(t, authorize(t, root, c[0], c[1], c[2]), 2, 3)
			if !errors.Is(q.Answers["shelf 2"], ErrShareCorrupt) {
				t.Fatalf("answers %v", q.Answers)
			}
		})
	}
}

// A forged copy of a good share's place cannot push the good one out, whichever is asked first.
func TestForgedDuplicateDoesNotDisplace(t *testing.T) {
	s, c := shelves(2)
	root := found(t, newFounder(t, 1).founding(2, c...))
	ref, _ := s[0].only(t)
	forged := newShelf("forged")
	r := *shareOf(t, s[0])
	r.Y[0] ^= 1
	forged.shares[ref] = r.encode()
	if err := authorize(t, root, forged, c[0], c[1]); err != nil {
		t.Fatal(err)
	}
}

// A record whose author committed to shares that do not make its key is found out after they are combined.
func TestRecordOfWrongShares(t *testing.T) {
	s, c := shelves(2)
	f := newFounder(t, 1)
	root := found(t, f.founding(2, c...))
	forge(t, s[0], func(r *shareRecord) { r.Y[0] ^= 1 })
	for i, shelf := range s {
		root.ShareSets[0].Commitments[i] = shareOf(t, shelf).commitment()
	}
	if err := authorize(t, root, c...); !errors.Is(err, ErrRootMismatch) {
		t.Fatalf("got %v", err)
	}
}

// mutate damages share sets in every way that a medium or a forger could: bytes, fields, lengths, exchanges between
// shares and with shares of another project.
func mutate(rng *mathrand.Rand, t *testing.T, s []*shelf, good, foreign [][]byte) {
	for i := range s {
		ref, _ := s[i].only(t)
		raw := bytes.Clone(good[i])
		switch rng.IntN(9) {
		case 0: // stays good
		case 1:
			raw[rng.IntN(len(raw))] ^= 1 << rng.IntN(8)
		case 2:
			raw = raw[:rng.IntN(len(raw))]
		case 3:
			raw = bytes.Clone(good[rng.IntN(len(good))])
		case 4:
			raw = bytes.Clone(foreign[rng.IntN(len(foreign))])
		case 5:
			for n := rng.IntN(len(raw)); n > 0; n-- {
				raw[rng.IntN(len(raw))] = byte(rng.Uint32())
			}
		case 6:
			raw = append(raw, byte(rng.Uint32()))
		default:
			share, err := ParseShare(raw)
			if err != nil {
				t.Fatal(err)
			}
			r := &share.secret.record
			switch rng.IntN(6) {
			case 0:
				r.X = byte(rng.IntN(5))
			case 1:
				r.Y[rng.IntN(32)] ^= byte(1 + rng.IntN(255))
			case 2:
				r.Salt[rng.IntN(32)] ^= byte(1 + rng.IntN(255))
			case 3:
				r.Ceremony[rng.IntN(16)] ^= byte(1 + rng.IntN(255))
			case 4:
				r.K, r.M = byte(rng.IntN(5)), byte(rng.IntN(5))
			case 5:
				r.RootPubHash[rng.IntN(32)] ^= 1
			}
			raw = r.encode()
		}
		s[i].shares[ref] = raw
	}
}

// Mutated share sets, a hundred thousand in long runs: never a wrong key (authorize checks each), and every failure is
// typed and names the custodians whose shares were changed. Among what is mixed in are shares of another project and of
// the same key before it was cut anew.
func TestMutatedShareSets(t *testing.T) {
	st := newStudio(t)
	s, c := st.shelves, st.custodians
	strangers, strangersC := shelves(3)
	found(t, newFounder(t, 1).founding(2, strangersC...))
	var good, foreign [][]byte
	for i := range s {
		for _, shelf := range []*shelf{strangers[i], s[i]} {
			_, raw := shelf.only(t)
			foreign = append(foreign, bytes.Clone(raw))
		}
	}
	if _, err := Refresh(t.Context(), rand.Reader, st.change()); err != nil {
		t.Fatal(err)
	}
	root := st.kept.root
	for i := range s {
		_, raw := s[i].only(t)
		good = append(good, bytes.Clone(raw))
	}
	rng := mathrand.New(mathrand.NewPCG(1, 2))
	sets, succeeded := 3000, 0
	if os.Getenv("COLLAB_LONG") != "" {
		sets = 100_000
	}
	for n := range sets {
		mutate(rng, t, s, good, foreign)
		intact := map[int]bool{} // distinct good shares, by what the media really hold
		for i := range s {
			_, raw := s[i].only(t)
			for x := range good {
				if bytes.Equal(raw, good[x]) {
					intact[x] = true
				}
			}
		}
		err := authorize(t, root, c...)
		if (len(intact) >= 2) != (err == nil) {
			t.Fatalf("set %d: %d good shares, error %v", n, len(intact), err)
		}
		if err == nil {
			succeeded++
			continue
		}
		q := quorumError(t, err, len(intact), 2)
		blamed := 0
		for label, answer := range q.Answers {
			if answer == nil {
				continue
			}
			blamed++
			if !errors.Is(answer, ErrShareCorrupt) && !errors.Is(answer, ErrShareForeignProject) &&
				!errors.Is(answer, ErrShareDuplicate) && !errors.Is(answer, ErrShareOtherCeremony) {
				t.Fatalf("set %d: %s: untyped answer %v", n, label, answer)
			}
		}
		if blamed != len(s)-len(intact) {
			t.Fatalf("set %d: %d custodians were named, %d shares are bad: %v", n, blamed, len(s)-len(intact), err)
		}
	}
	t.Logf("%d sets, %d of them with enough good shares", sets, succeeded)
	if succeeded == 0 || succeeded == sets {
		t.Fatalf("%d of %d sets succeeded: the mutations prove nothing", succeeded, sets)
	}
}

// Scenario 78: an Ed25519 half that verifies anything is refused where it is first read: in the holder list.
func TestScenario78HolderKey(t *testing.T) {
	scenario.Run(t, 78, "a small-order or non-canonical Ed25519 half in the holder list: refused where first read", func(t *testing.T) {
		f := newFounder(t, 1)
		_, c := shelves(2)
		root := found(t, f.founding(2, c...))
		for _, tt := range []struct{ name, half string }{
			{"small order: the identity", "0100000000000000000000000000000000000000000000000000000000000000"},
			{"small order: order 8", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"},
			{"not canonical", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				half, err := hex.DecodeString(tt.half)
				if err != nil {
					t.Fatal(err)
				}
				raw := rebuildRecord(t, root, func(core *rootCore) {
					copy(core.Holders[0].Key[sign.PublicKeySize-32:], half)
				})
				if _, err := ParseRoot(raw); !errors.Is(err, sign.ErrPublicKey) {
					t.Fatalf("got %v", err)
				}
			})
		}
	})
}

// rebuildRecord changes a record's core and keeps its signatures.
func rebuildRecord(t *testing.T, root *Root, change func(*rootCore)) []byte {
	t.Helper()
	signed, core, err := decodeRoot(root.Raw)
	if err != nil {
		t.Fatal(err)
	}
	change(core)
	signed.Core = wire.Marshal(core)
	return wire.Marshal(signed)
}

// aliasing remembers every buffer that randomness was written to: the seed's own memory is among them.
type aliasing struct{ buffers [][]byte }

func (a *aliasing) Read(p []byte) (int, error) {
	n, err := rand.Read(p)
	a.buffers = append(a.buffers, p[:n])
	return n, err
}

// The seed and every share are wiped on every path of a founding: success, a custodian that fails at each place and
// in each way, a title that makes the record invalid, an ended context.
func TestFoundWipesAndUndoes(t *testing.T) {
	broken := errors.New("medium broken")
	type state struct {
		s   []*shelf
		f   *Founding
		ctx context.Context
	}
	for _, tt := range []struct {
		name  string
		spoil func(*state)
		want  error // nil: succeeds
	}{
		{"success", func(*state) {}, nil},
		{"first keep fails", func(s *state) { s.s[0].keepErr = broken }, broken},
		{"last keep fails", func(s *state) { s.s[2].keepErr = broken }, broken},
		{"read back fails", func(s *state) { s.s[1].recall = func([]byte) ([]byte, error) { return nil, broken } }, broken},
		{"read back lost", func(s *state) { s.s[1].recall = func([]byte) ([]byte, error) { return nil, ErrNoShare } }, ErrNoShare},
		{"read back changed", func(s *state) {
			s.s[1].recall = func(b []byte) ([]byte, error) { b[len(b)/2] ^= 1; return b, nil }
		}, ErrShareCorrupt},
		{"one place for two shares", func(s *state) { s.f.Ceremony.Custodians[2] = s.s[0] }, ErrCeremony},
		{"title too long", func(s *state) { s.f.Title = strings.Repeat("x", MaxTitle+1) }, wire.ErrTooLarge},
		{"context has ended", func(s *state) {
			ctx, cancel := context.WithCancel(s.ctx)
			cancel()
			s.ctx = ctx
		}, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := shelves(3)
			f := newFounder(t, 1).founding(2, c...)
			st := &state{s: s, f: &f, ctx: t.Context()}
			tt.spoil(st)
			random := new(aliasing)
			root, err := Found(st.ctx, random, testTime, f)
			if !errors.Is(err, tt.want) || (root != nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if len(random.buffers) == 0 || len(random.buffers[0]) != 32 || !zero(random.buffers[0]) {
				t.Error("the seed was not wiped")
			}
			for _, shelf := range s {
				for _, b := range append(shelf.handed, shelf.given...) {
					if !zero(b) {
						t.Errorf("a share at %s was not wiped", shelf.label)
					}
				}
				if tt.want != nil && len(shelf.shares) != 0 {
					t.Errorf("%s still holds a share of a failed ceremony", shelf.label)
				}
			}
		})
	}
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

func TestFoundSaysWhereAShareMayStillLie(t *testing.T) {
	s, c := shelves(3)
	s[0].forget, s[2].keepErr = errors.New("stick is out"), errors.New("medium broken")
	_, err := Found(t.Context(), rand.Reader, testTime, newFounder(t, 1).founding(2, c...))
	if err == nil || !strings.Contains(err.Error(), "medium broken") || !strings.Contains(err.Error(), "stick is out") {
		t.Fatalf("got %v", err)
	}
	if s[1].forgot != 1 || s[2].forgot != 1 {
		t.Fatal("not every custodian was told to forget")
	}
}

// Authorize wipes what custodians gave on every path.
func TestAuthorizeWipes(t *testing.T) {
	s, c := shelves(3)
	root := found(t, newFounder(t, 1).founding(2, c...))
	mine := errors.New("mine")
	for name, run := range map[string]func() error{
		"success":  func() error { return authorize(t, root, c...) },
		"fn fails": func() error { return Authorize(t.Context(), root, c, func(*Authority) error { return mine }) },
		"too few":  func() error { return authorize(t, root, c[0]) },
		"drill":    func() error { return CheckShares(t.Context(), root, c)[0].Err },
	} {
		_ = run()
		for _, shelf := range s {
			for _, b := range shelf.given {
				if !zero(b) {
					t.Errorf("%s: a share of %s was not wiped", name, shelf.label)
				}
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Authorize(ctx, root, c, func(*Authority) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Fatalf("ended context: %v", err)
	}
}

// Shares that give another key than the root's give no seed, and what rebuildSeed made is the root's.
func TestRebuildSeed(t *testing.T) {
	s, c := shelves(2)
	root := found(t, newFounder(t, 1).founding(2, c...))
	shares := []*shareRecord{shareOf(t, s[0]), shareOf(t, s[1])}
	seed, err := rebuildSeed(root, &root.ShareSets[0], shares)
	if err != nil {
		t.Fatal(err)
	}
	if !NewHolderKey(*seed).Public().Equal(root.Holders[0].Key) || seed.IsZero() {
		t.Fatal("another seed")
	}
	shares[1].Y[7] ^= 1
	if seed, err := rebuildSeed(root, &root.ShareSets[0], shares); seed != nil || !errors.Is(err, ErrRootMismatch) {
		t.Fatalf("of wrong shares: %v", err)
	}
}

// The root key signs root records that follow its own, and root acts; nothing else.
func TestAuthoritySignsItsTypesOnly(t *testing.T) {
	_, c := shelves(2)
	root := found(t, newFounder(t, 1).founding(2, c...))
	_, core, err := decodeRoot(root.Raw)
	if err != nil {
		t.Fatal(err)
	}
	prev := wire.ID(root.ID)
	next := *core
	next.N, next.Prev, next.Founder = 2, &prev, nil
	skipped := next
	skipped.N = 3
	err = Authorize(t.Context(), root, c, func(a *Authority) error {
		if a.Project() != root.Project || a.Root() != root || a.Member() != root.Holders[0].Member {
			t.Error("the authority speaks of another root")
		}
		if sig, err := a.SignNext(&ledger{}, wire.Marshal(next)); err != nil {
			t.Errorf("the next record: %v", err)
		} else if err := root.Holders[0].Key.Verify(sign.Root, wire.Marshal(next), sig); err != nil {
			t.Error(err)
		}
		for name, core := range map[string][]byte{"this record again": wire.Marshal(core), "a skipped version": wire.Marshal(skipped), "rubbish": []byte("x")} {
			if _, err := a.SignNext(&ledger{}, core); err == nil {
				t.Errorf("signed %s", name)
			}
		}
		for _, typ := range []sign.Type{sign.Root, sign.Event, sign.Envelope, sign.IdentityCert, sign.DeviceCert, "", "anything"} {
			if _, err := a.Sign(typ, []byte("x")); err == nil {
				t.Errorf("signed a record of type %q", typ)
			}
		}
		if _, err := a.Sign(sign.EventRoot, make([]byte, MaxRootCore+1)); err == nil {
			t.Error("signed too large a core")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
