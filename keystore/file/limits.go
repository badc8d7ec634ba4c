package file

// Caps in bytes, except as named.
const (
	MaxEntries   = 4096     // secrets in one vault
	maxPlaintext = 10 << 20 // MaxEntries names and secrets of full size, encoded
	maxHeader    = 256
	maxFile      = maxPlaintext + 1024
)
