package genesis

import (
	"bytes"
	"errors"
	"testing"

	"github.com/studio-whip/collab/internal/testbed/mutant"
	"github.com/studio-whip/collab/internal/testbed/scenario"
)

func TestScenario067HostileShares(t *testing.T) {
	scenario.Run(t, 67, "a share, whole, cut anywhere, each byte flipped: no panic, ErrShareCorrupt, and what decodes encodes to the "+
		"same bytes", func(t *testing.T) {
		shares := 0
		for _, v := range readGolden(t).Shares {
			whole, taken := unhex(t, v.Raw), 0
			if _, err := ParseShare(whole); err != nil {
				continue // a vector of what is refused
			}
			shares++
			for raw := range mutant.Of(whole) {
				s, err := ParseShare(raw)
				if err != nil {
					if !errors.Is(err, ErrShareCorrupt) {
						t.Fatalf("untyped error %v", err)
					}
					continue
				}
				taken++
				if !bytes.Equal(s.secret.record.encode(), raw) {
					t.Fatal("a share has two encodings")
				}
			}
			if taken != 1 { // the checksum finds every single change
				t.Errorf("%d variants of a share were taken; want the share alone", taken)
			}
		}
		if shares == 0 {
			t.Error("no share among the golden vectors")
		}
	})
}
