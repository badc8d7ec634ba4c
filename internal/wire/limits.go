package wire

// Caps on every record, whatever its kind.
const (
	MaxNesting  = 16   // arrays and maps within one another
	MaxElements = 4096 // elements of one array, pairs of one map
)
