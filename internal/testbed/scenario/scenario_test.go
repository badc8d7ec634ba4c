package scenario

import (
	"strings"
	"testing"
)

func TestDeclarations(t *testing.T) {
	for _, tc := range []struct {
		name   string
		number int
		tries  string
		want   string
	}{
		{"TestScenario1", 1, "two equal shares", ""},
		{"TestScenario1/part", 999, "two equal shares", ""},
		{"TestShares", 1, "two equal shares", "must begin with"},
		{"TestScenario0", 0, "nothing", "number 0"},
		{"TestScenario1000", 1000, "too much", "number 1000"},
		{"TestScenario1", 1, " ", "in one line"},
		{"TestScenario1", 1, "two\nlines", "in one line"},
	} {
		err := check(tc.name, tc.number, tc.tries)
		if tc.want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s, %d, %q: %v, want %q", tc.name, tc.number, tc.tries, err, tc.want)
		}
	}
}
