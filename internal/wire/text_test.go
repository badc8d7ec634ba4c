package wire

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCheckText(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"empty", "", nil},
		{"ASCII", "My film", nil},
		{"composed", "Zoë", nil},
		{"emoji", "🎬", nil},
		{"as long as allowed", strings.Repeat("x", 64), nil},
		{"longer", strings.Repeat("x", 65), ErrTooLarge},
		{"longer in bytes, not in characters", strings.Repeat("ä", 33), ErrTooLarge},
		{"decomposed", "Zoe\u0308", ErrMalformed},
		{"compatibility character", "ﬁlm", nil}, // form C keeps it
		{"not UTF-8", "a\xff", ErrMalformed},
		{"NUL", "a\x00b", ErrMalformed},
		{"line break", "a\nb", ErrMalformed},
		{"tab", "a\tb", ErrMalformed},
		{"escape", "\x1b[31m", ErrMalformed},
		{"C1 control", "a\u0085b", ErrMalformed},
	} {
		if err := CheckText(c.text, 64); !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", c.name, err, c.want)
		}
	}
	if got := NFC("Zoe\u0308"); got != "Zoë" || CheckText(got, 64) != nil {
		t.Errorf("NFC = %q", got)
	}
}

func TestParseID(t *testing.T) {
	id := ID{0: 1, 31: 0xfe}
	got, err := ParseID(id.String())
	if err != nil || got != id {
		t.Fatalf("ParseID(String) = %v, %v", got, err)
	}
	if id.Short() != "01000000" {
		t.Errorf("Short = %s", id.Short())
	}
	for _, bad := range []string{"", id.String()[1:], id.String() + "00", strings.Repeat("g", 64), strings.Repeat(" ", 64)} {
		if _, err := ParseID(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v; want ErrMalformed", bad, err)
		}
	}
	if !(ID{}).IsZero() || id.IsZero() {
		t.Error("IsZero")
	}
	if id.Compare(ID{}) != 1 || id.Compare(id) != 0 || (ID{}).Compare(id) != -1 {
		t.Error("Compare")
	}
}

func TestSortedIDs(t *testing.T) {
	a, b, c := ID{0: 1}, ID{0: 1, 31: 1}, ID{0: 2}
	for _, x := range []struct {
		ids  []ID
		want bool
	}{
		{nil, true}, {[]ID{b}, true}, {[]ID{a, b, c}, true},
		{[]ID{a, a}, false}, {[]ID{b, a}, false}, {[]ID{a, c, b}, false},
	} {
		if got := SortedIDs(x.ids); got != x.want {
			t.Errorf("SortedIDs(%v) = %v", x.ids, got)
		}
	}
	if got := SortIDs([]ID{c, a, b, a, c}); !slices.Equal(got, []ID{a, b, c}) || !SortedIDs(got) {
		t.Errorf("SortIDs = %v", got)
	}
}
