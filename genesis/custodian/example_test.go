package custodian_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/keystore/memory"
)

var ref = genesis.ShareRef{Project: genesis.ProjectID{1}, Ceremony: [16]byte{2}, X: 1}

func ExampleFile() {
	dir, err := os.MkdirTemp("", "stick")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	stick := custodian.File(filepath.Join(dir, "collab-share"))
	ctx := context.Background()
	if err := stick.Keep(ctx, ref, []byte("a share")); err != nil {
		panic(err)
	}
	share, err := stick.Recall(ctx, ref)
	fmt.Printf("%s, %v\n", share, err)
	// Output: a share, <nil>
}

func ExampleKeyStore() {
	c := custodian.KeyStore(memory.New()) // a program uses osring.Open or file.Open
	_, err := c.Recall(context.Background(), ref)
	fmt.Println(err)
	// Output: genesis: custodian keeps no such share: keystore: no such secret
}

func ExamplePhrase() {
	ask := func(ctx context.Context, generated string) (string, error) {
		if generated != "" {
			// Show generated, have it written down, return what is typed back.
			return generated, nil
		}
		// Ask for the phrase.
		return "", context.Canceled
	}
	c := custodian.Phrase(ask, "/media/stick/collab-recovery")
	fmt.Println(c.Label())
	// Output: recovery phrase, /media/stick/collab-recovery
}
