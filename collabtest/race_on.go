//go:build race

package collabtest

// raceDetector says that the race detector is on.
const raceDetector = true
