package genesis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Change says how the shares of a root are made anew, by [Refresh] or [Rekey]. One change of a project runs at a time.
type Change struct {
	Root     *Root       // the record in force, of a single holder; see MakeHolder for roots of several
	Records  [][]byte    // the signed records before it, oldest first, for custodians that carry records
	From     []Custodian // who keep shares now: all that can be reached, as their shares are erased in the end
	Next     Ceremony    // who keep the new shares; may be the same
	Frontier []wire.ID   // governance heads up to which the record before stays in force, at most MaxFrontier
	Abandons []RootID    // withdrawn proposals for the next version
	Reason   string      // for people, at most MaxReason bytes
	Now      time.Time

	Journal Journal
	Ledger  Ledger // what the holder has signed elsewhere; may be nil

	// Store makes next the project's root record, durably, and has it sent. The new shares count as soon as that has
	// happened. If it fails nobody knows: call Resume with the record that turns out to be stored.
	Store func(ctx context.Context, next *Root) error
}

// Reshared is a change that is complete.
type Reshared struct {
	Root *Root   // the record in force now
	Left []error // why shares that count no longer could not be erased; Inspect counts them, Resume tries again
}

// Refresh makes new shares of the same key, under a new root record. It is for when fewer shares than rebuild the key may
// be known to others, or custodians change. Old shares still rebuild the key until they are erased: see [Reshared]. If
// enough of them may be known it fails with [ErrRekeyOwed].
//
// The order is such that a crash at any point leaves one usable set of shares, and [Resume] tells which: the journal
// says that new shares are coming; every custodian keeps its new share, which is read back and verified; the key is
// rebuilt of what came back; the new record is signed and stored, and with that the new shares count; media that carry
// records get it; then the old shares are erased. What fails before the record is signed is undone.
//
// It fails with [ErrCeremony], [ErrUnfinished], a [*QuorumError], a [*ShareError] of a custodian, or what Store returns. An
// error that comes with a result came after the new record was stored: it is in force, and Resume does the rest.
func Refresh(ctx context.Context, random io.Reader, c Change) (*Reshared, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	condition, err := Inspect(ctx, c.Journal, c.Root)
	if err != nil {
		return nil, err
	}
	if condition.Owed == OwedRekey {
		return nil, ErrRekeyOwed
	}
	return c.run(ctx, random, sameSeed)
}

// Rekey makes a new key, with new shares, under a new root record that the old and the new key sign. It is the only
// answer when others may know enough shares. Otherwise it is as [Refresh].
func Rekey(ctx context.Context, random io.Reader, c Change) (*Reshared, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return c.run(ctx, random, newSeed)
}

// seedChoice returns the seed of the new shares; the caller wipes it.
type seedChoice func(random io.Reader, old *identity.Seed) (*identity.Seed, error)

func sameSeed(_ io.Reader, old *identity.Seed) (*identity.Seed, error) {
	seed := *old
	return &seed, nil
}

func newSeed(random io.Reader, _ *identity.Seed) (*identity.Seed, error) {
	seed := new(identity.Seed)
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		seed.Wipe()
		return nil, fmt.Errorf("genesis: new key: randomness: %w", err)
	}
	return seed, nil
}

func (c *Change) check() error {
	if c.Root == nil || c.Journal == nil || c.Store == nil {
		return fmt.Errorf("%w: a change needs a root, a journal and a place to store the new record", ErrCeremony)
	}
	if len(c.Root.Holders) != 1 {
		return fmt.Errorf("%w: the root has %d holders, whose consent a new record needs: propose it", ErrCeremony, len(c.Root.Holders))
	}
	return c.Next.check()
}

func (c *Change) run(ctx context.Context, random io.Reader, choose seedChoice) (*Reshared, error) {
	defer endCeremony(c.Next.Custodians)
	rec, err := loadJournal(ctx, c.Journal, c.Root.Project)
	if err != nil {
		return nil, err
	}
	if rec.Phase != phaseIdle {
		return nil, ErrUnfinished
	}
	if rec.Base != c.Root.ID {
		rec.Base, rec.Signed = c.Root.ID, nil
	}
	var next *Root
	err = c.withSeed(ctx, rec, func(set *ShareSet, old *identity.Seed) error {
		seed, err := choose(random, old)
		if err != nil {
			return err
		}
		defer seed.Wipe()
		next, err = c.reshare(ctx, random, rec, set.Member, old, seed)
		return err
	})
	if err != nil {
		return nil, err
	}
	left, err := rec.finish(ctx, c.Journal, next, append(slices.Clone(c.Records), c.Root.Raw), c.Next.Custodians, c.From)
	return &Reshared{Root: next, Left: left}, err
}

