package custodian

import (
	"context"
	"errors"
	"fmt"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/keystore"
)

// Journal keeps the journal of ceremonies in a key store, beside the program's other secrets. The names under which its
// records lie say nothing about the projects.
func Journal(ks keystore.Store) genesis.Journal { return journal{ks} }

type journal struct{ ks keystore.Store }

func (j journal) Load(ctx context.Context, project genesis.ProjectID) ([]byte, error) {
	record, err := j.ks.Get(ctx, journalName(project))
	if errors.Is(err, keystore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("custodian: read the journal: %w", err)
	}
	return record, nil
}

func (j journal) Save(ctx context.Context, project genesis.ProjectID, record []byte) error {
	var err error
	if record == nil {
		err = j.ks.Delete(ctx, journalName(project))
	} else {
		err = j.ks.Put(ctx, journalName(project), record)
	}
	if err != nil {
		return fmt.Errorf("custodian: write the journal: %w", err)
	}
	return nil
}

// journalName is "ceremony-" and H("journal-name", [project]) in hex.
func journalName(project genesis.ProjectID) string {
	return "ceremony-" + derive.ListID("journal-name", project).String()
}
