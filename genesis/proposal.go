package genesis

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Draft is what the next version of a root is to be. Its policy's threshold says how many of its holders must sign.
type Draft struct {
	Title    string
	Policy   Policy
	Holders  []Offer   // see MakeHolder and Root.Offer
	Frontier []wire.ID // governance heads up to which the version before stays in force, at most MaxFrontier
	Abandons []RootID  // proposals for this version that are withdrawn, at most MaxAbandons
	Reason   string
}

// Proposal is a root record that is being signed: by enough holders of the version before and by every new one. It is
// not safe for concurrent use.
type Proposal struct {
	ID      RootID
	Core    []byte // must not be changed
	Expires uint64 // Unix seconds; honest holders neither sign nor complete it later
	Parent  *Root
	Next    *Root // what the record will say; nobody's signature is behind it yet

	before, now map[identity.MemberID][]byte
}

// proposalRecord is a proposal as it travels and as it is stored.
type proposalRecord struct {
	Core    []byte      `cbor:"1,keyasint"`
	Expires uint64      `cbor:"2,keyasint"`
	Before  []holderSig `cbor:"3,keyasint"`
	Now     []holderSig `cbor:"4,keyasint"`
}

// Propose makes the proposal of a version after parent that ends at expires. Nobody has signed it. It fails as
// [ParseNext] does if the record would be wrong.
func Propose(random io.Reader, parent *Root, d Draft, expires time.Time) (*Proposal, error) {
	prev := wire.ID(parent.ID)
	core := rootCore{
		Head: wire.NewHead(), N: parent.N + 1, Prev: &prev, Title: wire.NFC(d.Title), Policy: d.Policy,
		Frontier: wire.SortIDs(slices.Clone(d.Frontier)), Reason: wire.NFC(d.Reason),
	}
	if _, err := io.ReadFull(random, core.Nonce[:]); err != nil {
		return nil, fmt.Errorf("genesis: propose a root: randomness: %w", err)
	}
	for _, id := range d.Abandons {
		core.Abandons = append(core.Abandons, wire.ID(id))
	}
	wire.SortIDs(core.Abandons)
	holders := slices.SortedFunc(slices.Values(d.Holders), func(a, b Offer) int { return bytes.Compare(a.Member[:], b.Member[:]) })
	for _, o := range holders {
		core.Holders = append(core.Holders, holderRecord{Member: o.Member, Key: o.Key.Bytes()})
		if o.Shares != nil {
			core.ShareSets = append(core.ShareSets, shareSetRecord(*o.Shares))
		}
	}
	p, err := newProposal(parent, wire.Marshal(core), uint64(max(expires.Unix(), 0)))
	if err != nil {
		return nil, fmt.Errorf("genesis: propose a root: %w", err)
	}
	return p, nil
}

func newProposal(parent *Root, raw []byte, expires uint64) (*Proposal, error) {
	core, err := decodeRootCore(raw)
	if err != nil {
		return nil, err
	}
	next, err := core.follow(parent, raw)
	if err != nil {
		return nil, err
	}
	return &Proposal{
		ID: next.ID, Core: bytes.Clone(raw), Expires: expires, Parent: parent, Next: next,
		before: map[identity.MemberID][]byte{}, now: map[identity.MemberID][]byte{},
	}, nil
}

// PeekProposal reads of a proposal, at most [MaxProposal] bytes, what it is and what it follows. It proves nothing.
func PeekProposal(raw []byte) (id, prev RootID, err error) {
	var rec proposalRecord
	if err := wire.Unmarshal(raw, &rec, MaxProposal); err != nil {
		return id, prev, fmt.Errorf("genesis: proposal: %w", err)
	}
	id, prev, _, err = peekRoot(wire.Marshal(signedRoot{Core: rec.Core}))
	if err != nil {
		return id, prev, fmt.Errorf("genesis: proposal: %w", err)
	}
	return id, prev, nil
}

// ParseProposal reads a proposal, at most [MaxProposal] bytes, for the version after parent and verifies the signatures
// in it. The error is one of [ParseNext].
func ParseProposal(parent *Root, raw []byte) (*Proposal, error) {
	var rec proposalRecord
	if err := wire.Unmarshal(raw, &rec, MaxProposal); err != nil {
		return nil, fmt.Errorf("genesis: proposal: %w", err)
	}
	p, err := newProposal(parent, rec.Core, rec.Expires)
	if err != nil {
		return nil, fmt.Errorf("genesis: proposal: %w", err)
	}
	for _, l := range []struct {
		root *Root
		sigs []holderSig
		into map[identity.MemberID][]byte
	}{{p.Parent, rec.Before, p.before}, {p.Next, rec.Now, p.now}} {
		for i, s := range l.sigs {
			if i > 0 && bytes.Compare(l.sigs[i-1].Member[:], s.Member[:]) >= 0 {
				return nil, fmt.Errorf("genesis: proposal: %w: signatures are not sorted", wire.ErrMalformed)
			}
			if err := verifyHolder(p.Core, l.root, s.Member, s.Sig); err != nil {
				return nil, fmt.Errorf("genesis: proposal: %w", err)
			}
			l.into[s.Member] = s.Sig
		}
	}
	return p, nil
}

// Encode returns the proposal with the signatures that it has.
func (p *Proposal) Encode() []byte {
	return wire.Marshal(proposalRecord{Core: p.Core, Expires: p.Expires, Before: sortedSigs(p.before), Now: sortedSigs(p.now)})
}

func sortedSigs(sigs map[identity.MemberID][]byte) []holderSig {
	members := slices.SortedFunc(maps.Keys(sigs), func(a, b identity.MemberID) int { return bytes.Compare(a[:], b[:]) })
	out := make([]holderSig, len(members))
	for i, m := range members {
		out[i] = holderSig{Member: m, Sig: sigs[m]}
	}
	return out
}

