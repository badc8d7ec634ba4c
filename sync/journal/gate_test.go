package journal

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		first := g.enter()
		alone, settled := false, false
		go g.alone(func() { alone = true })
		go func() { settled = g.settle(t.Context()) == nil }()
		synctest.Wait()
		second := g.enter() // may enter although somebody waits: an observer edits
		first()
		synctest.Wait()
		if alone {
			t.Fatal("alone with somebody inside")
		}
		second()
		synctest.Wait()
		if !alone || !settled {
			t.Fatalf("alone %v, settled %v", alone, settled)
		}
	})
}

// TestGateSettlesUnderLoad: whoever waits for what is going on does not wait for ever when others keep coming.
func TestGateSettlesUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		ctx, stop := context.WithCancel(t.Context())
		var others sync.WaitGroup
		for i := range 3 { // somebody is inside at any time
			others.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				for ctx.Err() == nil {
					leave := g.enter()
					time.Sleep(3*time.Second + time.Millisecond)
					leave()
				}
			})
		}
		time.Sleep(10 * time.Second)
		start := time.Now()
		if err := g.settle(ctx); err != nil || time.Since(start) > 10*time.Second {
			t.Errorf("settled after %v: %v", time.Since(start), err)
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if err := g.settle(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("settled at once: %v", err)
		}
		g.close()
		if g.alone(func() {}) {
			t.Error("alone in a closed gate")
		}
		stop()
		others.Wait()
	})
}
