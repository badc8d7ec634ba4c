package crashing

import (
	"testing"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

func TestScenario8(t *testing.T) {
	scenario.Run(t, 8, "one that ends the process", func(t *testing.T) { panic("at the disco") })
}

func TestScenario9(t *testing.T) {
	scenario.Run(t, 9, "one that is never reached", func(t *testing.T) {})
}
