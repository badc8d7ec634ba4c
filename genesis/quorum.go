package genesis

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/secmem"
)

// answer is what one custodian gave when it was asked for its share.
type answer struct {
	custodian string
	share     *shareRecord // verified; nil if err is set
	err       error
}

// gather asks custodians for their shares of the root's current ceremonies, in order, and verifies each share by
// itself. It stops early when enough says so. The caller wipes the answers.
func gather(ctx context.Context, root *Root, from []Custodian, enough func([]answer) bool) []answer {
	names := labels(from)
	answers := make([]answer, 0, len(from))
	for i, c := range from {
		a := answer{custodian: names[i]}
		raw, err := recall(ctx, root, c)
		if err == nil {
			a.share, err = root.verifyShare(raw)
			secmem.Wipe(raw)
		}
		a.err = err
		a.refuseCopy(answers)
		answers = append(answers, a)
		if enough(answers) {
			break
		}
	}
	return answers
}

// recall asks a custodian for each share that the root knows until it has one.
func recall(ctx context.Context, root *Root, c Custodian) ([]byte, error) {
	if c == nil {
		return nil, fmt.Errorf("%w: there is no custodian", ErrNoShare)
	}
	none := fmt.Errorf("%w: the root record names no shares", ErrNoShare)
	for _, set := range root.ShareSets {
		for x := byte(1); x <= set.M; x++ {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			raw, err := c.Recall(ctx, ShareRef{Project: root.Project, Ceremony: set.Ceremony, X: x})
			if err == nil || !errors.Is(err, ErrNoShare) {
				return raw, err
			}
			none = err
		}
	}
	return nil, none
}

// verifyShare checks one share against the root record, in this order: form and checksum, project, ceremony, fields,
// commitment. What it returns was made by the holder's ceremony.
func (r *Root) verifyShare(raw []byte) (*shareRecord, error) {
	share, err := ParseShare(raw)
	if err != nil {
		return nil, err
	}
	s := &share.secret.record
	if err := r.checkShare(s); err != nil {
		s.wipe()
		return nil, err
	}
	return s, nil
}

func (r *Root) checkShare(s *shareRecord) error {
	set := r.shareSet(s.Ceremony)
	if set == nil {
		if slices.Contains(r.superseded, s.Ceremony) {
			return fmt.Errorf("%w: made for root version %d, superseded since", ErrShareOtherCeremony, s.RootVersion)
		}
		return ErrShareForeignProject
	}
	if s.Holder != set.Member || s.K != set.K || s.M != set.M || s.RootPubHash != set.RootPubHash || s.RootVersion > r.N {
		return fmt.Errorf("%w: it does not fit the ceremony in the root record", ErrShareCorrupt)
	}
	got, want := s.commitment(), set.Commitments[s.X-1]
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return fmt.Errorf("%w: it is not the share that the root record commits to", ErrShareCorrupt)
	}
	return nil
}

// shareSet returns the current share set of a ceremony, nil if there is none.
func (r *Root) shareSet(ceremony [16]byte) *ShareSet {
	for i := range r.ShareSets {
		if r.ShareSets[i].Ceremony == ceremony {
			return &r.ShareSets[i]
		}
	}
	return nil
}

// refuseCopy drops a share that an earlier custodian gave too. Only verified shares are compared, so a forged share
// cannot push out the real one.
func (a *answer) refuseCopy(earlier []answer) {
	for _, other := range earlier {
		if a.share != nil && other.share != nil && a.share.Ceremony == other.share.Ceremony && a.share.X == other.share.X {
			a.share.wipe()
			a.share, a.err = nil, fmt.Errorf("%w: custodian %q gave it too", ErrShareDuplicate, other.custodian)
		}
	}
}

func wipeAnswers(answers []answer) {
	for _, a := range answers {
		if a.share != nil {
			a.share.wipe()
		}
	}
}

// quorum picks the shares of the holder of whom enough came together; the first one if of several.
func quorum(root *Root, answers []answer) (*ShareSet, []*shareRecord, error) {
	best := &QuorumError{Answers: make(map[string]error, len(answers))}
	for i := range root.ShareSets {
		set := &root.ShareSets[i]
		var shares []*shareRecord
		for _, a := range answers {
			if a.share != nil && a.share.Ceremony == set.Ceremony && len(shares) < int(set.K) {
				shares = append(shares, a.share)
			}
		}
		if len(shares) == int(set.K) {
			return set, shares, nil
		}
		if best.Need == 0 || len(shares) > best.Have {
			best.Have, best.Need = len(shares), int(set.K)
		}
	}
	superseded := false
	for _, a := range answers {
		best.Answers[a.custodian] = a.err
		superseded = superseded || errors.Is(a.err, ErrShareOtherCeremony)
	}
	if superseded && best.Have == 0 {
		return nil, nil, fmt.Errorf("%w: they are superseded; use those of the latest ceremony: %w", ErrRootMismatch, best)
	}
	return nil, nil, best
}

// rebuildSeed combines k verified shares and makes sure that they give the holder's key. The caller wipes the seed.
func rebuildSeed(root *Root, set *ShareSet, shares []*shareRecord) (*identity.Seed, error) {
	seed, err := combine(shares)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRootMismatch, err)
	}
	made, want := NewHolderKey(*seed).Public().Bytes(), root.holderKey(set.Member).Bytes()
	if subtle.ConstantTimeCompare(made, want) != 1 {
		seed.Wipe()
		return nil, fmt.Errorf("%w: every share fits its commitment, but the record was made of other shares", ErrRootMismatch)
	}
	return seed, nil
}

// rebuild returns the holder's key of k verified shares; the seed is wiped.
func rebuild(root *Root, set *ShareSet, shares []*shareRecord) (*sign.PrivateKey, error) {
	seed, err := rebuildSeed(root, set, shares)
	if err != nil {
		return nil, err
	}
	defer seed.Wipe()
	return NewHolderKey(*seed), nil
}

func (r *Root) holderKey(member identity.MemberID) *sign.PublicKey {
	for _, h := range r.Holders {
		if h.Member == member {
			return h.Key
		}
	}
	return nil // no share set is without its holder: ParseRoot refuses it
}
