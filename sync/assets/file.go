package assets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"
)

// File is an open file. ReadAt may be called concurrently, with Read and Seek too.
type File struct {
	a      *Assets
	path   string
	info   fileInfo
	asset  *asset
	sealer *sealer
	ctx    context.Context
	cancel context.CancelCauseFunc

	seeking sync.Mutex // guards the offset
	offset  int64

	mu     sync.Mutex
	closed bool
	cache  []*opened // the last blocks that were read
	ahead  []*reach  // blocks that are being fetched ahead, the oldest first
}

// opened is a block that was read or is being read.
type opened struct {
	no    int
	done  chan struct{}
	plain []byte
	err   error
}

// reach is a block that is fetched before it is read.
type reach struct {
	no     int
	cancel context.CancelFunc
}

var (
	_ io.ReadSeekCloser = (*File)(nil)
	_ io.ReaderAt       = (*File)(nil)
	_ fs.File           = (*File)(nil)
)

// Open opens a file at once; reads wait until the bytes that they need have arrived, which are fetched before everything
// else. The end of ctx fails all reads, those that wait among them. It fails with [fs.ErrNotExist].
//
// A file that is open stays readable when its path is given to another or removed.
func (a *Assets) Open(ctx context.Context, name string) (*File, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, err := a.file("open", name)
	if err != nil {
		return nil, err
	}
	own, cancel := context.WithCancelCause(ctx)
	out := &File{
		a: a, path: f.path, asset: f.asset, sealer: newSealer(f.entry.Key, useBlocks), ctx: own, cancel: cancel,
		info: fileInfo{name: path.Base(f.path), size: f.entry.Size, time: f.entry.Time},
	}
	stop := context.AfterFunc(a.tasks.Context(), func() { cancel(ErrClosed) })
	context.AfterFunc(own, func() { stop() })
	f.asset.readers++
	return out, nil
}

// Read reads from where the last Read ended or Seek pointed.
func (f *File) Read(p []byte) (int, error) {
	f.seeking.Lock()
	defer f.seeking.Unlock()
	n, err := f.ReadAt(p, f.offset)
	f.offset += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// Seek sets where the next Read begins.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	f.seeking.Lock()
	defer f.seeking.Unlock()
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		offset += f.info.size
	default:
		return 0, f.fail("seek", fs.ErrInvalid)
	}
	if offset < 0 {
		return 0, f.fail("seek", fs.ErrInvalid)
	}
	f.offset = offset
	return offset, nil
}

// ReadAt reads len(p) bytes, or to the end of the file with [io.EOF].
func (f *File) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, f.fail("read", fs.ErrInvalid)
	}
	if f.isClosed() {
		return 0, f.fail("read", fs.ErrClosed)
	}
	for n < len(p) && off < f.info.size {
		no := blockAt(off)
		plain, err := f.block(no)
		if err != nil {
			return n, f.fail("read", err)
		}
		c := copy(p[n:], plain[off-blockStart(no):])
		n += c
		off += int64(c)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *File) fail(op string, err error) error { return &fs.PathError{Op: op, Path: f.path, Err: err} }

func (f *File) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// block returns an opened block. Those who want the same one at a time share the work.
func (f *File) block(no int) ([]byte, error) {
	f.mu.Lock()
	if err := context.Cause(f.ctx); err != nil {
		f.mu.Unlock()
		return nil, err
	}
	i := slices.IndexFunc(f.cache, func(o *opened) bool { return o.no == no })
	if i >= 0 {
		o := f.cache[i]
		f.mu.Unlock()
		<-o.done
		return o.plain, o.err
	}
	o := &opened{no: no, done: make(chan struct{})}
	if f.cache = append(f.cache, o); len(f.cache) > cachedBlocks {
		f.cache = f.cache[1:]
	}
	f.mu.Unlock()

	f.reachAhead(no)
	o.plain, o.err = f.a.plainBlock(f.ctx, f.asset, f.sealer, no, true)
	if o.err != nil {
		f.mu.Lock()
		f.cache = slices.DeleteFunc(f.cache, func(x *opened) bool { return x == o })
		f.mu.Unlock()
	}
	close(o.done)
	return o.plain, o.err
}

// reachAhead begins to fetch the blocks behind one that is read. Of those that were begun before, the oldest are given
// up when there are too many: the reader has gone elsewhere.
func (f *File) reachAhead(no int) {
	blocks, here := f.a.around(f.asset, no+1, readAhead)
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, h := range blocks {
		n := no + 1 + i
		if here[i] || f.closed || slices.ContainsFunc(f.ahead, func(r *reach) bool { return r.no == n }) {
			continue
		}
		ctx, cancel := context.WithCancel(f.ctx)
		r := &reach{n, cancel}
		if !f.a.tasks.Go("read ahead", func(context.Context) error {
			_ = f.a.fetchBlock(ctx, h, blockLen(n, f.info.size)+overhead, true) // whoever reads it will see why it failed
			f.reached(r)
			return nil
		}) {
			cancel()
			return
		}
		f.ahead = append(f.ahead, r)
	}
	for len(f.ahead) > 2*readAhead {
		f.ahead[0].cancel()
		f.ahead = f.ahead[1:]
	}
}

func (f *File) reached(r *reach) {
	r.cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead = slices.DeleteFunc(f.ahead, func(x *reach) bool { return x == r })
}

// around returns some blocks of a content and which of them are here; none before its manifest is.
func (a *Assets) around(x *asset, from, n int) (blocks []hash, here []bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	to := min(from+n, len(x.blocks))
	if from >= to {
		return nil, nil
	}
	return x.blocks[from:to], slices.Clone(x.here[from:to])
}

// Stat describes the file.
func (f *File) Stat() (fs.FileInfo, error) { return f.info, nil }

// Progress tells how much of the file is on this device.
func (f *File) Progress() Progress {
	f.a.mu.Lock()
	defer f.a.mu.Unlock()
	return f.asset.progress()
}

// Close fails reads that wait. Closing again is an error, as with [os.File].
func (f *File) Close() error {
	f.mu.Lock()
	closed := f.closed
	f.closed = true
	f.cache = nil
	f.mu.Unlock()
	if closed {
		return f.fail("close", fs.ErrClosed)
	}
	f.cancel(fs.ErrClosed)
	f.a.mu.Lock()
	defer f.a.mu.Unlock()
	f.asset.readers--
	f.a.forget(f.asset)
	return nil
}

// fileInfo describes a file or folder.
type fileInfo struct {
	name string
	size int64
	time time.Time
	dir  bool
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) ModTime() time.Time { return i.time }
func (i fileInfo) IsDir() bool        { return i.dir }
func (i fileInfo) Sys() any           { return nil }

func (i fileInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

func (i fileInfo) String() string { return fmt.Sprint(fs.FormatFileInfo(i)) }
