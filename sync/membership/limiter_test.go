package membership

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(time.Now)
		enter := func(address string, n int) (taken int) {
			for range n {
				if l.enter(address) {
					taken++
					l.leave()
				}
			}
			return taken
		}
		if got := enter("a", 100); got != perAddressBurst {
			t.Errorf("one address: %d at once", got)
		}
		if got := enter("b", 100) + enter("c", 100); got != handshakeBurst-perAddressBurst {
			t.Errorf("others: %d at once", got)
		}
		time.Sleep(3 * time.Second) // of the bubble's clock
		if got := enter("a", 100); got != 3*perAddressPerSec {
			t.Errorf("one address after 3 s: %d", got)
		}
		if got := enter("d", 100); got != perAddressBurst {
			t.Errorf("another after 3 s: %d", got)
		}
		time.Sleep(time.Minute)
		for i := range maxHandshakes {
			if !l.enter(fmt.Sprint("e", i)) {
				t.Errorf("handshake %d of %d is refused", i, maxHandshakes)
			}
		}
		if l.enter("f") {
			t.Error("one handshake too many at a time")
		}
		if !l.pause() || !l.enter("f") {
			t.Error("one that waits for a person still counts as running")
		}
		time.Sleep(time.Minute)
		for i := range 2 * maxAddressesSeen {
			l.enter(fmt.Sprint("g", i))
			if len(l.addresses) > maxAddressesSeen {
				t.Fatal("addresses without bound")
			}
		}
		time.Sleep(time.Minute)
		l.running = 0
		if !l.enter("late") {
			t.Error("old addresses are not forgotten")
		}
	})
}
