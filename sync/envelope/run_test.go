package envelope

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/studio-whip/collab/internal/wire"
)

func TestRun(t *testing.T) {
	envs := write(t, testChain(), testDK, 300)
	begin := Beginning(testProject, testDevice, 0)
	raw, err := EncodeRun(envs[:MaxRun])
	must(t, err)
	got, err := ParseRun(raw, begin, testDK.Public())
	must(t, err)
	if len(got) != MaxRun {
		t.Fatal(len(got))
	}
	for i, e := range got {
		if e.ID != envs[i].ID || (e.Sig != nil) != (i == MaxRun-1) || (e.Raw != nil) != (i == MaxRun-1) {
			t.Fatalf("envelope %d differs, or has a signature that it should not", i)
		}
	}
	last, err := Parse(got[MaxRun-1].Raw) // it can be gossiped on as it is
	must(t, err)
	must(t, last.Verify(testDK.Public()))

	raw, err = EncodeRun(envs[MaxRun:])
	must(t, err)
	_, err = ParseRun(raw, got[MaxRun-1].Head(), testDK.Public())
	must(t, err)
	_, err = ParseRun(raw, begin, testDK.Public())
	wantErr(t, err, ErrGap)
	_, err = ParseRun(raw, envs[MaxRun].Head(), testDK.Public())
	wantErr(t, err, ErrHeld)
}

// TestForgedRun has one thing wrong in a run of 256: all of it is refused.
func TestForgedRun(t *testing.T) {
	envs := write(t, testChain(), testDK, MaxRun)
	sound, err := EncodeRun(envs)
	must(t, err)
	other := write(t, NewChain(Beginning(testProject, testDevice, 1)), testDK, MaxRun)
	tests := []struct {
		name  string
		forge func(*run)
	}{
		{"ciphertext in the middle", func(r *run) { r.Items[100].Ct[0] ^= 1 }},
		{"ciphertext of the first", func(r *run) { r.Items[0].Ct[0] ^= 1 }},
		{"ciphertext of the last", func(r *run) { r.Items[255].Ct[0] ^= 1 }},
		{"one left out", func(r *run) { r.Items = slices.Delete(r.Items, 100, 101) }},
		{"the first left out", func(r *run) { r.Items = r.Items[1:] }},
		{"the last left out", func(r *run) { r.Items = r.Items[:255] }},
		{"two swapped", func(r *run) { r.Items[7], r.Items[8] = r.Items[8], r.Items[7] }},
		{"one twice", func(r *run) { r.Items[8] = r.Items[7] }},
		{"one of another chain", func(r *run) { r.Items[8] = item{Header: other[8].header, Ct: other[8].Ciphertext} }},
		{"signature of another chain", func(r *run) { r.Sig = other[255].Sig }},
		{"signature of an earlier one", func(r *run) { r.Sig = envs[254].Sig }},
		{"signature altered", func(r *run) { r.Sig[3000] ^= 1 }},
		{"signature cut", func(r *run) { r.Sig = r.Sig[:64] }},
		{"no signature", func(r *run) { r.Sig = nil }},
		{"nothing", func(r *run) { r.Items = nil }},
		{"one more", func(r *run) { r.Items = append(r.Items, r.Items[0]) }},
	}
	begin := Beginning(testProject, testDevice, 0)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r run
			must(t, wire.Unmarshal(sound, &r, MaxRunBytes))
			tt.forge(&r)
			got, err := ParseRun(wire.Marshal(r), begin, testDK.Public())
			if err == nil || got != nil {
				t.Fatalf("accepted %d envelopes", len(got))
			}
		})
	}
	_, err = ParseRun(sound, begin, otherDK.Public())
	wantErr(t, err, ErrSignature)
	_, err = ParseRun(make([]byte, MaxRunBytes+1), begin, testDK.Public())
	wantErr(t, err, ErrTooLarge)
}

