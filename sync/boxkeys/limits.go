package boxkeys

// Caps of one project's keys. A record fits what any key store holds, 2000 bytes.
const (
	maxKeys   = 12 // remembered, erased ones too
	maxHeld   = 8  // not erased
	maxRecord = 2000
)
