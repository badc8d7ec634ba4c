package genesis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/wire"
)

// deal splits a holder's seed over the custodians of c, under a new ceremony id. Randomness is drawn for the id and the
// salts; the polynomial's comes from the system. The caller wipes the shares, also those that come with an error.
func deal(random io.Reader, seed *identity.Seed, holder identity.MemberID, version uint32, c Ceremony) ([]shareRecord, error) {
	var ceremony [16]byte
	if _, err := io.ReadFull(random, ceremony[:]); err != nil {
		return nil, fmt.Errorf("genesis: deal shares: randomness: %w", err)
	}
	return dealAs(random, seed, holder, version, ceremony, rootPubHash(NewHolderKey(*seed).Public()), c)
}

func dealAs(random io.Reader, seed *identity.Seed, holder identity.MemberID, version uint32, ceremony [16]byte, key wire.ID, c Ceremony) ([]shareRecord, error) {
	ys, err := split(seed, c.Threshold, len(c.Custodians))
	if err != nil {
		return nil, err
	}
	shares := make([]shareRecord, len(ys))
	for i := range ys {
		shares[i] = shareRecord{
			Head: wire.NewHead(), Magic: shareMagic, Ceremony: ceremony, Holder: holder, RootVersion: version,
			K: uint8(c.Threshold), M: uint8(len(ys)), X: uint8(i + 1), Y: ys[i], RootPubHash: key,
			Label: cutLabel(c.Custodians[i].Label()),
		}
		secmem.Wipe(ys[i][:])
	}
	for i := range shares {
		if _, err := io.ReadFull(random, shares[i].Salt[:]); err != nil {
			return shares, fmt.Errorf("genesis: deal shares: randomness: %w", err)
		}
	}
	return shares, nil
}

// shareSetOf is what the root record says about shares.
func shareSetOf(shares []shareRecord) shareSetRecord {
	s := &shares[0]
	set := shareSetRecord{Member: s.Holder, Ceremony: s.Ceremony, K: s.K, M: s.M, RootPubHash: s.RootPubHash}
	for i := range shares {
		set.Commitments = append(set.Commitments, shares[i].commitment())
	}
	return set
}

func wipeShares(shares []shareRecord) {
	for i := range shares {
		shares[i].wipe()
	}
}

// keepAll gives each custodian its share of root's only share set, with the record root.Raw, reads it back, and rebuilds
// the key of the first k that came back. It returns how many custodians may hold a share now.
func keepAll(ctx context.Context, root *Root, custodians []Custodian, shares []shareRecord) (asked int, err error) {
	return keepEach(ctx, root, custodians, shares, [][]byte{root.Raw})
}

func keepEach(ctx context.Context, root *Root, custodians []Custodian, shares []shareRecord, records [][]byte) (asked int, err error) {
	names := labels(custodians)
	var back []*shareRecord
	defer func() {
		for _, s := range back {
			s.wipe()
		}
	}()
	for i, c := range custodians {
		if err := ctx.Err(); err != nil {
			return i, fmt.Errorf("genesis: keep shares: %w", err)
		}
		if err := otherPlace(ctx, root, c, i); err != nil {
			return i, err
		}
		s, err := keepOne(ctx, root, c, &shares[i], records)
		if err != nil {
			return i + 1, &ShareError{Custodian: names[i], Err: err}
		}
		back = append(back, s)
	}
	set := &root.ShareSets[0]
	_, err = rebuild(root, set, back[:set.K])
	return len(custodians), err
}

// otherPlace makes sure that c does not hold one of the shares kept so far: two shares in one place are one factor.
func otherPlace(ctx context.Context, root *Root, c Custodian, kept int) error {
	for i := range kept {
		raw, err := c.Recall(ctx, refOf(root, i))
		secmem.Wipe(raw)
		if err == nil {
			return fmt.Errorf("%w: custodians %d and %d keep their shares in one place; whoever finds it finds both",
				ErrCeremony, i+1, kept+1)
		}
	}
	return nil
}

// keepOne keeps a share and returns it as it was read back and verified.
func keepOne(ctx context.Context, root *Root, c Custodian, share *shareRecord, records [][]byte) (*shareRecord, error) {
	ref := refOf(root, int(share.X)-1)
	raw := share.encode()
	defer secmem.Wipe(raw)
	handed := bytes.Clone(raw) // so that a custodian that changes its argument is found out
	defer secmem.Wipe(handed)
	if err := keep(ctx, c, ref, handed, records); err != nil {
		return nil, err
	}
	back, err := c.Recall(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("read the share back: %w", err)
	}
	defer secmem.Wipe(back)
	if !bytes.Equal(back, raw) {
		return nil, fmt.Errorf("read the share back: %w: other bytes came back than were kept", ErrShareCorrupt)
	}
	return root.verifyShare(back)
}

func keep(ctx context.Context, c Custodian, ref ShareRef, share []byte, records [][]byte) error {
	if rk, ok := c.(RecordKeeper); ok {
		return rk.KeepWithRecords(ctx, ref, share, records)
	}
	return c.Keep(ctx, ref, share)
}

func refOf(root *Root, i int) ShareRef {
	return ShareRef{Project: root.Project, Ceremony: root.ShareSets[0].Ceremony, X: byte(i + 1)}
}

// forgetAll undoes keepAll. It goes on when ctx has ended: a share must not stay behind because somebody pressed cancel.
func forgetAll(ctx context.Context, root *Root, custodians []Custodian) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for i, name := range labels(custodians) {
		if err := custodians[i].Forget(ctx, refOf(root, i)); err != nil {
			errs = append(errs, &ShareError{Custodian: name, Err: fmt.Errorf("a useless share may still lie there: %w", err)})
		}
	}
	return errors.Join(errs...)
}
