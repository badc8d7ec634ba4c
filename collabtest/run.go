package collabtest

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// Run runs test in a bubble of virtual time with a network of its own. The clock begins at midnight UTC on 1 January
// 2000 and advances only while everything waits. When test returns, the nodes are closed and every goroutine has ended.
func Run(t *testing.T, test func(t *testing.T, net *Network)) {
	t.Helper()
	if raceDetector {
		defer oneAtATime()()
	}
	synctest.Test(t, func(t *testing.T) { test(t, New(t)) })
}

// bubbles counts those that run under the race detector, and keeps how many processors there were before the first.
var bubbles struct {
	sync.Mutex
	running, procs int
}

// oneAtATime keeps the program on one processor until the last caller has called done: the race detector takes timers of
// a bubble that fire at once for a race (golang/go#78156).
func oneAtATime() (done func()) {
	bubbles.Lock()
	defer bubbles.Unlock()
	if bubbles.running++; bubbles.running == 1 {
		bubbles.procs = runtime.GOMAXPROCS(1)
	}
	return func() {
		bubbles.Lock()
		defer bubbles.Unlock()
		if bubbles.running--; bubbles.running == 0 {
			runtime.GOMAXPROCS(bubbles.procs)
		}
	}
}
