package governance

import (
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// DraftAsRoot builds a root act of a device on the current heads, that every holder of the root that counts may sign, one
// after the other. Its author is a carrier only and signs last, in [Log.AssembleAsRoot]: as long as he takes its number
// for nothing else, and [Log.CheckAsRoot] has no objection, holders may take their time. It checks first that the act would count if enough signed
// it, and fails as [Log.Propose] does. Nothing is signed.
func (l *Log) DraftAsRoot(by identity.DeviceID, kind Kind, content any, opts ...ProposeOption) (*Draft, error) {
	var p proposal
	for _, o := range opts {
		o(&p)
	}
	for _, h := range l.Root().Holders {
		p.listed = append(p.listed, h.Member)
	}
	p.listed = wire.SortIDs(p.listed)
	e, err := l.drafted(by, kind, content, &p)
	if err == nil {
		err = l.standing(e)
	}
	if err != nil {
		return nil, fmt.Errorf("governance: draft %v as the root: %w", kind, err)
	}
	return draftOf(e.event), nil
}

// CheckAsRoot says why a draft of [Log.DraftAsRoot] would not count now: its author has used its number or is not known,
// another version of the root counts or the root is suspended, or a checkpoint was settled without it that it comes too late for. It fails
// with [ErrUnknownEvent] if parents are missing here, with [ErrEvent] or a [*DeniedError].
func (l *Log) CheckAsRoot(d *Draft) error {
	if err := l.checkAsRoot(d); err != nil {
		return fmt.Errorf("governance: %v as the root: %w", d.Kind, err)
	}
	return nil
}

func (l *Log) checkAsRoot(d *Draft) error {
	if err := l.checkOrigin(d.event); err != nil {
		return err
	}
	if missing := l.missingOf(d.event); len(missing) > 0 {
		return fmt.Errorf("%w: parent %s", ErrUnknownEvent, missing[0].Short())
	}
	if next := l.NextAseq(d.Author); d.Aseq != next {
		return fmt.Errorf("%w: it has number %d, its author's next is %d", ErrEvent, d.Aseq, next)
	}
	e, err := l.facts(d.event)
	if err != nil {
		return err
	}
	l.readBody(e)
	return l.standing(e)
}

// standing says why a root act would not count if it came now: by its past, by the root that counts, or because it is late.
func (l *Log) standing(e *entry) error {
	if err := l.denied(e); err != nil {
		return err
	}
	f := l.h.overtaken(e, uint32(len(l.h.roots.force)))
	if f.ok() {
		f = (&replay{h: l.h, base: l.newest()}).late(e)
	}
	if f.ok() {
		return nil
	}
	d := &DeniedError{Kind: e.kind, Reason: f.reason}
	if f.culprit != none {
		d.Culprit = l.h.entries[f.culprit].id
	}
	return d
}

// SignAsHolder signs a draft of [Log.DraftAsRoot] as a holder of the root. It fails with [ErrEvent] if the draft does not
// list the holder.
func (d *Draft) SignAsHolder(h HolderSigner) ([]byte, error) {
	if !slices.Contains(d.Holders, h.Member()) {
		return nil, fmt.Errorf("governance: sign %v as the root: %w: %s is not listed", d.Kind, ErrEvent, h.Member().Short())
	}
	return h.Sign(sign.EventRoot, d.Core)
}

// VerifyHolder checks a holder's signature of a draft. It fails with [ErrEvent] or [sign.ErrSignature].
func (l *Log) VerifyHolder(d *Draft, holder identity.MemberID, signature []byte) error {
	if !slices.Contains(d.Holders, holder) {
		return fmt.Errorf("governance: %w: %s is not listed", ErrEvent, holder.Short())
	}
	if err := l.verifyHolder(d.event, holder, signature); err != nil {
		return fmt.Errorf("governance: %v as the root: %w", d.Kind, err)
	}
	return nil
}

// AssembleAsRoot signs a draft of [Log.DraftAsRoot] as its author, with the signatures of as many of its holders as must
// sign, or more; the others' stay blank. It fails as [Log.CheckAsRoot] does, with [sign.ErrSignature], or with [ErrEvent] if too few have
// signed. The log is not changed, as by [Log.Propose].
func (l *Log) AssembleAsRoot(a Author, d *Draft, signatures map[identity.MemberID][]byte) (raw []byte, err error) {
	if err = l.checkAsRoot(d); err == nil && d.Author != a.Device {
		err = fmt.Errorf("%w: it is another device's", ErrEvent)
	}
	if err != nil {
		return nil, fmt.Errorf("governance: assemble %v as the root: %w", d.Kind, err)
	}
	sigs := [][]byte{a.Keys.DK.Sign(sign.Event, d.Core)}
	for _, m := range d.Holders {
		sigs = append(sigs, append([]byte{}, signatures[m]...)) // blank, not absent
	}
	whole := *d.event
	whole.sigs = sigs
	raw = wire.Marshal(wire.Signed{Core: d.Core, Sigs: sigs})
	switch err = l.verifyHolders(&whole); {
	case err != nil:
	case len(raw) > MaxEvent:
		err = fmt.Errorf("%w: %d bytes, at most %d", wire.ErrTooLarge, len(raw), MaxEvent)
	default:
		return raw, nil
	}
	return nil, fmt.Errorf("governance: assemble %v as the root: %w", d.Kind, err)
}
