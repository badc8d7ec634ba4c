package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
)

const whyMake = `Whoever has the master key rules the project. So nobody keeps it, not even you: it is cut into three parts, and
any two of them make it whole for the moment in which it is needed. One part alone tells nothing.

Part one stays in this computer's keychain. Part two goes to something that you hold in your hand. Part three is locked
with twelve words, which you write on paper; the locked part goes into a recovery file on a medium that you keep elsewhere.`

func (r *rehearsal) make(ctx context.Context) error {
	ceremony, err := custodian.Solo(custodian.KeyStore(r.keychain), r.second, r.phrase)
	if err != nil {
		return err
	}
	if _, err := genesis.ResumeFounding(ctx, r.journal, func(genesis.ProjectID) *genesis.Root { return nil }, ceremony.Custodians); err != nil {
		return err
	}
	f := r.founder
	f.Ceremony, f.Journal, f.Store = ceremony, r.journal, r.store
	root, err := genesis.Found(ctx, rand.Reader, time.Now(), f)
	if err != nil {
		return err
	}
	for _, c := range ceremony.Custodians {
		r.say("  kept and read back: %s", c.Label())
	}
	r.say("The project %s has a key, in three parts. It was whole in this program's memory only, and is gone from there.",
		root.Project.Short())
	return nil
}

const whyDrill = `A part that cannot be found when it is needed is no part. So try them now and then, say every three months: each
is fetched, compared with what the project's public record says of it, and dropped again. The key is not put together.`

func (r *rehearsal) drill(ctx context.Context) error {
	health := genesis.CheckShares(ctx, r.root(), []genesis.Custodian{custodian.KeyStore(r.keychain), r.second, r.phrase})
	var errs []error
	for _, h := range health {
		if h.Err != nil {
			r.say("  NOT there: %v", h.Err)
			errs = append(errs, h.Err)
			continue
		}
		r.say("  there and good: %s", h.Custodian)
	}
	return errors.Join(errs...)
}

const whyLose = `Something gets lost: say, the thing that you hold in your hand. Put it away. With the keychain and your words the
key can still be made; with the keychain alone it cannot.`

func (r *rehearsal) lose(ctx context.Context) error {
	chain := custodian.KeyStore(r.keychain)
	var few *genesis.QuorumError
	if err := r.use(ctx, r.root(), chain); !errors.As(err, &few) {
		return fmt.Errorf("one part alone should not be enough: %w", errors.Join(err, errors.New("it was")))
	}
	r.say("  the keychain alone: %d part, %d are needed", few.Have, few.Need)
	if err := r.use(ctx, r.root(), chain, r.phrase); err != nil {
		return err
	}
	if err := genesis.MarkKnown(ctx, r.journal, r.root().Project, r.second); err != nil {
		return err
	}
	return r.tellOwed(ctx)
}

// tellOwed says what should be done about parts that others may have.
func (r *rehearsal) tellOwed(ctx context.Context) error {
	c, err := genesis.Inspect(ctx, r.journal, r.root())
	if err != nil {
		return err
	}
	r.say("  parts that somebody else may have: %d; what you should make: %s", c.Known, c.Owed)
	return nil
}

const whyReplace = `Whoever finds the lost part needs one more. So make it worthless: the same key is cut anew, into three parts that do
not fit the old ones, and what is left of the old ones is erased. You get twelve new words; throw the old paper away.`

func (r *rehearsal) replace(ctx context.Context) error {
	chain := custodian.KeyStore(r.keychain)
	next, err := custodian.Solo(chain, r.spare, r.phrase)
	if err != nil {
		return err
	}
	if err := r.refresh(ctx, []genesis.Custodian{chain, r.phrase}, next, "a part was lost"); err != nil {
		return err
	}
	// The lost one will never be erased: whoever finds it has one part of three that are no more.
	if err := genesis.GiveUp(ctx, r.journal, r.root(), r.second); err != nil {
		return err
	}
	return r.tellOwed(ctx)
}

// refresh makes new parts of the same key.
func (r *rehearsal) refresh(ctx context.Context, from []genesis.Custodian, next genesis.Ceremony, reason string) error {
	if _, err := genesis.Resume(ctx, r.journal, r.root(), r.records(), from); err != nil {
		return err
	}
	res, err := genesis.Refresh(ctx, rand.Reader, genesis.Change{
		Root: r.root(), Records: r.records(), From: from, Next: next, Reason: reason, Now: time.Now(),
		Journal: r.journal, Store: r.store,
	})
	if err != nil {
		return err
	}
	for _, c := range next.Custodians {
		r.say("  kept and read back: %s", c.Label())
	}
	for _, left := range res.Left {
		r.say("  not erased: %v", left)
	}
	r.say("  the project's public record is version %d now", res.Root.N)
	return nil
}

const whyLoseAll = `Now the computer burns, with its keychain and every file on it. On a new one there is nothing but what you bring: the
thing in your hand, the medium with the recovery file, your words. The recovery file also holds the project's public
records, locked with the same words, so that the parts can be told from forged ones.`

func (r *rehearsal) loseComputer(ctx context.Context) error {
	carried := filepath.Join(r.elsewhere, "collab-recovery")
	data, err := os.ReadFile(filepath.Join(r.stick, "collab-recovery"))
	if err == nil {
		err = os.WriteFile(carried, data, 0o600)
	}
	if err != nil {
		return err
	}
	from := []genesis.Custodian{r.spare, custodian.Phrase(r.who.phrase, carried)}
	roots, err := genesis.FindRoots(ctx, from)
	if err != nil {
		return err
	}
	if len(roots) == 0 || roots[len(roots)-1].ID != r.root().ID {
		return errors.New("the recovery file does not lead to the project")
	}
	found := roots[len(roots)-1]
	r.say("  found in an empty folder: project %s, version %d of its public record", found.Project.Short(), found.N)
	return r.use(ctx, found, from...)
}

const whySettle = `The burnt computer may not be burnt at all, but stolen. So cut the key anew once more, and put one part into the new
computer's keychain.`

func (r *rehearsal) settle(ctx context.Context) error {
	r.journal = custodian.Journal(r.newKeychain) // what the old one noted is lost with it
	next, err := custodian.Solo(custodian.KeyStore(r.newKeychain), r.spare, r.phrase)
	if err != nil {
		return err
	}
	if err := r.refresh(ctx, []genesis.Custodian{r.spare, r.phrase}, next, "the computer was lost"); err != nil {
		return err
	}
	return r.use(ctx, r.root(), next.Custodians[0], next.Custodians[1])
}
