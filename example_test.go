package collab_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/keystore/file"
	"github.com/studio-whip/collab/keystore/memory"
)

// Two people write one document. They are two nodes of this program here; elsewhere they are two machines.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	local := collab.WithListen("/ip4/127.0.0.1/udp/0/quic-v1")

	ada, err := collab.Open(ctx, collab.WithMemory(), collab.WithName("Ada"), local)
	if err != nil {
		log.Fatal(err)
	}
	defer ada.Close()
	host, err := ada.Create(ctx, "My film", collab.Ceremony{Threshold: 2, Custodians: []collab.Custodian{
		collab.KeyStoreCustodian(memory.New()),
		collab.FileCustodian(filepath.Join(dir, "share")),
	}})
	if err != nil {
		log.Fatal(err)
	}
	code, err := host.Invite(ctx, collab.InviteOptions{})
	if err != nil {
		log.Fatal(err)
	}

	ben, err := collab.Open(ctx, collab.WithMemory(), collab.WithName("Ben"), local)
	if err != nil {
		log.Fatal(err)
	}
	defer ben.Close()
	guest, err := ben.Join(ctx, code)
	if err != nil {
		log.Fatal(err)
	}
	doc, err := guest.Doc(ctx, "script")
	if err != nil {
		log.Fatal(err)
	}
	arrived := collab.Subscribe[collab.DocChanged](ctx, host)
	if err := doc.Update(func(tx *crdt.Txn) error { return doc.Text("body").Insert(tx, 0, "INT. HOUSE") }); err != nil {
		log.Fatal(err)
	}

	copied, err := host.Doc(ctx, "script")
	if err != nil {
		log.Fatal(err)
	}
	for copied.Digest() != doc.Digest() {
		<-arrived
	}
	err = copied.View(func(tx *crdt.ReadTxn) error {
		fmt.Println(copied.Text("body").String(tx))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: INT. HOUSE
}

// On a machine without a keychain the program opts in to a file under a passphrase.
func ExampleWithKeyStore() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	keys, err := file.Open(filepath.Join(dir, "keys"), func(create bool) ([]byte, error) {
		return []byte("read from the terminal, without an echo"), nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer keys.Close()
	node, err := collab.Open(context.Background(),
		collab.WithDir(filepath.Join(dir, "state")), collab.WithKeyStore(keys), collab.WithName("Ada"),
		collab.WithListen("/ip4/127.0.0.1/udp/0/quic-v1"))
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	fmt.Println(node.Identity().Name)
	// Output: Ada
}
