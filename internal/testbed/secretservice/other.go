//go:build !linux

package secretservice

import "testing"

// Service is a Secret Service, which only Linux has.
type Service struct{ Address string }

// Need skips the test: the Secret Service is Linux's.
func Need(t *testing.T) {
	t.Helper()
	t.Skip("the Secret Service is Linux's; other systems have keychains of their own")
}

// Start fails; [Need] comes before it.
func Start(t *testing.T, _ string) *Service {
	t.Helper()
	t.Fatal("no Secret Service on this system")
	return nil
}

// WaitUnlocked is never reached.
func (*Service) WaitUnlocked(*testing.T) {}

// StartDenied fails, as Start does.
func StartDenied(t *testing.T, password string) *Service {
	t.Helper()
	return Start(t, password)
}

// Lock is never reached.
func (*Service) Lock(*testing.T) {}

// Pause is never reached.
func (*Service) Pause(*testing.T) {}
