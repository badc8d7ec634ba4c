package custodian

import (
	"bytes"
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/wire"
)

// File keeps shares in the file at path, mode 0600, on a removable medium. The share in it is not sealed: keep the
// medium apart from the machine. The folder must exist; the file is made with the first share and removed with the
// last one, and may hold shares of several projects. Two programs must not write it at the same time.
func File(path string) genesis.Custodian { return &file{path} }

type file struct{ path string }

const shareFileMagic = "clbf"

// shareFile is the file's content.
type shareFile struct {
	wire.Head
	Magic  string      `cbor:"3,keyasint"`
	Shares []keptShare `cbor:"4,keyasint"`
	Check  *wire.ID    `cbor:"5,keyasint,omitempty"`
}

type keptShare struct {
	Project  genesis.ProjectID `cbor:"1,keyasint"`
	Ceremony [16]byte          `cbor:"2,keyasint"`
	X        uint8             `cbor:"3,keyasint"`
	Share    []byte            `cbor:"4,keyasint"`
}

func (k *keptShare) ref() genesis.ShareRef {
	return genesis.ShareRef{Project: k.Project, Ceremony: k.Ceremony, X: k.X}
}

// compareRefs orders references as they lie in files.
func compareRefs(a, b genesis.ShareRef) int {
	return cmp.Or(bytes.Compare(a.Project[:], b.Project[:]), bytes.Compare(a.Ceremony[:], b.Ceremony[:]), cmp.Compare(a.X, b.X))
}

func (f *file) Label() string { return "file " + f.path }

func (f *file) Keep(ctx context.Context, ref genesis.ShareRef, share []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("custodian: keep a share: %w", err)
	}
	if len(share) == 0 || len(share) > genesis.MaxShare {
		return fmt.Errorf("custodian: a share of %d bytes, 1 to %d can be kept", len(share), genesis.MaxShare)
	}
	rewriting.Lock()
	defer rewriting.Unlock()
	content, err := f.read()
	if err != nil && !errors.Is(err, genesis.ErrNoShare) {
		return err
	}
	defer content.wipe()
	at, there := content.find(ref)
	if there {
		if subtle.ConstantTimeCompare(content.Shares[at].Share, share) == 1 {
			return nil
		}
		return ErrOccupied
	}
	if len(content.Shares) == MaxShares {
		return fmt.Errorf("custodian: %s holds %d shares, no more are kept in one file", f.path, MaxShares)
	}
	content.Shares = slices.Insert(content.Shares, at,
		keptShare{Project: ref.Project, Ceremony: ref.Ceremony, X: ref.X, Share: bytes.Clone(share)})
	if err := f.write(content); err != nil {
		return err
	}
	return f.verify(ref, share)
}

// verify reads the file again and makes sure that share lies in it.
func (f *file) verify(ref genesis.ShareRef, share []byte) error {
	content, err := f.read()
	if err != nil {
		return fmt.Errorf("custodian: read the share back: %w", err)
	}
	defer content.wipe()
	if at, there := content.find(ref); !there || subtle.ConstantTimeCompare(content.Shares[at].Share, share) != 1 {
		return fmt.Errorf("custodian: read the share back: %w: %s", ErrDamaged, f.path)
	}
	return nil
}

func (f *file) Recall(ctx context.Context, ref genesis.ShareRef) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("custodian: recall a share: %w", err)
	}
	rewriting.Lock()
	defer rewriting.Unlock()
	content, err := f.read()
	if err != nil {
		return nil, err
	}
	defer content.wipe()
	at, there := content.find(ref)
	if !there {
		refs := make([]genesis.ShareRef, len(content.Shares))
		for i := range content.Shares {
			refs[i] = content.Shares[i].ref()
		}
		return nil, noShare(ref, refs)
	}
	return bytes.Clone(content.Shares[at].Share), nil
}

