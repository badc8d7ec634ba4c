package custodian

import (
	"bytes"
	"errors"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/memory"
)

func TestJournalInAKeyStore(t *testing.T) {
	ks := memory.New()
	j := Journal(ks)
	a, b := genesis.ProjectID{1}, genesis.ProjectID{}
	if raw, err := j.Load(t.Context(), a); raw != nil || err != nil {
		t.Fatalf("empty: %q, %v", raw, err)
	}
	for _, id := range []genesis.ProjectID{a, b} {
		if err := j.Save(t.Context(), id, bytes.Repeat(id[:1], genesis.MaxJournal)); err != nil {
			t.Fatal(err)
		}
	}
	if raw, err := Journal(ks).Load(t.Context(), a); err != nil || !bytes.Equal(raw, bytes.Repeat([]byte{1}, genesis.MaxJournal)) {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	for range 2 {
		if err := j.Save(t.Context(), a, nil); err != nil {
			t.Fatal(err)
		}
	}
	if raw, err := j.Load(t.Context(), a); raw != nil || err != nil {
		t.Fatalf("after it was cleared: %q, %v", raw, err)
	}
	if raw, err := j.Load(t.Context(), b); raw == nil || err != nil {
		t.Fatalf("clearing one took another along: %v", err)
	}
	if err := ks.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Load(t.Context(), b); !errors.Is(err, keystore.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if err := j.Save(t.Context(), b, []byte("x")); !errors.Is(err, keystore.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// Every journal fits into every key store.
func TestJournalFitsKeyStore(t *testing.T) {
	if genesis.MaxJournal > keystore.MaxSecret {
		t.Fatalf("a journal of %d bytes does not fit into %d", genesis.MaxJournal, keystore.MaxSecret)
	}
}
