package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// rehearsal is the course of it: a list of steps over what was made so far.
type rehearsal struct {
	*parts
	who     person
	out     io.Writer
	founder genesis.Founding // without its ceremony

	phrase  genesis.Custodian // the words and the recovery file
	journal genesis.Journal
	roots   []*genesis.Root // the project's root records; an editor's program has a store for them
}

// step is one scene.
type step struct {
	title string
	why   string
	do    func(*rehearsal, context.Context) error
}

// steps are played in this order.
var steps = []step{
	{"Make the key", whyMake, (*rehearsal).make},
	{"Try the three parts", whyDrill, (*rehearsal).drill},
	{"Lose one part", whyLose, (*rehearsal).lose},
	{"Make new parts", whyReplace, (*rehearsal).replace},
	{"Lose the whole computer", whyLoseAll, (*rehearsal).loseComputer},
	{"Settle on the new computer", whySettle, (*rehearsal).settle},
	{"Hand over to a team", whyTeam, (*rehearsal).team},
}

func newRehearsal(p *parts, who person, out io.Writer) (*rehearsal, error) {
	r := &rehearsal{parts: p, who: who, out: out, journal: custodian.Journal(p.keychain)}
	r.phrase = custodian.Phrase(who.phrase, filepath.Join(p.stick, "collab-recovery"))
	founder, err := newFounder("Rehearsal")
	r.founder = founder
	return r, err
}

// newFounder makes up who founds the project; a collab.Node has an identity of its own.
func newFounder(name string) (f genesis.Founding, err error) {
	var seeds [3]identity.Seed
	for i := range seeds {
		_, _ = rand.Read(seeds[i][:]) // never fails
		defer seeds[i].Wipe()
	}
	key := identity.NewIdentityKey(seeds[0])
	id, err := identity.NewIdentityCert(key, name, wire.ID{1}, time.Now())
	if err != nil {
		return f, err
	}
	device, err := identity.NewDeviceCert(key, id.Member(), identity.NewDeviceKeys(seeds[1], kem.NewPrivateKey(seeds[2])), 30)
	return genesis.Founding{Title: "Rehearsal", Policy: genesis.DefaultPolicy(), Identity: id, Device: device}, err
}

func (r *rehearsal) play(ctx context.Context) error {
	r.say("A rehearsal of how you keep a project's master key. What takes part:")
	for _, note := range r.notes {
		r.say("- %s", note)
	}
	r.say("- recovery file: in %s", r.stick)
	for i, s := range steps {
		r.say("\n%d of %d. %s\n\n%s\n", i+1, len(steps), s.title, s.why)
		if err := r.who.ready(ctx, "Read this."); err != nil {
			return err
		}
		if err := s.do(r, ctx); err != nil {
			return fmt.Errorf("%s: %w", s.title, err)
		}
	}
	r.say("\nThat was all of it. What the rehearsal kept is erased now.\nok")
	return nil
}

func (r *rehearsal) say(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }

// root is the root record in force.
func (r *rehearsal) root() *genesis.Root { return r.roots[len(r.roots)-1] }

// records are those before it.
func (r *rehearsal) records() [][]byte {
	var out [][]byte
	for _, root := range r.roots[:len(r.roots)-1] {
		out = append(out, root.Raw)
	}
	return out
}

func (r *rehearsal) store(_ context.Context, root *genesis.Root) error {
	r.roots = append(r.roots, root)
	return nil
}

// use rebuilds the key of what the custodians give, for one harmless call.
func (r *rehearsal) use(ctx context.Context, root *genesis.Root, from ...genesis.Custodian) error {
	return genesis.Authorize(ctx, root, from, func(a *genesis.Authority) error {
		r.say("  the key is whole for a moment, and could change who rules the project")
		return nil
	})
}

// erase takes back everything that was kept, wherever the rehearsal ended.
func (r *rehearsal) erase(ctx context.Context) error {
	everybody := []genesis.Custodian{
		custodian.KeyStore(r.keychain), custodian.KeyStore(r.newKeychain), r.second, r.spare, r.phrase,
	}
	var errs []error
	for _, root := range r.roots {
		for _, set := range root.ShareSets {
			for x := byte(1); x <= set.M; x++ {
				for _, c := range everybody {
					errs = append(errs, c.Forget(ctx, genesis.ShareRef{Project: root.Project, Ceremony: set.Ceremony, X: x}))
				}
			}
		}
		for _, ring := range []genesis.Journal{custodian.Journal(r.keychain), custodian.Journal(r.newKeychain)} {
			errs = append(errs, ring.Save(ctx, root.Project, nil))
		}
	}
	return errors.Join(errs...)
}
