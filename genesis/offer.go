package genesis

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Offer is a key with which somebody is ready to hold the root, and what a record is to say of its shares.
type Offer struct {
	Member identity.MemberID
	Key    *sign.PublicKey
	Shares *ShareSet // nil: the holder keeps the key otherwise
}

type offerRecord struct {
	Holder holderRecord     `cbor:"1,keyasint"`
	Shares []shareSetRecord `cbor:"2,keyasint"` // one, or none
}

// Encode returns the offer as it travels and as it is stored.
func (o *Offer) Encode() []byte {
	rec := offerRecord{Holder: holderRecord{Member: o.Member, Key: o.Key.Bytes()}}
	if o.Shares != nil {
		rec.Shares = []shareSetRecord{shareSetRecord(*o.Shares)}
	}
	return wire.Marshal(rec)
}

// ParseOffer reads an offer of at most [MaxOffer] bytes. That the holder has the key is proved only by the signature in
// the record.
func ParseOffer(raw []byte) (*Offer, error) {
	var rec offerRecord
	if err := wire.Unmarshal(raw, &rec, MaxOffer); err != nil {
		return nil, fmt.Errorf("genesis: offer of a holder: %w", err)
	}
	c := rootCore{Holders: []holderRecord{rec.Holder}, ShareSets: rec.Shares}
	holders, err := c.holders()
	if err != nil {
		return nil, fmt.Errorf("genesis: offer of a holder: %w", err)
	}
	sets, err := c.shareSets(holders)
	if err != nil {
		return nil, fmt.Errorf("genesis: offer of a holder: %w", err)
	}
	o := &Offer{Member: holders[0].Member, Key: holders[0].Key}
	if len(sets) > 0 {
		o.Shares = &sets[0]
	}
	return o, nil
}

// Offer returns the key and shares of a current holder, who goes on with them in the next version.
func (r *Root) Offer(member identity.MemberID) (Offer, bool) {
	h, ok := r.Holder(member)
	if !ok {
		return Offer{}, false
	}
	o := Offer{Member: member, Key: h.Key}
	for i := range r.ShareSets {
		if r.ShareSets[i].Member == member {
			o.Shares = &r.ShareSets[i]
		}
	}
	return o, true
}

// MakeHolder holds the ceremony of a new holder of the root that parent is the current record of: a new seed is drawn,
// split over c's custodians, each share is read back, and the key rebuilt of what came back. It returns what the next
// record is to say. Failures are those of [Found]; what was kept is forgotten then. The seed is wiped on every path.
func MakeHolder(ctx context.Context, random io.Reader, parent *Root, who *identity.IdentityCert, c Ceremony) (*Offer, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	f := Founding{Identity: who, Ceremony: c}
	place, shares, err := f.newHolder(random, parent)
	defer wipeShares(shares)
	if err != nil {
		return nil, err
	}
	asked, err := keepAll(ctx, place, c.Custodians, shares)
	if err != nil {
		return nil, errors.Join(err, forgetAll(ctx, place, c.Custodians[:asked]))
	}
	return &Offer{Member: who.Member(), Key: place.Holders[0].Key, Shares: &place.ShareSets[0]}, nil
}

// newHolder draws a seed and splits it. The record that it returns stands for the next one as far as shares go.
func (f *Founding) newHolder(random io.Reader, parent *Root) (*Root, []shareRecord, error) {
	seed := new(identity.Seed)
	defer seed.Wipe()
	var ceremony [16]byte
	for _, b := range [][]byte{seed[:], ceremony[:]} {
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, nil, fmt.Errorf("genesis: new holder: randomness: %w", err)
		}
	}
	key := NewHolderKey(*seed).Public()
	shares, err := f.shares(random, seed, ceremony, key)
	if err != nil {
		return nil, shares, err
	}
	for i := range shares {
		shares[i].RootVersion = parent.N + 1
	}
	set := ShareSet(shareSetOf(shares))
	return (&Offer{Member: f.Identity.Member(), Key: key, Shares: &set}).place(parent), shares, nil
}

// place returns a stand-in for the record after parent that has the offer's holder only. It carries parent's record to
// custodians that keep records.
func (o *Offer) place(parent *Root) *Root {
	r := &Root{
		Project: parent.Project, N: parent.N + 1, Prev: parent.ID, Holders: []Holder{{Member: o.Member, Key: o.Key}},
		Raw: parent.Raw, superseded: append(parent.ceremonies(), parent.superseded...),
	}
	if o.Shares != nil {
		r.ShareSets = []ShareSet{*o.Shares}
	}
	return r
}

// AuthorizeOffer is [Authorize] for a key that is offered and in no record yet: the authority can sign the record after
// parent, and nothing else that anybody would take.
func AuthorizeOffer(ctx context.Context, parent *Root, o *Offer, from []Custodian, fn func(*Authority) error) error {
	return Authorize(ctx, o.place(parent), from, func(a *Authority) error {
		a.root = parent
		return fn(a)
	})
}
