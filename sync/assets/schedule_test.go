package assets

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestPlainSchedule: the background has its turn when nothing is urgent, and loses it when something is.
func TestPlainSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlainSchedule()
		turn, end, err := s.Background(t.Context(), 1)
		must(t, err)
		over, endOver, err := s.Background(t.Context(), 1)
		must(t, err)
		endOver()
		if over.Err() == nil || turn.Err() != nil {
			t.Error("a turn ends another")
		}
		first, second := s.Urgent(), s.Urgent()
		if turn.Err() == nil {
			t.Error("the turn goes on")
		}
		end()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := s.Background(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		given := false
		go func() {
			_, end, err := s.Background(t.Context(), 1)
			must(t, err)
			given = true
			end()
		}()
		first()
		first() // once more does nothing
		synctest.Wait()
		if given {
			t.Error("a turn while something is urgent")
		}
		second()
		synctest.Wait()
		if !given {
			t.Error("no turn when all is calm")
		}
	})
}

// TestUrgencyLingers: between two blocks of a reader the background does not begin.
func TestUrgencyLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlainSchedule()
		u := &urgency{schedule: s}
		calm := func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.urgent == 0
		}
		for range 3 {
			u.enter()
			u.leave()
			time.Sleep(lingerUrgent - time.Millisecond)
			synctest.Wait()
			if calm() {
				t.Fatal("calm between two blocks")
			}
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if !calm() {
			t.Error("urgent for ever")
		}
		u.enter()
		u.leave()
		u.close()
		if !calm() {
			t.Error("urgent after the end")
		}
	})
}
