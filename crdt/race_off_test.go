//go:build !race

package crdt

// raceDetector says that the race detector is on; it makes pools forget on purpose.
const raceDetector = false
