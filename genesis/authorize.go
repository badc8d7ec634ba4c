package genesis

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
)

// Authority is a holder's rebuilt root key. It is valid only inside the function given to [Authorize]; afterwards
// Sign fails with [ErrClosed]. It is safe for concurrent use and prints no secret.
type Authority struct {
	root   *Root
	member identity.MemberID
	key    atomic.Pointer[sign.PrivateKey]
}

// Project returns the project whose root this is.
func (a *Authority) Project() ProjectID { return a.root.Project }

// Root returns the root record that the authority rests on.
func (a *Authority) Root() *Root { return a.root }

// Member returns the holder whose key this is.
func (a *Authority) Member() identity.MemberID { return a.member }

// Sign signs the core of an event with root authority, typ [sign.EventRoot], and refuses every other type: root records
// are signed by [Authority.SignNext].
func (a *Authority) Sign(typ sign.Type, core []byte) ([]byte, error) {
	key := a.key.Load()
	switch {
	case key == nil:
		return nil, ErrClosed
	case typ != sign.EventRoot:
		return nil, fmt.Errorf("genesis: the root key signs no record of type %q here", typ)
	case len(core) > MaxRootCore:
		return nil, fmt.Errorf("genesis: sign a root act: core of %d bytes, at most %d", len(core), MaxRootCore)
	}
	return key.Sign(typ, core), nil
}

// Authorize asks the custodians for their shares, verifies each against root, rebuilds the holder's key, calls fn
// once and closes the authority, whatever fn returns and even if it panics. Custodians are asked in the order given and
// only until enough good shares came together, so name those that bother a person last; a share that fails is left
// out if the others suffice. The seed is wiped as soon as the key is made.
//
// It fails with a [*QuorumError] that holds every custodian's answer if too few shares are good (errors.Is finds the
// share errors in it), with [ErrRootMismatch] if the shares are of a superseded ceremony, with ctx's error, or with
// what fn returns.
func Authorize(ctx context.Context, root *Root, from []Custodian, fn func(*Authority) error) error {
	answers := gather(ctx, root, from, func(sofar []answer) bool {
		_, _, err := quorum(root, sofar)
		return err == nil
	})
	defer wipeAnswers(answers)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("genesis: authorize: %w", err)
	}
	set, shares, err := quorum(root, answers)
	if err != nil {
		return err
	}
	key, err := rebuild(root, set, shares)
	if err != nil {
		return err
	}
	wipeAnswers(answers)
	a := &Authority{root: root, member: set.Member}
	a.key.Store(key)
	defer a.key.Store(nil)
	return fn(a)
}

// ShareHealth is what the drill found at one custodian.
type ShareHealth struct {
	Custodian string // its label
	Err       error  // nil: the share is there and is the one that the root record commits to
}

// CheckShares is the drill: it asks each custodian for its share, verifies it against root and drops it again. The
// key is not rebuilt. The result has one entry for each custodian, in their order; a failure is a [*ShareError].
func CheckShares(ctx context.Context, root *Root, from []Custodian) []ShareHealth {
	answers := gather(ctx, root, from, func([]answer) bool { return false })
	defer wipeAnswers(answers)
	out := make([]ShareHealth, len(answers))
	for i, a := range answers {
		out[i].Custodian = a.custodian
		if a.err != nil {
			out[i].Err = &ShareError{Custodian: a.custodian, Err: a.err}
		}
	}
	return out
}
