package assets

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/ipfs/boxo/blockstore"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	flatfs "github.com/ipfs/go-ds-flatfs"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"
)

// shelf holds the blocks of one project, sealed, under the names of their hashes. What stands there is what the project
// owns: no list beside it can say anything else. It is safe for concurrent use.
type shelf struct {
	data   datastore.Batching
	blocks blockstore.Blockstore

	mu   sync.RWMutex
	held map[hash]struct{}
}

// openShelf opens the shelf in a folder, which it makes if there is none; "" keeps it in memory.
func openShelf(ctx context.Context, dir string) (*shelf, error) {
	var data datastore.Batching = dssync.MutexWrap(datastore.NewMapDatastore())
	if dir != "" {
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			return nil, fmt.Errorf("assets: make the folder of blocks: %w", err)
		}
		// Synced, because a file is announced when it is durable.
		d, err := flatfs.CreateOrOpen(dir, flatfs.NextToLast(2), true)
		if err != nil {
			return nil, fmt.Errorf("assets: open the blocks in %s: %w", dir, err)
		}
		data = d
	}
	s := &shelf{
		data: data, held: map[hash]struct{}{},
		// Keys go to flatfs as they are: it refuses the folder that would otherwise be put before them.
		blocks: blockstore.NewBlockstore(data, blockstore.NoPrefix(), blockstore.WriteThrough(true)),
	}
	if err := s.list(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("assets: list the blocks in %s: %w", dir, err), data.Close())
	}
	return s, nil
}

// list reads which blocks there are: names only.
func (s *shelf) list(ctx context.Context) error {
	lister, ok := s.blocks.(blockstore.AllKeysChanWithErrer)
	if !ok {
		return errors.New("the block store cannot say whether its list is whole")
	}
	keys, failed, err := lister.AllKeysChanWithErr(ctx)
	if err != nil {
		return err
	}
	for c := range keys {
		if h, ok := hashOf(c); ok {
			s.held[h] = struct{}{}
		}
	}
	return failed()
}

func (s *shelf) close() error { return s.data.Close() }

func (s *shelf) has(h hash) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.held[h]
	return ok
}

// all lists the blocks.
func (s *shelf) all() []hash {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]hash, 0, len(s.held))
	for h := range s.held {
		out = append(out, h)
	}
	return out
}

// size returns the size of a sealed block as the store has it, without reading it.
func (s *shelf) size(ctx context.Context, h hash) (int, error) {
	if !s.has(h) {
		return 0, errAbsent
	}
	return s.blocks.GetSize(ctx, cidOf(h))
}

// get reads a block. It fails with errAbsent, or with ErrDamaged if what is there is not what was put; it stays then until
// it is dropped.
func (s *shelf) get(ctx context.Context, h hash) ([]byte, error) {
	if !s.has(h) {
		return nil, errAbsent
	}
	b, err := s.blocks.Get(ctx, cidOf(h))
	switch {
	case ipld.IsNotFound(err):
		return nil, fmt.Errorf("%w: it has gone", ErrDamaged)
	case err != nil: // the disk, or too many open files: not a word about the block
		return nil, fmt.Errorf("assets: read a block: %w", err)
	case sha256.Sum256(b.RawData()) != h:
		return nil, fmt.Errorf("%w: block %s", ErrDamaged, h.Short())
	}
	return b.RawData(), nil
}

// put stores blocks whose hashes the caller has computed. They are durable when it returns; if it fails some may be
// there.
func (s *shelf) put(ctx context.Context, sealed ...block) error {
	list := make([]blocks.Block, len(sealed))
	for i, b := range sealed {
		var err error
		if list[i], err = blocks.NewBlockWithCid(b.sealed, cidOf(b.hash)); err != nil {
			return fmt.Errorf("assets: store a block: %w", err)
		}
	}
	if err := s.blocks.PutMany(ctx, list); err != nil {
		return fmt.Errorf("assets: store blocks: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range sealed {
		s.held[b.hash] = struct{}{}
	}
	return nil
}

// drop removes a block.
func (s *shelf) drop(ctx context.Context, h hash) error {
	s.mu.Lock()
	delete(s.held, h)
	s.mu.Unlock()
	if err := s.blocks.DeleteBlock(ctx, cidOf(h)); err != nil && !errors.Is(err, datastore.ErrNotFound) && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("assets: remove a block: %w", err)
	}
	return nil
}

// block is a sealed block with its name.
type block struct {
	hash   hash
	sealed []byte
}

func newBlock(sealed []byte) block { return block{sha256.Sum256(sealed), sealed} }

// cidOf returns the name of a block on the wire: CIDv1, raw, SHA-256.
func cidOf(h hash) cid.Cid {
	mh, err := multihash.Encode(h[:], multihash.SHA2_256)
	if err != nil { // cannot be: 32 bytes are a SHA-256
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, mh)
}

// hashOf reads such a name; ok is false if it is none.
func hashOf(c cid.Cid) (h hash, ok bool) {
	p := c.Prefix()
	if p.Version != 1 || p.Codec != cid.Raw || p.MhType != multihash.SHA2_256 || p.MhLength != hashSize {
		return h, false
	}
	d, err := multihash.Decode(c.Hash())
	if err != nil {
		return h, false
	}
	copy(h[:], d.Digest)
	return h, true
}
