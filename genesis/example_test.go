package genesis_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// pocket is a custodian in memory.
type pocket map[genesis.ShareRef]string

func (pocket) Label() string { return "pocket" }

func (p pocket) Keep(_ context.Context, ref genesis.ShareRef, share []byte) error {
	p[ref] = string(share)
	return nil
}

func (p pocket) Recall(_ context.Context, ref genesis.ShareRef) ([]byte, error) {
	share, ok := p[ref]
	if !ok {
		return nil, genesis.ErrNoShare
	}
	return []byte(share), nil
}

func (p pocket) Forget(_ context.Context, ref genesis.ShareRef) error {
	delete(p, ref)
	return nil
}

// A ceremony: two of three custodians rebuild the key, one alone does not.
func Example() {
	ctx := context.Background()
	ik := identity.NewIdentityKey(identity.Seed{1}) // a program draws its seeds with identity.NewSeed
	id, err := identity.NewIdentityCert(ik, "Ada", wire.ID{}, time.Now())
	if err != nil {
		panic(err)
	}
	device, err := identity.NewDeviceCert(ik, id.Member(), identity.NewDeviceKeys(identity.Seed{2}, kem.NewPrivateKey([32]byte{3})), 30)
	if err != nil {
		panic(err)
	}
	custodians := []genesis.Custodian{pocket{}, pocket{}, pocket{}}
	root, err := genesis.Found(ctx, rand.Reader, time.Now(), genesis.Founding{
		Title: "My film", Policy: genesis.DefaultPolicy(), Identity: id, Device: device,
		Ceremony: genesis.Ceremony{Threshold: 2, Custodians: custodians},
	})
	if err != nil {
		panic(err)
	}
	err = genesis.Authorize(ctx, root, custodians[1:], func(a *genesis.Authority) error {
		sig, err := a.Sign(sign.EventRoot, []byte("the core of an event"))
		fmt.Println(len(sig), err)
		return err
	})
	fmt.Println(err)
	var quorum *genesis.QuorumError
	err = genesis.Authorize(ctx, root, custodians[:1], func(*genesis.Authority) error { return nil })
	fmt.Println(errors.As(err, &quorum), quorum.Have, quorum.Need)
	// Output:
	// 3373 <nil>
	// <nil>
	// true 1 2
}
