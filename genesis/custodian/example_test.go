package custodian_test

import (
	"context"
	"errors"
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

func ExampleOwnPhrase() {
	ask := func(ctx context.Context, q custodian.PhraseQuestion) (string, error) {
		if q.Step == custodian.ChoosePhrase && q.Why != nil {
			fmt.Println(q.Why) // say what was wrong with the last one
		}
		return "correct horse", nil
	}
	dir, err := os.MkdirTemp("", "stick")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	c := custodian.OwnPhrase(ask, filepath.Join(dir, "collab-recovery"))
	err = c.Keep(context.Background(), ref, []byte("a share"))
	var weak *custodian.WeakPhraseError
	fmt.Println(errors.As(err, &weak), weak.Bits < weak.Need)
	// Output:
	// custodian: phrase is too easy to guess, about 19 bits and at least 70 are needed; take seven or more words that nobody would say together, or let twelve be generated
	// custodian: phrase is too easy to guess, about 19 bits and at least 70 are needed; take seven or more words that nobody would say together, or let twelve be generated
	// true true
}
