package custodian

import (
	"errors"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/memory"
)

func TestSoloWantsThreeFactors(t *testing.T) {
	chain, words := KeyStore(memory.New()), Phrase(nil, "/media/stick/recovery")
	key := Token(memory.NewToken("1", testPIN), "1", keystore.Prompt{})
	stick := File("/media/stick/share")
	for _, tt := range []struct {
		name    string
		a, b, c genesis.Custodian
		want    error
	}{
		{"keychain, token, phrase", chain, key, words, nil},
		{"keychain, file, phrase", chain, stick, words, nil},
		{"token, another token, phrase", key, Token(memory.NewToken("2", testPIN), "2", keystore.Prompt{}), words, nil},
		{"token twice", key, key, words, genesis.ErrCeremony},
		{"two key stores", chain, KeyStore(memory.New()), words, genesis.ErrCeremony},
		{"two phrases", chain, OwnPhrase(nil, "/media/other/recovery"), words, genesis.ErrCeremony},
		{"one file twice", stick, File("/media/stick/share"), words, genesis.ErrCeremony},
		{"one missing", chain, nil, words, genesis.ErrCeremony},
	} {
		c, err := Solo(tt.a, tt.b, tt.c)
		if !errors.Is(err, tt.want) || err == nil && (c.Threshold != 2 || len(c.Custodians) != 3) {
			t.Errorf("%s: %d of %d, %v", tt.name, c.Threshold, len(c.Custodians), err)
		}
	}
}
