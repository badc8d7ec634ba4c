package crdt

// Limits bounds what a document accepts from outside. A zero field means the default.
type Limits struct {
	UpdateBytes    int // bytes of one update; 64 MiB
	UpdateStructs  int // structs of one update, runs of collected structs counting once; 4 Mi
	Clients        int // distinct client IDs a document may mention; 65,536
	Roots          int // shared types at the top level; 10,000
	PendingStructs int // structs kept while they wait for predecessors; 262,144
	PendingBytes   int // bytes of content of those structs; 64 MiB
	PendingDeletes int // delete ranges kept while they wait for what they delete; 262,144
}

const (
	defaultUpdateBytes    = 64 << 20
	defaultUpdateStructs  = 4 << 20
	defaultClients        = 1 << 16
	defaultRoots          = 10_000
	defaultPendingStructs = 1 << 18
	defaultPendingBytes   = 64 << 20
	defaultPendingDeletes = 1 << 18
)

const (
	// maxClock is the largest clock a client may reach. Clocks are kept in 32 bits.
	maxClock = 1<<31 - 1
	// maxName is the longest name of a root, in bytes.
	maxName = 4096
	// maxArena is the most content, in bytes, one document holds. Offsets are kept in 32 bits, and moving a run to
	// a new place may take up to twice its size again before the next compaction.
	maxArena = 1 << 30
)

func orDefault(v, def int) int {
	if v <= 0 {
		return def
	}
	return v
}

func (l Limits) withDefaults() Limits {
	return Limits{
		UpdateBytes:    min(orDefault(l.UpdateBytes, defaultUpdateBytes), maxArena),
		UpdateStructs:  orDefault(l.UpdateStructs, defaultUpdateStructs),
		Clients:        orDefault(l.Clients, defaultClients),
		Roots:          orDefault(l.Roots, defaultRoots),
		PendingStructs: orDefault(l.PendingStructs, defaultPendingStructs),
		PendingBytes:   orDefault(l.PendingBytes, defaultPendingBytes),
		PendingDeletes: orDefault(l.PendingDeletes, defaultPendingDeletes),
	}
}
