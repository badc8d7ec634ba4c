package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/keystore/memory"
)

const whyTeam = `A project that has outgrown one person should not hang on one. So hand it over to three: each has a key of their own,
kept as they like, and any two of them decide from then on. You sign with the key that rules now, and each of the three
signs that they hold theirs. Your key stays, in the parts that you have, but alone it rules nothing any more.

Ben and Cleo are played by this program; in an editor they are at their own computers and have a week to sign.`

// team hands the project over to three people, of whom any two decide.
func (r *rehearsal) team(ctx context.Context) error {
	before := r.root()
	mine, ok := before.Offer(r.founder.Identity.Member())
	if !ok {
		return errors.New("the project's key is not the founder's")
	}
	me := holder{offer: &mine, parts: []genesis.Custodian{custodian.KeyStore(r.newKeychain), r.spare}}
	people := []*holder{&me}
	for _, name := range []string{"Ben", "Cleo"} {
		h, err := newColleague(ctx, name, before)
		if err != nil {
			return err
		}
		r.say("  %s has made a key, in two parts", name)
		people = append(people, h)
	}

	p, err := propose(before, 2, people, "a team takes over")
	if err != nil {
		return err
	}
	if err := me.sign(ctx, p); err != nil {
		return err
	}
	for _, h := range people[1:] {
		if err := genesis.AuthorizeOffer(ctx, before, h.offer, h.parts, h.signer(p)); err != nil {
			return err
		}
	}
	if err := r.complete(ctx, p); err != nil {
		return err
	}
	r.say("  the project's public record is version %d now: three people, any two of whom decide", r.root().N)

	alone, err := propose(r.root(), 1, people[:1], "all mine again")
	if err != nil {
		return err
	}
	if err := me.sign(ctx, alone); err != nil {
		return err
	}
	if _, err := alone.Complete(time.Now()); err == nil {
		return errors.New("one of three should not be able to take the project back")
	}
	missing, _ := alone.Lacks()
	r.say("  you alone cannot take it back: %d signature is missing", missing)
	return genesis.SpreadRecords(ctx, r.root(), r.records(), []genesis.Custodian{r.phrase})
}

// holder is somebody who has a key, and what they have signed: an editor's program notes that on disk.
type holder struct {
	offer  *genesis.Offer
	parts  []genesis.Custodian
	signed map[genesis.RootID][]genesis.RootID
}

// newColleague makes up a person with a key in two parts.
func newColleague(ctx context.Context, name string, root *genesis.Root) (*holder, error) {
	f, err := newFounder(name)
	if err != nil {
		return nil, err
	}
	h := &holder{parts: []genesis.Custodian{custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())}}
	h.offer, err = genesis.MakeHolder(ctx, rand.Reader, root, f.Identity, genesis.Ceremony{Threshold: 2, Custodians: h.parts})
	return h, err
}

// Note keeps a person from signing two records for one place.
func (h *holder) Note(s genesis.Signing) error {
	if err := s.Allowed(h.signed[s.Prev]); err != nil {
		return err
	}
	if h.signed == nil {
		h.signed = map[genesis.RootID][]genesis.RootID{}
	}
	h.signed[s.Prev] = append(h.signed[s.Prev], s.ID)
	return nil
}

func (h *holder) signer(p *genesis.Proposal) func(*genesis.Authority) error {
	return func(a *genesis.Authority) error { return p.Sign(a, h, time.Now()) }
}

// sign signs as a holder of the version in force.
func (h *holder) sign(ctx context.Context, p *genesis.Proposal) error {
	return genesis.Authorize(ctx, p.Parent, h.parts, h.signer(p))
}

// propose says who is to hold the next version, and how many of them decide.
func propose(root *genesis.Root, threshold uint8, people []*holder, reason string) (*genesis.Proposal, error) {
	d := genesis.Draft{Title: root.Title, Policy: root.Policy, Reason: reason}
	d.Policy.Threshold = threshold
	for _, h := range people {
		d.Holders = append(d.Holders, *h.offer)
	}
	return genesis.Propose(rand.Reader, root, d, time.Now().Add(7*24*time.Hour))
}

// complete makes the record of a proposal that everybody has signed the one in force.
func (r *rehearsal) complete(ctx context.Context, p *genesis.Proposal) error {
	raw, err := p.Complete(time.Now())
	if err != nil {
		return err
	}
	next, err := genesis.ParseNext(p.Parent, raw)
	if err != nil {
		return fmt.Errorf("the new record: %w", err)
	}
	return r.store(ctx, next)
}
