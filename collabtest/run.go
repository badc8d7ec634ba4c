package collabtest

import (
	"runtime"
	"testing"
	"testing/synctest"
)

// Run runs test in a bubble of virtual time with a network of its own. The clock begins at midnight UTC on 1 January
// 2000 and advances only while everything waits. When test returns, the nodes are closed and every goroutine has ended.
func Run(t *testing.T, test func(t *testing.T, net *Network)) {
	t.Helper()
	if raceDetector { // it takes timers that fire at once in a bubble for a race (golang/go#78156)
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	synctest.Test(t, func(t *testing.T) { test(t, New(t)) })
}
