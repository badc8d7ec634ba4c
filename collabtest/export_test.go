package collabtest

// RaceDetector says that the race detector is on.
const RaceDetector = raceDetector