// Holds reports whether a share lies in the file.
func (f *file) Holds(ctx context.Context, ref genesis.ShareRef) (bool, error) {
	share, err := f.Recall(ctx, ref)
	secmem.Wipe(share)
	return there(err)
}

func (f *file) Forget(ctx context.Context, ref genesis.ShareRef) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("custodian: forget a share: %w", err)
	}
	rewriting.Lock()
	defer rewriting.Unlock()
	content, err := f.read()
	if errors.Is(err, genesis.ErrNoShare) {
		return nil
	}
	if err != nil {
		return err
	}
	defer content.wipe()
	at, there := content.find(ref)
	if !there {
		return nil
	}
	secmem.Wipe(content.Shares[at].Share)
	content.Shares = slices.Delete(content.Shares, at, at+1)
	if len(content.Shares) == 0 {
		return removeFile(f.path)
	}
	return f.write(content)
}

// read returns the file's content; where there is no file, an empty one and an error that wraps genesis.ErrNoShare.
func (f *file) read() (*shareFile, error) {
	data, err := readFile(f.path, MaxShareFile)
	if err != nil {
		return &shareFile{}, err
	}
	defer secmem.Wipe(data)
	content, err := parseShareFile(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, f.path)
	}
	return content, nil
}

func (f *file) write(content *shareFile) error {
	content.Head, content.Magic = wire.NewHead(), shareFileMagic
	sum := content.checksum()
	content.Check = &sum
	data := wire.Marshal(content)
	defer secmem.Wipe(data)
	return writeFile(f.path, data)
}

// parseShareFile reads a file's content. It fails with [ErrDamaged].
func parseShareFile(data []byte) (*shareFile, error) {
	content := new(shareFile)
	// The decoder's own message may quote its input, which is secret.
	if err := wire.Unmarshal(data, content, MaxShareFile); err != nil {
		content.wipe()
		return nil, ErrDamaged
	}
	err := content.check()
	if err != nil {
		content.wipe()
		return nil, err
	}
	return content, nil
}

func (c *shareFile) check() error {
	if err := c.Head.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if c.Magic != shareFileMagic || len(c.Shares) > MaxShares || c.Check == nil || *c.Check != c.checksum() {
		return ErrDamaged
	}
	for i := range c.Shares {
		if i > 0 && compareRefs(c.Shares[i-1].ref(), c.Shares[i].ref()) >= 0 {
			return ErrDamaged
		}
		if n := len(c.Shares[i].Share); n == 0 || n > genesis.MaxShare {
			return ErrDamaged
		}
	}
	return nil
}

// checksum is over the content without it: against damage, not against forgers.
func (c *shareFile) checksum() wire.ID {
	bare := *c
	bare.Check = nil
	data := wire.Marshal(&bare)
	defer secmem.Wipe(data)
	return derive.ID("share-file-check", data)
}

// find returns the place of a share, or where it would be inserted.
func (c *shareFile) find(ref genesis.ShareRef) (int, bool) {
	return slices.BinarySearchFunc(c.Shares, ref, func(k keptShare, ref genesis.ShareRef) int {
		return compareRefs(k.ref(), ref)
	})
}

func (c *shareFile) wipe() {
	if c == nil {
		return
	}
	for i := range c.Shares {
		secmem.Wipe(c.Shares[i].Share)
	}
}

// noShare says what lies in a file instead of the share that was asked for.
func noShare(ref genesis.ShareRef, there []genesis.ShareRef) error {
	foreign := len(there) > 0
	for _, other := range there {
		if other.Project != ref.Project {
			continue
		}
		if other.Ceremony != ref.Ceremony {
			return fmt.Errorf("%w: %w", genesis.ErrNoShare, genesis.ErrShareOtherCeremony)
		}
		foreign = false
	}
	if foreign {
		return fmt.Errorf("%w: %w", genesis.ErrNoShare, genesis.ErrShareForeignProject)
	}
	return genesis.ErrNoShare
}
