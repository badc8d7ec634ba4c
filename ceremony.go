package collab

import (
	"context"
	"slices"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/osring"
	"github.com/studio-whip/collab/sync/membership"
)

// Ceremony says who keeps the shares of a project's root key and how many of them must agree: Threshold of them, at
// least 2, one share for each of Custodians.
type Ceremony = genesis.Ceremony

// Custodian keeps shares. The built-in ones follow; a host may write its own.
type Custodian = genesis.Custodian

// PhraseFunc shows a generated recovery phrase (generated != "") and returns it as the person typed it back, or asks
// for one (generated == "").
type PhraseFunc = custodian.PhraseFunc

// OwnPhraseFunc talks to a person who chooses a recovery phrase; see [OwnPhraseCustodian].
type OwnPhraseFunc = custodian.OwnPhraseFunc

// Solo is the ceremony for one person, 2 of 3: the operating system's keychain, a second factor that is not on this
// machine's disk ([TokenCustodian], or [FileCustodian] on a removable medium) and a recovery phrase, whose sealed
// share is written to recoveryFile; keep that file away from this disk. It fails with genesis.ErrCeremony if the second
// factor is one of the other two.
func Solo(second Custodian, phrase PhraseFunc, recoveryFile string) (Ceremony, error) {
	chain, err := KeychainCustodian()
	if err != nil {
		return Ceremony{}, err
	}
	c, err := custodian.Solo(chain, second, PhraseCustodian(phrase, recoveryFile))
	return c, wrap("ceremony", err)
}

// custodianProfile is the keychain profile of shares; a device's own key lies under another one.
const custodianProfile = "shares"

// KeychainCustodian keeps a share in the operating system's keychain, whatever [WithKeyStore] says. It fails with
// keystore.ErrUnavailable or ErrLocked where there is no usable keychain.
func KeychainCustodian() (Custodian, error) {
	ring, err := osring.Open(custodianProfile)
	if err != nil {
		return nil, wrap("open the keychain", err)
	}
	return custodian.KeyStore(ring), nil
}

// KeyStoreCustodian keeps a share in ks.
func KeyStoreCustodian(ks KeyStore) Custodian { return custodian.KeyStore(ks) }

// FileCustodian keeps a share in the file at path, on a medium that is kept away from this machine.
func FileCustodian(path string) Custodian { return custodian.File(path) }

// PhraseCustodian seals a share under a generated phrase of 12 words (Argon2id, 256 MiB) and writes it to path, which
// should not be on this machine's disk. Whoever holds that file can try phrases offline; 12 words are 128 bits.
func PhraseCustodian(ask PhraseFunc, path string) Custodian { return custodian.Phrase(ask, path) }

// OwnPhraseCustodian is [PhraseCustodian] under a phrase that the person chooses; one that is easy to guess is refused.
// Prefer generated words.
func OwnPhraseCustodian(ask OwnPhraseFunc, path string) Custodian {
	return custodian.OwnPhrase(ask, path)
}

// Token is a hardware token that holds a share.
type Token = keystore.Token

// TokenCustodian keeps a share on a hardware token, sealed to it: the token, its PIN and a touch give it back. name is
// what the person calls the token, such as its serial number; ask reaches the person.
func TokenCustodian(t Token, name string, ask keystore.Prompt) Custodian {
	return custodian.Token(t, name, ask)
}

// Authorize gathers a quorum of shares, rebuilds the root key, calls fn once and wipes the key, whatever fn returns.
// It fails with *[QuorumError] if too few custodians have a good share; each custodian's answer is in it. What fn
// returns comes back as it is.
func (s *Session) Authorize(ctx context.Context, from []Custodian, fn func(*Authority) error) error {
	if err := s.alive(); err != nil {
		return err
	}
	if s.membership.SetBack() {
		return wrap("authorize", membership.ErrRootBehind)
	}
	var own error
	err := genesis.Authorize(ctx, s.membership.Root(), slices.Clone(from), func(a *genesis.Authority) error {
		own = fn(&Authority{Authority: a, session: s})
		return own
	})
	if own != nil {
		return own // as it is: it is the caller's
	}
	return wrap("authorize", err)
}

// CheckShares is the drill: it asks each custodian for its share, verifies it against the signed root record and
// drops it again. The key is never rebuilt. The answers are in the order of from; on a closed session each is
// [ErrClosed].
func (s *Session) CheckShares(ctx context.Context, from []Custodian) []ShareHealth {
	if err := s.alive(); err != nil {
		var out []ShareHealth
		for _, c := range from {
			out = append(out, ShareHealth{Custodian: c.Label(), Err: err})
		}
		return out
	}
	return genesis.CheckShares(ctx, s.membership.Root(), slices.Clone(from))
}
