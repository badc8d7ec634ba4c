package journal

import "testing"

// Sizes tells how large documents are, open or not, the largest first.
func TestSizes(t *testing.T) {
	w := newTeam(t)
	w.begin()
	ada := w.open(w.ada)
	for range 3 {
		ada.write("script", "hello ")
	}
	ada.write("notes", "x")
	if err := ada.WaitSaved(t.Context()); err != nil {
		t.Fatal(err)
	}
	sizes, err := ada.Sizes()
	if err != nil {
		t.Fatal(err)
	}
	total := uint64(0)
	for i, s := range sizes {
		total += s.Envelopes
		if !s.Open || s.Bytes == 0 || i > 0 && s.Envelopes > sizes[i-1].Envelopes {
			t.Errorf("size %d of %+v", i, sizes)
		}
	}
	if len(sizes) != len(ada.DocIDs()) || sizes[0].Envelopes != 3 || total < 5 {
		t.Errorf("sizes %+v", sizes)
	}
	if n := ada.Waiting(); n != 0 {
		t.Errorf("%d envelopes wait", n)
	}

	ada = restart(w, ada)
	again, err := ada.Sizes()
	if err != nil {
		t.Fatal(err)
	}
	if again[0].Envelopes != 3 || again[0].Open || again[0].Bytes != 0 || len(again) != len(sizes) {
		t.Errorf("after a restart: %+v", again)
	}
}
