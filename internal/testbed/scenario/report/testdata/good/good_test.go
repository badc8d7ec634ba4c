package good

import (
	"testing"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

func TestScenario2(t *testing.T) {
	scenario.Run(t, 2, "the second: nothing happens", func(t *testing.T) {})
	scenario.Run(t, 1, "the first: nothing happens", func(t *testing.T) { t.Run("part", func(t *testing.T) {}) })
}

func TestOther(t *testing.T) { t.Error("only scenarios are run") }
