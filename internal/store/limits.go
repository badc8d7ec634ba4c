package store

import "time"

// Caps, in bytes.
const (
	MaxName   = 256      // name of a log or map
	MaxKey    = 1 << 10  // key of a map
	MaxRecord = 16 << 20 // value of a map, record of a log
)

// maxSealed is more than any value takes in the file.
const maxSealed = MaxRecord + MaxKey + 64

// commitWindow is how long a queued write may wait for company before it is committed.
const commitWindow = 20 * time.Millisecond
