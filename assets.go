package collab

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/studio-whip/collab/sync/assets"
)

// Assets are a project's files: footage, images, sound, anything that is too large for a document. A file is cut into
// sealed blocks that travel from every member who has them. All sizes are bytes. Methods are safe for concurrent use.
//
// By default everything is fetched in the background, so that all of a project is at hand offline; what is opened goes
// before that, and what is edited before either.
type Assets struct{ s *Session }

// AssetInfo describes a file.
type AssetInfo = assets.Info

// AssetFile is an open file: an io.ReadSeekCloser and an io.ReaderAt whose reads wait until the bytes they need have
// arrived. ReadAt may be called concurrently. Close it.
type AssetFile = assets.File

// Progress is how much of a file is here and who sent it.
type Progress = assets.Progress

// Priority says how eagerly a file is fetched.
type Priority = assets.Priority

// The priorities.
const (
	PriorityBackground = assets.PriorityBackground // when the line is idle
	PrioritySoon       = assets.PrioritySoon       // before other files, in the background
	PriorityNow        = assets.PriorityNow        // like what somebody is reading
)

// Assets returns the project's files.
func (s *Session) Assets() *Assets { return &Assets{s} }

// Add reads r to its end, stores it under path and announces it to the members, who then fetch it. A file that is there
// already is replaced; of two that are added at once under one path all members see the same one. path is one of package
// io/fs: slashes, no ".", no leading slash.
//
// It returns when the file is durable here. Nothing of it stays if r or ctx fails. It fails with [ErrDenied] for viewers,
// assets.ErrPath, [ErrTooLarge], [ErrDiskFull], [ErrClosed], [ErrRevoked], or what reading r gave.
func (a *Assets) Add(ctx context.Context, path string, r io.Reader) (AssetInfo, error) {
	if err := a.s.alive(); err != nil {
		return AssetInfo{}, err
	}
	if err := a.s.mayWrite(); err != nil {
		return AssetInfo{}, err
	}
	info, err := a.s.files.Add(ctx, path, r)
	if err == nil {
		a.s.edits.Add(1) // Close hands the announcement over
	}
	return info, wrap("add "+quoted(path), err)
}

// Open opens a file at once; what is read is fetched ahead of everything else. Reads fail when ctx ends, which also
// bounds how long they wait for somebody who has the bytes. A path not in the project is [fs.ErrNotExist]. Of a project
// that this device's owner was removed from, only what is on the device can be opened; else it is [ErrRevoked].
func (a *Assets) Open(ctx context.Context, path string) (*AssetFile, error) {
	if err := a.s.readable(); err != nil {
		return nil, err
	}
	if err := a.s.alive(); err != nil {
		if info, e := a.s.files.Stat(path); e == nil && !info.Local {
			return nil, fmt.Errorf("%w: open %s: it is not whole on this device", err, quoted(path))
		}
	}
	f, err := a.s.files.Open(ctx, path)
	return f, wrap("open "+quoted(path), err)
}

// FS returns a read-only view for [io/fs], http.FileServerFS (with Range requests), template.ParseFS and friends. Reads
// may wait for the network, until ctx ends.
func (a *Assets) FS(ctx context.Context) fs.FS { return a.s.files.FS(ctx) }

// Pin fetches a file to this device and keeps it here; p says how eagerly. It fails with [fs.ErrNotExist].
func (a *Assets) Pin(ctx context.Context, path string, p Priority) error {
	if err := a.s.alive(); err != nil {
		return err
	}
	return wrap("pin "+quoted(path), a.s.files.Pin(ctx, path, p))
}

// Unpin gives a file's space back and leaves the file to others until somebody here opens it.
func (a *Assets) Unpin(path string) error {
	if err := a.s.alive(); err != nil {
		return err
	}
	return wrap("unpin "+quoted(path), a.s.files.Unpin(path))
}

// Remove takes a file out of the project, for everybody. It fails with [fs.ErrNotExist], or [ErrDenied] for viewers.
func (a *Assets) Remove(ctx context.Context, path string) error {
	if err := a.s.alive(); err != nil {
		return err
	}
	if err := a.s.mayWrite(); err != nil {
		return err
	}
	return wrap("remove "+quoted(path), a.s.files.Remove(ctx, path))
}

// List yields the project's files, by path.
func (a *Assets) List() iter.Seq[AssetInfo] { return a.s.files.List() }

// Stat describes a file. A path not in the project is [fs.ErrNotExist].
func (a *Assets) Stat(path string) (AssetInfo, error) {
	info, err := a.s.files.Stat(path)
	return info, wrap("describe "+quoted(path), err)
}

// quoted makes a path readable in an error, whatever is in it.
func quoted(path string) string { return fmt.Sprintf("%q", path) }

// listenToFiles makes events of what happens to the project's files.
func (s *Session) listenToFiles() {
	s.files.OnChange(func(i AssetInfo) { s.events.Send(AssetChanged{Asset: i}) })
	s.files.OnProgress(func(path string, p Progress) { s.events.Send(AssetProgress{Path: path, Progress: p}) })
	s.files.OnDamage(func(i AssetInfo, err error) {
		s.events.Send(SecurityAlert{Kind: AlertDamagedBlock, Detail: fmt.Sprintf("%q: %v", i.Path, err)})
	})
}
