package secmem

// macOS has no advice for that.
func keepOutOfDumps([]byte) {}