func TestEncodeRunRefusesWhatIsNone(t *testing.T) {
	envs := write(t, testChain(), testDK, MaxRun+1)
	_, err := EncodeRun(nil)
	wantErr(t, err, ErrMalformed)
	_, err = EncodeRun(envs)
	wantErr(t, err, ErrTooLarge)
	_, err = EncodeRun([]*Envelope{envs[0], envs[2]})
	wantErr(t, err, ErrMalformed)
	unsigned, err := ParseStored(envs[1].Stored())
	must(t, err)
	_, err = EncodeRun([]*Envelope{envs[0], unsigned})
	wantErr(t, err, ErrSignature)
	c := testChain()
	var big []*Envelope
	for range 5 {
		e, err := c.Next(newRandom(1), testDK, sealedDraft(make([]byte, 1000<<10)))
		must(t, err)
		big = append(big, e)
	}
	_, err = EncodeRun(big)
	wantErr(t, err, ErrTooLarge)
	raw, err := EncodeRun(big[:4])
	must(t, err)
	size := 0
	for _, e := range big[:4] {
		size += e.Size()
	}
	if over := runOverhead + size - len(raw); over < 0 || over > 2 {
		t.Errorf("a run's size is miscounted by %d", over)
	}
}

// TestStoreServesRunsFromAnywhere keeps a chain as a store does, without most signatures, by the rule of SPEC.md 4,
// and serves it from every place to somebody who then serves it on.
func TestStoreServesRunsFromAnywhere(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	c, random := testChain(), newRandom(3)
	var s runStore
	for range 700 {
		payload := make([]byte, rnd.IntN(100))
		if rnd.IntN(12) == 0 {
			payload = make([]byte, 300<<10)
		}
		e, err := c.Next(random, testDK, sealedDraft(payload))
		must(t, err)
		s.add(e)
	}
	if len(s.sigs) > 30 {
		t.Errorf("%d signatures are kept of %d", len(s.sigs), len(s.items))
	}
	for after := 0; after < len(s.items); after += 1 + rnd.IntN(40) {
		from := Beginning(testProject, testDevice, 0)
		if after > 0 {
			from = s.get(t, after).Head()
		}
		envs, err := ParseRun(s.run(t, after), from, testDK.Public())
		must(t, err)
		if len(envs) == 0 {
			t.Fatal("no progress")
		}
	}
	var second runStore
	from := Beginning(testProject, testDevice, 0)
	for len(second.items) < len(s.items) {
		envs, err := ParseRun(s.run(t, len(second.items)), from, testDK.Public())
		must(t, err)
		for _, e := range envs {
			second.add(e)
		}
		from = envs[len(envs)-1].Head()
	}
	if from != c.Head() {
		t.Error("the copy ends elsewhere")
	}
	_, err := ParseRun(second.run(t, 350), second.get(t, 350).Head(), testDK.Public())
	must(t, err)
}

// runStore keeps [header, content] of all and as few signatures as it may.
type runStore struct {
	items [][]byte
	sizes []int
	sigs  map[int][]byte // by number
	kept  int            // the number of the signature before the newest
	last  int            // the number of the newest
}

func (s *runStore) add(e *Envelope) {
	s.items = append(s.items, e.Stored())
	s.sizes = append(s.sizes, e.Size())
	if e.Sig == nil {
		return
	}
	n, size := len(s.items), 0
	for _, b := range s.sizes[s.kept:n] {
		size += b
	}
	if s.sigs == nil {
		s.sigs = map[int][]byte{}
	}
	if FitsRun(n-s.kept, size) {
		delete(s.sigs, s.last)
	} else {
		s.kept = s.last
	}
	s.sigs[n], s.last = e.Sig, n
}

func (s *runStore) get(t *testing.T, n int) *Envelope {
	e, err := ParseStored(s.items[n-1])
	must(t, err)
	e.Sig = bytes.Clone(s.sigs[n])
	return e
}

// run returns the longest run after a number.
func (s *runStore) run(t *testing.T, after int) []byte {
	var envs []*Envelope
	size, fits := 0, 0
	for n := after + 1; n <= len(s.items) && FitsRun(n-after, size+s.sizes[n-1]); n++ {
		envs = append(envs, s.get(t, n))
		size += s.sizes[n-1]
		if s.sigs[n] != nil {
			fits = n - after
		}
	}
	raw, err := EncodeRun(envs[:fits])
	must(t, err)
	return raw
}
