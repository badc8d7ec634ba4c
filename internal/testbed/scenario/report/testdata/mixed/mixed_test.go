package mixed

import (
	"testing"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

func TestScenario10(t *testing.T) {
	scenario.Run(t, 10, "one that passes", func(t *testing.T) {})
	scenario.Run(t, 3, "one that fails in a part", func(t *testing.T) {
		t.Run("part", func(t *testing.T) { t.Error("this is what went wrong") })
	})
	scenario.Run(t, 4, "one that leaves a goroutine", func(t *testing.T) {
		stop := make(chan struct{})
		go func() { <-stop }()
	})
	scenario.Run(t, 5, "one that needs what is not there", func(t *testing.T) {
		t.Log("looked for it")
		t.Skip("no token is plugged in")
	})
}

func TestWrongName(t *testing.T) {
	scenario.Run(t, 6, "one that is never run", func(t *testing.T) {})
}

func TestScenarioFailsItself(t *testing.T) { t.Error("beside the scenarios") }
