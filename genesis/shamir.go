package genesis

import (
	"fmt"

	"github.com/hashicorp/vault/shamir"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/secmem"
)

// allShares is how many points the polynomial has besides the secret itself.
const allShares = 255

// split returns the polynomial's values at x = 1 to m; any k of them rebuild seed. The shamir package numbers its
// shares at random, so it makes all 255 and the wanted ones are picked: a custodian is then asked for x = 1, 2, …
// and nobody must remember a number. Its coefficients come from the system's randomness.
func split(seed *identity.Seed, k, m int) ([][shareSeedBytes]byte, error) {
	points, err := shamir.Split(seed[:], allShares, k)
	if err != nil {
		return nil, fmt.Errorf("genesis: split the root seed: %w", err)
	}
	out := make([][shareSeedBytes]byte, m)
	for _, p := range points {
		if x := int(p[shareSeedBytes]); x >= 1 && x <= m {
			copy(out[x-1][:], p)
		}
		secmem.Wipe(p)
	}
	return out, nil
}

// combine rebuilds the seed of shares with distinct x. It checks nothing: shares that do not belong together give
// a wrong seed without an error. The caller wipes the result.
func combine(shares []*shareRecord) (*identity.Seed, error) {
	points := make([][]byte, len(shares))
	for i, s := range shares {
		points[i] = append(append(make([]byte, 0, shareSeedBytes+1), s.Y[:]...), s.X)
		defer secmem.Wipe(points[i])
	}
	secret, err := shamir.Combine(points)
	if err != nil {
		return nil, fmt.Errorf("genesis: combine shares: %w", err)
	}
	defer secmem.Wipe(secret)
	return (*identity.Seed)(append(make([]byte, 0, shareSeedBytes), secret...)), nil
}
