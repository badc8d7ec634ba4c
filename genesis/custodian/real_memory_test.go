//go:build !piv

package custodian

import (
	"testing"

	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/memory"
)

func startToken(t *testing.T) {
	t.Log("built without the tag piv: the token is one in memory")
}

func realToken(*testing.T) keystore.Token { return memory.NewToken("4242", testPIN) }
