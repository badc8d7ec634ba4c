package live

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestAnnounceBehindASlowPeer announces on a stream on which the router is stuck with a frame. The announcement gives up
// with its context, and time goes on meanwhile: in a bubble, time stands still while somebody waits for a lock.
func TestAnnounceBehindASlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &outStream{turn: make(chan struct{}, 1)}
		s.turn <- struct{}{} // the router's
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.announce(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("announced: %v", err)
		}
	})
}
