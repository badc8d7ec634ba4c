package invite

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/keystore/memory"
)

type anyLedger struct{}

func (anyLedger) Note(genesis.Signing) error { return nil }

func newCeremony() genesis.Ceremony {
	return genesis.Ceremony{Threshold: 2, Custodians: []genesis.Custodian{custodian.KeyStore(memory.New()), custodian.KeyStore(memory.New())}}
}

// follow makes the record after parent, held by a new key of the host.
func (w *world) follow(t *testing.T, parent *genesis.Root, old genesis.Ceremony, reason string) (*genesis.Root, genesis.Ceremony) {
	t.Helper()
	fresh := newCeremony()
	offer, err := genesis.MakeHolder(t.Context(), rand.Reader, parent, w.host.id, fresh)
	if err != nil {
		t.Fatal(err)
	}
	d := genesis.Draft{Title: parent.Title, Policy: parent.Policy, Holders: []genesis.Offer{*offer}, Reason: reason}
	p, err := genesis.Propose(rand.Reader, parent, d, testTime.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	signs := func(a *genesis.Authority) error { return p.Sign(a, anyLedger{}, testTime) }
	if err := genesis.Authorize(t.Context(), parent, old.Custodians, signs); err != nil {
		t.Fatal(err)
	}
	if err := genesis.AuthorizeOffer(t.Context(), parent, offer, fresh.Custodians, signs); err != nil {
		t.Fatal(err)
	}
	raw, err := p.Complete(testTime)
	if err != nil {
		t.Fatal(err)
	}
	next, err := genesis.ParseNext(parent, raw)
	if err != nil {
		t.Fatal(err)
	}
	return next, fresh
}

// A code that was made under a later version of the root: the guest is shown version 1, the one that the code names, and
// what follows it, and takes no other.
func TestCodeOfALaterRoot(t *testing.T) {
	base := newWorld(t)
	keys := newCeremony()
	first, err := genesis.Found(context.Background(), rand.Reader, testTime, genesis.Founding{
		Title: "My film", Policy: genesis.DefaultPolicy(), Identity: base.host.id, Device: base.host.device, Ceremony: keys,
	})
	if err != nil {
		t.Fatal(err)
	}
	second, k2 := base.follow(t, first, keys, "2")
	rival, _ := base.follow(t, first, keys, "another 2")
	third, k3 := base.follow(t, second, k2, "3")
	fourth, _ := base.follow(t, third, k3, "4")
	for name, tt := range map[string]struct {
		records [][]byte
		want    error
	}{
		"up to the pin":            {[][]byte{first.Raw, second.Raw}, nil},
		"and what follows":         {[][]byte{first.Raw, second.Raw, third.Raw, fourth.Raw}, nil},
		"without the pin":          {[][]byte{first.Raw}, ErrHost},
		"a rival of the pin":       {[][]byte{first.Raw, rival.Raw}, ErrHost},
		"a later one in its place": {[][]byte{first.Raw, third.Raw}, ErrHost},
		"one is left out":          {[][]byte{first.Raw, second.Raw, fourth.Raw}, ErrInvalid},
		"a rival after it":         {[][]byte{first.Raw, second.Raw, rival.Raw}, ErrInvalid},
		"another project's first":  {[][]byte{base.root.Raw, second.Raw}, ErrHost},
		"no version 1":             {[][]byte{second.Raw}, ErrInvalid},
	} {
		w := newWorld(t)
		w.root = first
		w.code.Project, w.code.RootVersion, w.code.Root = first.Project, 2, second.ID
		w.terms = w.termsOf(w.host)
		w.terms.Records = tt.records
		o := run(w.server(), w.guest())
		if !errors.Is(o.guest, tt.want) || (tt.want == nil) != (w.admitted() == 1) {
			t.Errorf("%s: %v, %d admissions", name, o.guest, w.admitted())
		}
		if tt.want == nil && (o.welcome.Root.ID != first.ID || len(o.welcome.Records) != len(tt.records)) {
			t.Errorf("%s: %+v", name, o.welcome)
		}
	}
}
