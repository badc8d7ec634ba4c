package custodian

import (
	"fmt"

	"github.com/studio-whip/collab/genesis"
)

// Solo is the ceremony of one person: any two of three factors rebuild the key, such as [KeyStore] over the operating
// system's keychain, [Token] and [Phrase]. It fails with [genesis.ErrCeremony] if two of the three are one factor: two
// key stores, two phrases, one token or one medium twice. It cannot know whether two media lie in one drawer.
func Solo(a, b, c genesis.Custodian) (genesis.Ceremony, error) {
	custodians := []genesis.Custodian{a, b, c}
	for i, x := range custodians {
		if x == nil {
			return genesis.Ceremony{}, fmt.Errorf("%w: factor %d of 3 is missing", genesis.ErrCeremony, i+1)
		}
		for _, y := range custodians[:i] {
			if factor(x) == factor(y) {
				return genesis.Ceremony{}, fmt.Errorf("%w: %s and %s are one factor; whoever has it would have the key",
					genesis.ErrCeremony, y.Label(), x.Label())
			}
		}
	}
	return genesis.Ceremony{Threshold: 2, Custodians: custodians}, nil
}

// factor names what a person must have or know to reach a share.
func factor(c genesis.Custodian) string {
	switch c.(type) {
	case *keyStore:
		return "this account on this machine"
	case *phrase:
		return "a phrase that is known"
	}
	return c.Label()
}
