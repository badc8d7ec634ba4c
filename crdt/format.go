package crdt

// Format is one of the two update formats of Yjs. They say the same; V2 is smaller for long histories and larger for
// single keystrokes. State vectors are the same in both. A Format is an ApplyOption: ApplyUpdate(b, V2).
type Format uint8

const (
	// V1 writes struct after struct. It is the default everywhere, and what other implementations read best.
	V1 Format = iota + 1
	// V2 writes the fields of all structs in columns, packed by run lengths.
	V2
)

func (f Format) apply(c *applyConfig) { c.format = f }

func (f Format) String() string {
	switch f {
	case V1:
		return "v1"
	case V2:
		return "v2"
	}
	return "unknown format"
}

// oneFormat is the format given, or V1.
func oneFormat(fs []Format) Format {
	if len(fs) > 0 {
		return fs[0]
	}
	return V1
}
