package words

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// The list is the one that every other program with these words has.
func TestList(t *testing.T) {
	sum := sha256.Sum256([]byte(text))
	if got := hex.EncodeToString(sum[:]); got != "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda" {
		t.Errorf("SHA-256 of the list is %s", got)
	}
	if len(list) != 2048 || len(index) != 2048 || !slices.IsSorted(list) {
		t.Errorf("%d words, %d of them different", len(list), len(index))
	}
}

// Published vectors of BIP-39.
var vectors = []struct{ data, words string }{
	{"00000000000000000000000000000000",
		"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"},
	{"7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
		"legal winner thank year wave sausage worth useful legal winner thank yellow"},
	{"80808080808080808080808080808080",
		"letter advice cage absurd amount doctor acoustic avoid letter advice cage above"},
	{"ffffffffffffffffffffffffffffffff", "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong"},
	{"9e885d952ad362caeb4efe34a8e91bd2",
		"ozone drill grab fiber curtain grace pudding thank cruise elder eight picnic"},
	{"0000000000000000000000000000000000000000000000000000000000000000",
		strings.Repeat("abandon ", 23) + "art"},
	{"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", strings.Repeat("zoo ", 23) + "vote"},
	{"8080808080808080808080808080808080808080808080808080808080808080",
		"letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd " +
			"amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic bless"},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		data, err := hex.DecodeString(v.data)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(Encode(data), " "); got != v.words {
			t.Errorf("%s encodes to %s", v.data, got)
		}
		if got, err := Decode(strings.Fields(v.words)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s decodes to %x, %v", v.words, got, err)
		}
	}
}

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		data := random(r, 16+16*(i%2))
		phrase := Encode(data)
		if want := 12 + 12*(i%2); len(phrase) != want {
			t.Fatalf("%d bytes give %d words; want %d", len(data), len(phrase), want)
		}
		got, err := Decode(phrase)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%x comes back as %x, %v", data, got, err)
		}
	}
}

