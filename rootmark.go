package collab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/studio-whip/collab/keystore"
)

// rootMark is the newest version of a project's root that was ever in force on this device. It lies in the vault, beside the
// keys, and is never lowered: a store that was set back, by a backup or by somebody, does not bring back holders whom later
// records have replaced without being noticed.
type rootMark struct {
	n  uint32
	id RootID
}

func markName(id ProjectID) string { return "root-" + id.String() }

// rootMark returns a project's mark, version 0 if there is none.
func (h *home) rootMark(ctx context.Context, id ProjectID) (m rootMark, err error) {
	raw, err := h.vault.Get(ctx, markName(id))
	switch {
	case errors.Is(err, keystore.ErrNotFound):
		return m, nil
	case err != nil:
		return m, wrap("read the vault", err)
	case len(raw) != 4+len(m.id):
		return m, fmt.Errorf("%w: the root's mark in the vault has %d bytes; restore the vault from a backup", ErrDamaged, len(raw))
	}
	m.n = binary.BigEndian.Uint32(raw)
	copy(m.id[:], raw[4:])
	return m, nil
}

// raiseRoot makes a record the mark, unless that is of the same version or a later one already.
func (h *home) raiseRoot(ctx context.Context, id ProjectID, to rootMark) error {
	was, err := h.rootMark(ctx, id)
	if err != nil || was.n >= to.n {
		return err
	}
	raw := binary.BigEndian.AppendUint32(nil, to.n)
	return wrap("write the vault", h.vault.Put(ctx, markName(id), append(raw, to.id[:]...)))
}

// markRoot raises the mark to the version in force.
func (s *Session) markRoot(ctx context.Context) error {
	root := s.membership.Root()
	if root.N == 1 {
		return nil // there is nothing before it
	}
	return s.node.home.raiseRoot(ctx, s.id, rootMark{root.N, root.ID})
}
