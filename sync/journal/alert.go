package journal

import (
	"fmt"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
)

// AlertKind is what an [Alert] is about.
type AlertKind uint8

const (
	// AlertFork: Device has written two different envelopes of one place in a chain; the chain ends before it.
	AlertFork AlertKind = iota + 1
	// AlertSnapshot: Device served a snapshot of Doc that its envelopes contradict; the document was rebuilt.
	AlertSnapshot
	// AlertDoubt: another device holds newer envelopes of this device's own chain than this device itself; it goes on
	// with a new chain.
	AlertDoubt
	// AlertUnapplied: an accepted envelope cannot be applied to its document.
	AlertUnapplied
	// AlertChain: this device's own edits could not be signed, or no chain could be opened; Err says why.
	AlertChain
)

// String returns the kind's name.
func (k AlertKind) String() string {
	switch k {
	case AlertFork:
		return "chain forked"
	case AlertSnapshot:
		return "snapshot disputed"
	case AlertDoubt:
		return "own chain in doubt"
	case AlertUnapplied:
		return "edit not applied"
	case AlertChain:
		return "cannot write"
	}
	return fmt.Sprintf("alert %d", uint8(k))
}

// Alert is something a person should look at.
type Alert struct {
	Kind    AlertKind
	Device  identity.DeviceID // whose act it is
	ChainNo uint32
	Seq     uint64
	Doc     DocID
	Err     error
}

// alert queues an alert; j.mu is held.
func (j *Journal) alert(a Alert) {
	j.log.Warn("journal: alert", "kind", a.Kind.String(), "device", a.Device.Short(), "chain", a.ChainNo, "seq", a.Seq, "err", a.Err)
	for _, fn := range j.onAlert {
		j.tell(func() { fn(a) })
	}
}

// Gap says that something is missing which other devices may have.
type Gap struct {
	From    identity.DeviceID // who showed it
	Device  identity.DeviceID // author of the chain
	ChainNo uint32
	After   uint64               // what follows this envelope is missing; 0 also if the chains disagree
	Heads   []governance.EventID // governance heads that are missing; else envelopes, or a key, are
}

func (j *Journal) gap(g Gap) {
	for _, fn := range j.onGap {
		j.tell(func() { fn(g) })
	}
}
