package envelope

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/devicekeys"
)

var (
	testProject = genesis.ProjectID{0xa1}
	testDevice  = identity.DeviceID{0xd1}
	testDoc     = [16]byte{0xdc}
	testKey     = [32]byte{0x4b}
	testHeads   = []governance.EventID{{0xe1}, {0xe2}}
	testDK      = newDK(1)
	otherDK     = newDK(2)
)

func newDK(fill byte) *sign.PrivateKey {
	return devicekeys.Of(identity.Seed(bytes.Repeat([]byte{fill}, 32))).DK
}

// newRandom is a repeatable source of nonces.
func newRandom(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

func testChain() *Chain { return NewChain(Beginning(testProject, testDevice, 0)) }

func sealedDraft(payload []byte) Draft {
	return Draft{
		Kind: KindUpdate, Doc: testDoc, GovHeads: testHeads,
		Epoch: &governance.EpochID{0xec}, Key: testKey, Payload: payload,
	}
}

func updatePayload(text string) []byte { return (&Update{Updates: [][]byte{[]byte(text)}}).Encode() }

// write makes n envelopes: an introduction and updates.
func write(t testing.TB, c *Chain, dk *sign.PrivateKey, n int) []*Envelope {
	t.Helper()
	random := newRandom(7)
	envs := make([]*Envelope, n)
	for i := range envs {
		var err error
		if i == 0 && c.Head().Seq == 0 {
			envs[i], err = c.Introduce(dk, [32]byte{0x1d}, testHeads)
		} else {
			envs[i], err = c.Next(random, dk, sealedDraft(updatePayload("edit")))
		}
		must(t, err)
	}
	return envs
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}