// The checksum of 24 words has 8 bits: of mistaken words about one in 256 passes, of 12 words one in 16.
func TestChecksum(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const tries = 4000
	for _, size := range []int{16, 32} {
		passed := 0
		for range tries {
			phrase := Encode(random(r, size))
			i, old := r.IntN(len(phrase)), ""
			for old, phrase[i] = phrase[i], list[r.IntN(len(list))]; phrase[i] == old; {
				phrase[i] = list[r.IntN(len(list))]
			}
			_, err := Decode(phrase)
			if err == nil {
				passed++
			} else if !errors.Is(err, ErrChecksum) {
				t.Fatal(err)
			}
		}
		expected := tries >> (size / 4)
		if passed > 2*expected || passed < expected/3 {
			t.Errorf("%d bytes: %d of %d mistaken phrases pass; about %d should", size, passed, tries, expected)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := Encode(make([]byte, 16))
	for _, n := range []int{0, 1, 11, 13, 15, 18, 21, 23, 25} {
		if _, err := Decode(slices.Repeat([]string{"zoo"}, n)); !errors.Is(err, ErrCount) {
			t.Errorf("%d words: %v; want ErrCount", n, err)
		}
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] = "hunter2"
		var unknown *UnknownWordError
		_, err := Decode(bad)
		if !errors.As(err, &unknown) || unknown.Position != i+1 {
			t.Errorf("word %d unknown: %v", i+1, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the word: %v", err)
		}
	}
	swapped := Encode([]byte("sixteen letters!"))
	swapped[0], swapped[1] = swapped[1], swapped[0]
	if _, err := Decode(swapped); !errors.Is(err, ErrChecksum) {
		t.Errorf("two words exchanged: %v; want ErrChecksum", err)
	}
}

func TestParse(t *testing.T) {
	want := []string{"zoo", "abandon", "ability"}
	for _, s := range []string{
		"zoo abandon ability", "  ZOO\tAbandon\n\nability\r\n", "zoo\u00a0abandon\u3000ability", "ｚｏｏ abandon ability",
	} {
		if got, err := Parse(s); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	if got, err := Parse(" \n"); err != nil || len(got) != 0 {
		t.Errorf("nothing: %q, %v", got, err)
	}
	var unknown *UnknownWordError
	if _, err := Parse("zoo hunter2 ability"); !errors.As(err, &unknown) || unknown.Position != 2 || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("unknown word: %v; want its place and not itself", err)
	}
	if _, err := Parse(strings.Repeat("zoo ", 300)); !errors.Is(err, ErrTooLong) {
		t.Errorf("long input: %v; want ErrTooLong", err)
	}
	if longest := strings.Repeat(slices.MaxFunc(list, func(a, b string) int { return len(a) - len(b) })+" ", 24); len(longest) > maxInput {
		t.Errorf("24 of the longest word have %d bytes", len(longest))
	}
}

func TestGenerate(t *testing.T) {
	for _, n := range []int{12, 24} {
		seen := map[string]bool{}
		source := rand.NewChaCha8([32]byte{byte(n)})
		for range 50 {
			phrase, err := Generate(source, n)
			if err != nil || len(phrase) != n {
				t.Fatalf("%d words, %v; want %d", len(phrase), err, n)
			}
			if _, err := Decode(phrase); err != nil {
				t.Fatalf("generated phrase: %v", err)
			}
			seen[strings.Join(phrase, " ")] = true
		}
		if len(seen) != 50 {
			t.Errorf("only %d of 50 phrases of %d words differ", len(seen), n)
		}
	}
	broken := errors.New("no entropy")
	if phrase, err := Generate(iotest.ErrReader(broken), 12); !errors.Is(err, broken) || phrase != nil {
		t.Errorf("without randomness: %q, %v", phrase, err)
	}
	if _, err := Generate(bytes.NewReader(make([]byte, 15)), 12); err == nil {
		t.Error("generated from 15 bytes")
	}
}

func TestFingerprint(t *testing.T) {
	var id [32]byte
	if got := strings.Join(Fingerprint(id, 6), " "); got != "abandon abandon abandon abandon abandon abandon" {
		t.Errorf("of zeros: %s", got)
	}
	// 11 bits a word: the first is number 2^10, the second number 1.
	id[0], id[2] = 0x80, 0x04
	if got := Fingerprint(id, 3); !slices.Equal(got, []string{list[1024], list[1], list[0]}) {
		t.Errorf("of two bits: %q", got)
	}
	id = [32]byte(random(rand.New(rand.NewPCG(5, 6)), 32))
	// A fingerprint is the begin of the phrase that the same bytes have.
	if got, want := Fingerprint(id, 23), Encode(id[:])[:23]; !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
	if got, want := Fingerprint(id, 6), Fingerprint(id, 23)[:6]; !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
}

func TestPanicsOnMistakesOfTheProgram(t *testing.T) {
	for name, fn := range map[string]func(){
		"Encode of 15 bytes":       func() { Encode(make([]byte, 15)) },
		"Encode of nothing":        func() { Encode(nil) },
		"Generate of 6 words":      func() { _, _ = Generate(bytes.NewReader(nil), 6) },
		"Fingerprint of 0 words":   func() { Fingerprint([32]byte{}, 0) },
		"Fingerprint of 24 words":  func() { Fingerprint([32]byte{}, 24) },
		"Fingerprint of -1 words":  func() { Fingerprint([32]byte{}, -1) },
		"Encode of too many bytes": func() { Encode(make([]byte, 64)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s does not panic", name)
				}
			}()
			fn()
		}()
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.words)
	}
	f.Fuzz(func(t *testing.T, s string) {
		phrase, err := Parse(s)
		if err != nil {
			return
		}
		data, err := Decode(phrase)
		if err != nil {
			return
		}
		if !slices.Equal(Encode(data), phrase) {
			t.Fatal("one phrase, two encodings")
		}
	})
}
