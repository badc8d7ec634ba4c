package genesis

import (
	"bytes"
	"fmt"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// The root record on the wire: [core, signatures of the holders before, signatures of the holders in it].
type signedRoot struct {
	_      struct{} `cbor:",toarray"`
	Core   []byte
	Before []holderSig
	Now    []holderSig
}

type holderSig struct {
	_      struct{} `cbor:",toarray"`
	Member identity.MemberID
	Sig    []byte
}

// rootCore is the signed part of a root record of any version.
type rootCore struct {
	wire.Head
	N         uint32           `cbor:"3,keyasint"`
	Prev      *wire.ID         `cbor:"4,keyasint,omitempty"`
	Nonce     [16]byte         `cbor:"5,keyasint"`
	Title     string           `cbor:"6,keyasint"`
	Policy    Policy           `cbor:"7,keyasint"`
	Holders   []holderRecord   `cbor:"8,keyasint"`
	ShareSets []shareSetRecord `cbor:"9,keyasint"`
	Founder   *founderRecord   `cbor:"10,keyasint,omitempty"`
	Frontier  []wire.ID        `cbor:"11,keyasint"`
	Abandons  []wire.ID        `cbor:"12,keyasint"`
	Heals     []wire.ID        `cbor:"13,keyasint"`
	Reason    string           `cbor:"14,keyasint"`
}

type holderRecord struct {
	Member identity.MemberID `cbor:"1,keyasint"`
	Key    []byte            `cbor:"2,keyasint"`
}

type shareSetRecord struct {
	Member      identity.MemberID `cbor:"1,keyasint"`
	Ceremony    [16]byte          `cbor:"2,keyasint"`
	K           uint8             `cbor:"3,keyasint"`
	M           uint8             `cbor:"4,keyasint"`
	RootPubHash wire.ID           `cbor:"5,keyasint"`
	Commitments []wire.ID         `cbor:"6,keyasint"`
	PhraseBlob  []byte            `cbor:"7,keyasint,omitempty"`
}

type founderRecord struct {
	Identity []byte `cbor:"1,keyasint"`
	Device   []byte `cbor:"2,keyasint"`
}

// check verifies what holds for a root record of any version and needs no signature.
func (c *rootCore) check() error {
	if err := c.Head.Check(); err != nil {
		return err
	}
	if c.N == 0 || (c.N == 1) != (c.Prev == nil) || (c.N == 1) != (c.Founder != nil) {
		return fmt.Errorf("%w: number %d, previous record and founder do not fit", ErrRoot, c.N)
	}
	if err := wire.CheckText(c.Title, MaxTitle); err != nil {
		return fmt.Errorf("title: %w", err)
	}
	if err := wire.CheckText(c.Reason, MaxReason); err != nil {
		return fmt.Errorf("reason: %w", err)
	}
	if len(c.Holders) == 0 || len(c.Holders) > MaxHolders || len(c.ShareSets) > MaxHolders {
		return fmt.Errorf("%w: %d holders and %d share sets, 1 to %d are allowed",
			wire.ErrTooLarge, len(c.Holders), len(c.ShareSets), MaxHolders)
	}
	if len(c.Frontier) > MaxFrontier || len(c.Abandons) > MaxAbandons || len(c.Heals) > MaxHeals {
		return fmt.Errorf("%w: %d frontier, %d abandoned, %d healed records, at most %d, %d, %d are allowed",
			wire.ErrTooLarge, len(c.Frontier), len(c.Abandons), len(c.Heals), MaxFrontier, MaxAbandons, MaxHeals)
	}
	if !wire.SortedIDs(c.Frontier) || !wire.SortedIDs(c.Abandons) || !wire.SortedIDs(c.Heals) {
		return fmt.Errorf("%w: list of records is not sorted", wire.ErrMalformed)
	}
	if c.N == 1 && len(c.Frontier)+len(c.Abandons)+len(c.Heals) > 0 {
		return fmt.Errorf("%w: version 1 follows nothing and settles nothing", ErrRoot)
	}
	return c.Policy.check(len(c.Holders))
}

// holders reads the holder list: ascending by member, every key usable and of one holder only.
func (c *rootCore) holders() ([]Holder, error) {
	out := make([]Holder, len(c.Holders))
	for i, h := range c.Holders {
		if i > 0 && bytes.Compare(c.Holders[i-1].Member[:], h.Member[:]) >= 0 {
			return nil, fmt.Errorf("%w: holders are not sorted", wire.ErrMalformed)
		}
		key, err := sign.ParsePublicKey(h.Key)
		if err != nil {
			return nil, fmt.Errorf("holder %s: %w", h.Member.Short(), err)
		}
		for _, other := range out[:i] {
			if other.Key.Equal(key) {
				return nil, fmt.Errorf("%w: two holders share a key", ErrRoot)
			}
		}
		out[i] = Holder{Member: h.Member, Key: key}
	}
	return out, nil
}

// shareSets reads the share sets: ascending by member, at most one for a holder, none for anybody else.
func (c *rootCore) shareSets(holders []Holder) ([]ShareSet, error) {
	out := make([]ShareSet, len(c.ShareSets))
	for i, s := range c.ShareSets {
		if i > 0 && bytes.Compare(c.ShareSets[i-1].Member[:], s.Member[:]) >= 0 {
			return nil, fmt.Errorf("%w: share sets are not sorted", wire.ErrMalformed)
		}
		var key *sign.PublicKey
		for _, h := range holders {
			if h.Member == s.Member {
				key = h.Key
			}
		}
		set := ShareSet(s)
		if err := set.check(key); err != nil {
			return nil, fmt.Errorf("share set of %s: %w", s.Member.Short(), err)
		}
		for _, other := range out[:i] {
			if other.Ceremony == s.Ceremony {
				return nil, fmt.Errorf("%w: two share sets are of one ceremony", ErrRoot)
			}
		}
		out[i] = set
	}
	return out, nil
}

// check verifies a share set of the holder whose key is given, nil if there is no such holder.
func (s *ShareSet) check(key *sign.PublicKey) error {
	switch {
	case key == nil:
		return fmt.Errorf("%w: he is no holder", ErrRoot)
	case s.K < MinThreshold || s.K > s.M || s.M > MaxShares:
		return fmt.Errorf("%w: %d of %d shares; at least %d must agree and at most %d exist",
			ErrRoot, s.K, s.M, MinThreshold, MaxShares)
	case len(s.Commitments) != int(s.M):
		return fmt.Errorf("%w: %d commitments to %d shares", ErrRoot, len(s.Commitments), s.M)
	case s.RootPubHash != rootPubHash(key):
		return fmt.Errorf("%w: it speaks of another key than the holder's", ErrRoot)
	case len(s.PhraseBlob) > MaxPhraseBlob:
		return fmt.Errorf("%w: phrase blob of %d bytes, at most %d", wire.ErrTooLarge, len(s.PhraseBlob), MaxPhraseBlob)
	}
	return nil
}
