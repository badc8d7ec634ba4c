package genesis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Founding is what a project starts from. The founder becomes the only holder of its root and its first manager.
type Founding struct {
	Title    string // of the project, at most MaxTitle bytes
	Policy   Policy // see DefaultPolicy
	Identity *identity.IdentityCert
	Device   *identity.DeviceCert // of the founder; chain 0 of this device is open from the start
	Ceremony Ceremony

	Journal Journal // notes where the shares lie; may be nil, then a crash can leave useless shares behind

	// Store, if not nil, makes the record the project's, durably, as a part of the ceremony. If it fails it must have
	// stored nothing: the shares are forgotten then.
	Store func(ctx context.Context, root *Root) error
}

// Found holds the founding ceremony and returns version 1 of the root record, verified as [ParseRoot] does it. It
// draws the holder's root seed and a ceremony's randomness from random (the polynomial's coefficients always come
// from the system), gives every custodian its share, reads each share back from its medium and rebuilds the key of
// what came back. Only then it returns: a root record whose shares were lost on the way never leaves. now is compared
// with the end of the device's certificate, if it has one.
//
// With a journal, call [ResumeFounding] at every start: what a crash interrupted is undone then.
//
// On failure what was kept is forgotten again, even if ctx has ended; the error says so where that failed too. It
// wraps [ErrCeremony] if nothing was tried, a [*ShareError] if a custodian failed, or what is wrong with the record.
// The seed and every share are wiped on every path.
func Found(ctx context.Context, random io.Reader, now time.Time, f Founding) (*Root, error) {
	if err := f.check(now); err != nil {
		return nil, err
	}
	root, shares, err := f.prepare(random)
	defer wipeShares(shares)
	if err != nil {
		return nil, err
	}
	if err := f.keep(ctx, root, shares); err != nil {
		return nil, err
	}
	return root, nil
}

// keep gives every custodian its share, within the journal if there is one.
func (f *Founding) keep(ctx context.Context, root *Root, shares []shareRecord) error {
	rec := &journalRecord{Head: wire.NewHead(), Magic: journalMagic, Project: root.Project}
	if f.Journal != nil {
		if err := rec.beginFounding(ctx, f.Journal, root, f.Ceremony.Custodians); err != nil {
			return err
		}
	}
	defer endCeremony(f.Ceremony.Custodians)
	asked, err := keepAll(ctx, root, f.Ceremony.Custodians, shares)
	if err == nil && f.Store != nil {
		err = f.Store(ctx, root)
	}
	if err != nil {
		err = errors.Join(err, forgetAll(ctx, root, f.Ceremony.Custodians[:asked]))
	}
	switch {
	case f.Journal == nil:
		return err
	case err != nil:
		return errors.Join(err, wrapJournal(f.Journal.Save(context.WithoutCancel(ctx), ProjectID{}, nil)))
	}
	return rec.founded(ctx, f.Journal)
}

func (f *Founding) check(now time.Time) error {
	if f.Identity == nil || f.Device == nil {
		return fmt.Errorf("%w: the founder's certificates are missing", ErrCeremony)
	}
	if err := f.Device.VerifyIdentity(f.Identity); err != nil {
		return fmt.Errorf("%w: %w", ErrCeremony, err)
	}
	if end := f.Device.NotAfter; end != nil && uint64(max(now.Unix(), 0)) > *end {
		return fmt.Errorf("%w: the certificate of device %s has ended", ErrCeremony, f.Device.ID.Short())
	}
	return f.Ceremony.check()
}

// prepare makes the signed root record and the shares of its key. The seed lives inside this call only.
func (f *Founding) prepare(random io.Reader) (*Root, []shareRecord, error) {
	seed := new(identity.Seed)
	defer seed.Wipe()
	var ceremony, nonce [16]byte
	for _, b := range [][]byte{seed[:], ceremony[:], nonce[:]} {
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, nil, fmt.Errorf("genesis: found: randomness: %w", err)
		}
	}
	key := NewHolderKey(*seed)
	shares, err := f.shares(random, seed, ceremony, key.Public())
	if err != nil {
		return nil, shares, err
	}
	member := f.Identity.Member()
	core := wire.Marshal(rootCore{
		Head: wire.NewHead(), N: 1, Nonce: nonce, Title: wire.NFC(f.Title), Policy: f.Policy,
		Holders:   []holderRecord{{Member: member, Key: key.Public().Bytes()}},
		ShareSets: []shareSetRecord{shareSetOf(shares)},
		Founder:   &founderRecord{Identity: f.Identity.Raw, Device: f.Device.Raw},
	})
	root, err := ParseRoot(wire.Marshal(signedRoot{
		Core: core, Now: []holderSig{{Member: member, Sig: key.Sign(sign.Root, core)}},
	}))
	return root, shares, err
}

// shares splits seed over the ceremony's custodians.
func (f *Founding) shares(random io.Reader, seed *identity.Seed, ceremony [16]byte, key *sign.PublicKey) ([]shareRecord, error) {
	return dealAs(random, seed, f.Identity.Member(), 1, ceremony, rootPubHash(key), f.Ceremony)
}
