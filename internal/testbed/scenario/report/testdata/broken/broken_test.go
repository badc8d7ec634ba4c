package broken

import (
	"testing"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

func TestScenario11(t *testing.T) { scenario.Run(t, 11, "one that does not build", noSuchFunction) }
