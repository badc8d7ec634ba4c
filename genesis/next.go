package genesis

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// ParseNext reads the record that follows parent, a verified one, and verifies it: it names parent by hash and its
// number by one more, at least the threshold of parent's holders have signed it, distinct by member and by key, every
// new holder has, and what [ParseRoot] checks. The error is as there, or wraps [ErrDowngrade]. It does not say that the
// record is in force: there may be another one; a [Chain] knows.
func ParseNext(parent *Root, raw []byte) (*Root, error) {
	r, err := parseNext(parent, raw)
	if err != nil {
		return nil, fmt.Errorf("genesis: root record after version %d: %w", parent.N, err)
	}
	return r, nil
}

// parseNext also returns a record that is right in all but that it asks for what this build lacks, with
// [ErrUpgradeRequired]: it was signed by who may, and stops the chain here.
func parseNext(parent *Root, raw []byte) (*Root, error) {
	signed, core, upgrade := decodeRoot(raw)
	if upgrade != nil && !errors.Is(upgrade, ErrUpgradeRequired) {
		return nil, upgrade
	}
	r, err := core.follow(parent, signed.Core)
	if err != nil {
		return nil, err
	}
	if err := verifyThreshold(signed.Core, parent, signed.Before); err != nil {
		return nil, err
	}
	if err := verifyHolders(signed.Core, r.Holders, signed.Now); err != nil {
		return nil, err
	}
	r.Raw = bytes.Clone(raw)
	return r, upgrade
}

// follow returns what a core says that follows parent; no signature is verified.
func (c *rootCore) follow(parent *Root, raw []byte) (*Root, error) {
	if c.N != parent.N+1 || c.Prev == nil || RootID(*c.Prev) != parent.ID {
		return nil, fmt.Errorf("%w: number %d does not follow record %s of number %d", ErrRoot, c.N, parent.ID.Short(), parent.N)
	}
	r, err := c.root(raw)
	if err != nil {
		return nil, err
	}
	r.Project = parent.Project
	for _, old := range append(slices.Clone(parent.superseded), parent.ceremonies()...) {
		if r.shareSet(old) == nil {
			r.superseded = append(r.superseded, old)
		}
	}
	return r, nil
}

// ceremonies returns the current ceremonies of a root.
func (r *Root) ceremonies() [][16]byte {
	out := make([][16]byte, len(r.ShareSets))
	for i, s := range r.ShareSets {
		out[i] = s.Ceremony
	}
	return out
}

// verifyThreshold checks that enough of parent's holders have signed core, ascending by member. A holder list has no
// two equal members or keys, so that each signature is another person's and another key's. Signatures beyond the
// threshold must hold as well.
func verifyThreshold(core []byte, parent *Root, sigs []holderSig) error {
	if len(sigs) < int(parent.Policy.Threshold) || len(sigs) > len(parent.Holders) {
		return fmt.Errorf("%w: %d of the %d holders of version %d have signed, %d are needed",
			ErrRoot, len(sigs), len(parent.Holders), parent.N, parent.Policy.Threshold)
	}
	for i, s := range sigs {
		if i > 0 && bytes.Compare(sigs[i-1].Member[:], s.Member[:]) >= 0 {
			return fmt.Errorf("%w: signatures of the holders before are not sorted", wire.ErrMalformed)
		}
		if err := verifyHolder(core, parent, s.Member, s.Sig); err != nil {
			return err
		}
	}
	return nil
}

// verifyHolder checks one holder's signature over core.
func verifyHolder(core []byte, root *Root, member identity.MemberID, sig []byte) error {
	h, ok := root.Holder(member)
	if !ok {
		return fmt.Errorf("%w: %s is no holder of version %d", ErrRoot, member.Short(), root.N)
	}
	if err := h.Key.Verify(sign.Root, core, sig); err != nil {
		return fmt.Errorf("holder %s: %w", member.Short(), err)
	}
	return nil
}

// ParsePinned reads a record of a later version whose id is known from a source that is trusted: an invite code. Its own
// holders' signatures are verified; those of the holders before cannot be, and need not, as the id vouches for it.
func ParsePinned(project ProjectID, id RootID, raw []byte) (*Root, error) {
	r, err := parsePinned(project, id, raw)
	if err != nil {
		return nil, fmt.Errorf("genesis: pinned root record: %w", err)
	}
	return r, nil
}

func parsePinned(project ProjectID, id RootID, raw []byte) (*Root, error) {
	signed, core, err := decodeRoot(raw)
	if err != nil {
		return nil, err
	}
	r, err := core.root(signed.Core)
	if err != nil {
		return nil, err
	}
	if r.ID != id || core.N == 1 {
		return nil, fmt.Errorf("%w: record %s of number %d is not the one that is pinned", ErrForeignRoot, r.ID.Short(), r.N)
	}
	if err := verifyHolders(signed.Core, r.Holders, signed.Now); err != nil {
		return nil, err
	}
	r.Project, r.Raw = project, bytes.Clone(raw)
	return r, nil
}

// peekRoot reads of a record whose predecessor may not be there what it is and what it follows. It proves nothing.
func peekRoot(raw []byte) (id, prev RootID, n uint32, err error) {
	signed, core, err := decodeRoot(raw)
	if err != nil && !errors.Is(err, ErrUpgradeRequired) {
		return id, prev, 0, err
	}
	if core.Prev != nil {
		prev = RootID(*core.Prev)
	}
	return RootID(derive.ID(string(sign.Root), signed.Core)), prev, core.N, nil
}
