package mutant

import (
	"slices"
	"testing"
)

func TestOf(t *testing.T) {
	var got []string
	for m := range Of([]byte("ab")) {
		got = append(got, string(m))
	}
	if want := []string{"ab", "ab\x00", "", "`b", "a", "a`"}; !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
	for range Of([]byte("ab")) {
		break
	}
}
