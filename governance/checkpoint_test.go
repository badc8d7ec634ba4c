package governance

import "testing"

// An old checkpoint of a high number that was never settled, in the past of a settled one, is in nobody's way: step by
// step and as a whole the next of its number is settled.
func TestUnsettledCheckpointInASettledPast(t *testing.T) {
	const seed = uint64(1649)
	w := newWorld(seed, 1+int(seed%3), seed%2 == 0)
	w.run(sizeOf(seed))
	checkIncrement(t, w.h, w.acts, seed)
}

// What is remembered of members at a checkpoint is not used where a rival unsettles it and its past is judged anew.
func TestRememberedStandingIsNotUsedWhereARivalUnsettles(t *testing.T) {
	const seed = uint64(30068)
	w := newWorld(seed, 1+int(seed%3), seed%2 == 0)
	compareWithReference(t, w, w.run(sizeOf(seed)), "seed 30068")
}