// withSeed gathers a quorum, notes where the current shares lie unless the journal knows, and calls fn with the rebuilt
// seed, which is wiped afterwards.
func (c *Change) withSeed(ctx context.Context, rec *journalRecord, fn func(*ShareSet, *identity.Seed) error) error {
	located := !slices.ContainsFunc(c.Root.ShareSets, func(s ShareSet) bool { return rec.set(s.Ceremony) == nil })
	answers := gather(ctx, c.Root, c.From, func(sofar []answer) bool {
		_, _, err := quorum(c.Root, sofar)
		return located && err == nil
	})
	defer wipeAnswers(answers)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("genesis: new shares: %w", err)
	}
	set, shares, err := quorum(c.Root, answers)
	if err != nil {
		return err
	}
	if !located {
		rec.locate(set, c.From, answers)
	}
	seed, err := rebuildSeed(c.Root, set, shares)
	if err != nil {
		return err
	}
	defer seed.Wipe()
	wipeAnswers(answers)
	return fn(set, seed)
}

// reshare does everything from the journal's first note to the storing of the new record.
func (c *Change) reshare(ctx context.Context, random io.Reader, rec *journalRecord, member identity.MemberID, old, seed *identity.Seed) (*Root, error) {
	oldKey, key := NewHolderKey(*old), NewHolderKey(*seed)
	shares, err := deal(random, seed, member, c.Root.N+1, c.Next)
	defer wipeShares(shares)
	if err != nil {
		return nil, err
	}
	set := ShareSet(shareSetOf(shares))
	offer := &Offer{Member: member, Key: key.Public(), Shares: &set}
	if err := rec.begin(c.Root, &set, c.Next.Custodians); err != nil {
		return nil, err
	}
	if err := rec.save(ctx, c.Journal); err != nil {
		return nil, err
	}
	_, err = keepEach(ctx, offer.place(c.Root), c.Next.Custodians, shares, append(slices.Clone(c.Records), c.Root.Raw))
	var next *Root
	if err == nil {
		next, err = c.sign(ctx, random, rec, *offer, oldKey, key)
	}
	if err != nil {
		left, undoErr := rec.undo(ctx, c.Journal, c.Root, c.Next.Custodians)
		return nil, errors.Join(err, errors.Join(left...), undoErr)
	}
	if err := c.Store(ctx, next); err != nil {
		return nil, fmt.Errorf("genesis: store root record %s: %w (%w)", next.ID.Short(), err, ErrUnfinished)
	}
	return next, nil
}

// sign makes the next record and signs it with both keys, which may be one.
func (c *Change) sign(ctx context.Context, random io.Reader, rec *journalRecord, offer Offer, oldKey, key *sign.PrivateKey) (*Root, error) {
	d := Draft{
		Title: c.Root.Title, Policy: c.Root.Policy, Frontier: c.Frontier, Reason: c.Reason,
		Holders: []Offer{offer}, Abandons: slices.Clone(c.Abandons),
	}
	for _, id := range rec.Signed {
		if !slices.Contains(d.Abandons, RootID(id)) {
			d.Abandons = append(d.Abandons, RootID(id))
		}
	}
	p, err := Propose(random, c.Root, d, c.Now.Add(time.Hour))
	if err != nil {
		return nil, err
	}
	for _, k := range []*sign.PrivateKey{oldKey, key} {
		a := &Authority{root: c.Root, member: offer.Member}
		a.key.Store(k)
		err := p.Sign(a, &signingLedger{ctx, c.Journal, rec, c.Ledger}, c.Now)
		a.key.Store(nil)
		if err != nil {
			return nil, err
		}
	}
	raw, err := p.Complete(c.Now)
	if err != nil {
		return nil, err
	}
	return ParseNext(c.Root, raw)
}

// signingLedger notes in the journal what is about to be signed, before it asks the program's own ledger.
type signingLedger struct {
	ctx   context.Context
	j     Journal
	rec   *journalRecord
	inner Ledger
}

func (l *signingLedger) Note(s Signing) error {
	if l.rec.Next != s.ID {
		l.rec.Next = s.ID
		if err := l.rec.save(l.ctx, l.j); err != nil {
			return err
		}
	}
	if l.inner == nil {
		return nil
	}
	return l.inner.Note(s)
}