// Merge takes over the signatures of another copy of the proposal, and its end if that is earlier. It reports whether
// anything is new.
func (p *Proposal) Merge(other *Proposal) bool {
	if other.ID != p.ID {
		return false
	}
	before := len(p.before) + len(p.now)
	for m, s := range other.before {
		if p.before[m] == nil {
			p.before[m] = s
		}
	}
	for m, s := range other.now {
		if p.now[m] == nil {
			p.now[m] = s
		}
	}
	earlier := other.Expires < p.Expires
	p.Expires = min(p.Expires, other.Expires)
	return earlier || len(p.before)+len(p.now) > before
}

// Sign signs with a holder's key, as holder of the version before, as new holder, or as both. It fails with
// [ErrExpired], [ErrNotHolder], or what the ledger says: [ErrSecondRecord].
func (p *Proposal) Sign(a *Authority, l Ledger, now time.Time) error {
	if err := p.Open(now); err != nil {
		return err
	}
	public, err := a.public()
	if err != nil {
		return err
	}
	old, wasHolder := p.Parent.Holder(a.Member())
	next, isHolder := p.Next.Holder(a.Member())
	wasHolder, isHolder = wasHolder && old.Key.Equal(public), isHolder && next.Key.Equal(public)
	if !wasHolder && !isHolder {
		return fmt.Errorf("%w: version %d", ErrNotHolder, p.Next.N)
	}
	sig, err := a.SignNext(l, p.Core)
	if err != nil {
		return err
	}
	if wasHolder {
		p.before[a.Member()] = sig
	}
	if isHolder {
		p.now[a.Member()] = sig
	}
	return nil
}

// Open fails with [ErrExpired] if the proposal's time is over, or unreasonably far.
func (p *Proposal) Open(now time.Time) error {
	at := uint64(max(now.Unix(), 0))
	if p.Expires < at || p.Expires > at+MaxProposalAge {
		return fmt.Errorf("%w: version %d, %s", ErrExpired, p.Next.N, p.ID.Short())
	}
	return nil
}

// Signed reports whether somebody has signed as a holder of the version before, and as a new one.
func (p *Proposal) Signed(member identity.MemberID) (before, now bool) {
	return p.before[member] != nil, p.now[member] != nil
}

// Endorsed reports whether at least one holder of the version before has signed: others need not look at it before.
func (p *Proposal) Endorsed() bool { return len(p.before) > 0 }

// Lacks says how many holders of the version before and which new ones have yet to sign.
func (p *Proposal) Lacks() (before int, now []identity.MemberID) {
	for _, h := range p.Next.Holders {
		if p.now[h.Member] == nil {
			now = append(now, h.Member)
		}
	}
	return max(0, int(p.Parent.Policy.Threshold)-len(p.before)), now
}

// Needs reports whether the proposal waits for a member's signature.
func (p *Proposal) Needs(member identity.MemberID) bool {
	before, now := p.Lacks()
	_, holds := p.Parent.Holder(member)
	return before > 0 && holds && p.before[member] == nil || slices.Contains(now, member)
}

// Complete returns the signed record. It fails with [ErrExpired], or [ErrIncomplete].
func (p *Proposal) Complete(now time.Time) ([]byte, error) {
	if err := p.Open(now); err != nil {
		return nil, err
	}
	if before, missing := p.Lacks(); before > 0 || len(missing) > 0 {
		return nil, fmt.Errorf("%w: %d of the holders before, %d of the new ones", ErrIncomplete, before, len(missing))
	}
	raw := wire.Marshal(signedRoot{Core: p.Core, Before: sortedSigs(p.before), Now: sortedSigs(p.now)})
	if _, err := ParseNext(p.Parent, raw); err != nil {
		return nil, err
	}
	return raw, nil
}

// Ledger remembers, for good, which records a holder has signed in each place of a chain.
type Ledger interface {
	// Note is called before a signature is made. It returns only when the signing is durable, and fails with what
	// Signing.Allowed says about those noted before in the same place.
	Note(s Signing) error
}

// Signing is a holder's signature that is about to be made.
type Signing struct {
	Prev     RootID // the place: the record that the signed one follows
	ID       RootID
	Abandons []RootID
}

// Allowed fails with [ErrSecondRecord] if one of the records that were signed in the same place before is neither this
// one nor abandoned by it. To sign the same one again is what a crash asks for.
func (s Signing) Allowed(signed []RootID) error {
	for _, id := range signed {
		if id != s.ID && !slices.Contains(s.Abandons, id) {
			return fmt.Errorf("%w: %s after %s", ErrSecondRecord, id.Short(), s.Prev.Short())
		}
	}
	return nil
}

// SignNext signs the core of the record after [Authority.Root], or after the one that a new holder was asked to follow.
// The ledger is asked first: without its consent no signature is made.
func (a *Authority) SignNext(l Ledger, core []byte) ([]byte, error) {
	key := a.key.Load()
	if key == nil {
		return nil, ErrClosed
	}
	c, err := decodeRootCore(core)
	if err != nil {
		return nil, fmt.Errorf("genesis: sign a root record: %w", err)
	}
	next, err := c.follow(a.root, core)
	if err != nil {
		return nil, fmt.Errorf("genesis: sign a root record: %w", err)
	}
	if err := l.Note(Signing{Prev: next.Prev, ID: next.ID, Abandons: next.Abandons}); err != nil {
		return nil, fmt.Errorf("genesis: sign a root record: %w", err)
	}
	return key.Sign(sign.Root, core), nil
}

func (a *Authority) public() (*sign.PublicKey, error) {
	key := a.key.Load()
	if key == nil {
		return nil, ErrClosed
	}
	return key.Public(), nil
}
