package assets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/journal"
)

// Add reads r to its end, keeps it under path and announces it to the project; a file that was there before is replaced.
// Memory is taken for a few blocks, whatever the size. If it fails, or ctx ends before the file is announced, nothing of
// it stays. It fails with [ErrPath], [ErrTooLarge], the journal's ErrReadOnly, or the error of r, ctx or the store.
func (a *Assets) Add(ctx context.Context, path string, r io.Reader) (Info, error) {
	path, err := cleanPath(path)
	if err != nil {
		return Info{}, err
	}
	if err := a.mayAdd(path); err != nil {
		return Info{}, err
	}
	w := &adder{a: a, ctx: ctx}
	defer w.release()
	e, err := w.write(r)
	if err != nil {
		return Info{}, errors.Join(fmt.Errorf("assets: add: %w", err), w.undo())
	}
	if made, err := a.announce(ctx, path, e); !made {
		return Info{}, errors.Join(fmt.Errorf("assets: add: %w", err), w.undo())
	} else if err != nil {
		return Info{}, fmt.Errorf("assets: add: %w", err)
	}
	a.refresh()
	return a.Stat(path)
}

func (a *Assets) mayAdd(path string) error {
	if !a.cfg.State().May(a.cfg.Device, governance.ActWrite) {
		return fmt.Errorf("assets: add: %w", journal.ErrReadOnly)
	}
	a.refresh()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return ErrClosed
	}
	return a.checkPlace(path)
}

// announce puts a file into the index.
func (a *Assets) announce(ctx context.Context, path string, e *entry) (made bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return a.edit(ctx, func(tx *crdt.Txn, files *crdt.Map) error { return files.Set(tx, path, e.encode()) })
}

// edit changes the index and returns when the change is durable. Once made it is not given up: others may see it any
// time.
func (a *Assets) edit(ctx context.Context, fn func(*crdt.Txn, *crdt.Map) error) (made bool, err error) {
	err = a.index.Update(func(tx *crdt.Txn) error { return fn(tx, a.index.CRDT().Map(indexMap)) })
	if err != nil {
		return false, err
	}
	ctx = context.WithoutCancel(ctx)
	if _, err := a.cfg.Journal.Append(ctx, a.index.ID, nil); err != nil {
		return false, err
	}
	return true, a.cfg.Journal.WaitSaved(ctx)
}

// Remove takes a file out of the project, for everybody. Its blocks go from each device some time later. It fails with
// [fs.ErrNotExist] or the journal's ErrReadOnly.
func (a *Assets) Remove(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("assets: remove: %w", err)
	}
	path = wire.NFC(path)
	a.refresh()
	a.mu.Lock()
	_, err := a.file("remove", path)
	a.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = a.edit(ctx, func(tx *crdt.Txn, files *crdt.Map) error {
		if _, ok := files.Get(tx, path); !ok {
			return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
		}
		return files.Delete(tx, path)
	})
	if err != nil {
		return fmt.Errorf("assets: remove: %w", err)
	}
	a.refresh()
	return nil
}

// adder makes the blocks of one file.
type adder struct {
	a       *Assets
	ctx     context.Context
	batch   []block // sealed and not stored
	pending int     // bytes of them
	claimed []hash  // all that it has made
}

// write stores the blocks of r and then the manifest, all of it durable.
func (w *adder) write(r io.Reader) (*entry, error) {
	e := &entry{Time: time.Now()}
	if _, err := io.ReadFull(w.a.server.opts.Random, e.Key[:]); err != nil {
		return nil, err
	}
	blocks, err := w.blocks(e, r)
	if err != nil {
		return nil, err
	}
	for _, part := range sealManifest(e.Key, encodeManifest(e.Size, blocks)) {
		h, err := w.add(part)
		if err != nil {
			return nil, err
		}
		e.Manifest = append(e.Manifest, h)
	}
	return e, w.flush()
}

func (w *adder) blocks(e *entry, r io.Reader) (hashes []hash, err error) {
	s := newSealer(e.Key, useBlocks)
	buf := make([]byte, largeBlock)
	for no := 0; ; no++ {
		part := buf[:blockLen(no, MaxSize)]
		n, err := io.ReadFull(r, part)
		if n > 0 {
			if e.Size+int64(n) > MaxSize || no >= blockCount(MaxSize) {
				return nil, ErrTooLarge
			}
			h, err := w.add(s.seal(no, part[:n]))
			if err != nil {
				return nil, err
			}
			hashes = append(hashes, h)
			e.Size += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return hashes, w.flush()
		case err != nil:
			return nil, err
		}
	}
}

// add takes a sealed block, which must not change any more.
func (w *adder) add(sealed []byte) (hash, error) {
	b := newBlock(sealed)
	w.claim(b.hash)
	w.batch = append(w.batch, b)
	if w.pending += len(sealed); w.pending < addBatch {
		return b.hash, nil
	}
	return b.hash, w.flush()
}

func (w *adder) flush() error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	if w.a.tasks.Context().Err() != nil {
		return ErrClosed
	}
	if len(w.batch) == 0 {
		return nil
	}
	err := w.a.shelf.put(w.ctx, w.batch...)
	w.batch, w.pending = nil, 0
	return err
}

// claim keeps a block from being collected before it is announced.
func (w *adder) claim(h hash) {
	w.claimed = append(w.claimed, h)
	w.a.mu.Lock()
	defer w.a.mu.Unlock()
	w.a.adding[h]++
}

func (w *adder) release() {
	w.a.mu.Lock()
	defer w.a.mu.Unlock()
	for _, h := range w.claimed {
		if w.a.adding[h]--; w.a.adding[h] == 0 {
			delete(w.a.adding, h)
		}
	}
}

// undo removes the blocks that were made, also those of a batch that was stored in part. Nobody else can have any of
// them: their key was drawn for this file.
func (w *adder) undo() error {
	var errs []error
	for _, h := range w.claimed {
		if !w.a.knows(h) {
			errs = append(errs, w.a.shelf.drop(context.WithoutCancel(w.ctx), h))
		}
	}
	return errors.Join(errs...)
}
