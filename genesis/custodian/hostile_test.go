package custodian

import (
	"bytes"
	"errors"
	"testing"

	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/internal/testbed/mutant"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
)

func TestScenario067HostileShareFiles(t *testing.T) {
	scenario.Run(t, 67, "a file of shares and a recovery file, whole, cut anywhere, each byte flipped: no panic, ErrDamaged, and "+
		"what decodes encodes to the same bytes", func(t *testing.T) {
		cost.ForTests(t)
		files := 0
		for _, v := range readGolden(t).ShareFiles {
			files += hostile(t, unhex(t, v.Raw), func(raw []byte) ([]byte, error) {
				c, err := parseShareFile(raw)
				if err != nil {
					return nil, err
				}
				return wire.Marshal(c), nil
			})
		}
		for _, v := range readGolden(t).Recovery {
			files += hostile(t, unhex(t, v.Raw), func(raw []byte) ([]byte, error) {
				c, err := parseRecoveryFile(raw)
				if err != nil {
					return nil, err
				}
				return c.encode(), nil
			})
		}
		if files < 2 {
			t.Errorf("%d files among the golden vectors that are whole; want some of both kinds", files)
		}
	})
}

// hostile decodes and encodes every variant of a file and returns 1, or 0 for a vector of what is refused. Only the file
// itself is taken: its checksum finds single changes.
func hostile(t *testing.T, whole []byte, again func([]byte) ([]byte, error)) int {
	t.Helper()
	if _, err := again(whole); err != nil {
		return 0
	}
	taken := 0
	for raw := range mutant.Of(whole) {
		out, err := again(raw)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("untyped error %v", err)
			}
			continue
		}
		taken++
		if !bytes.Equal(out, raw) {
			t.Fatal("accepted what it would not write")
		}
	}
	if taken != 1 {
		t.Errorf("%d variants were taken; want the file alone", taken)
	}
	return 1
}
