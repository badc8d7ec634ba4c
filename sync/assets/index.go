package assets

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/internal/wire"
)

// indexMap is the map in the index document, from path to entry.
const indexMap = "files"

// follow looks at the index again whenever it changes.
func (a *Assets) follow() {
	watch := func(doc *crdt.Doc) {
		stop := doc.OnUpdate(func([]byte, crdt.Origin) { poke(a.wakeIndex) })
		a.mu.Lock()
		before := a.stop
		a.stop = stop
		closed := a.closed
		a.mu.Unlock()
		if before != nil {
			before()
		}
		if closed {
			stop()
		}
		poke(a.wakeIndex)
	}
	a.index.OnReplaced(func(_, after *crdt.Doc) { watch(after) })
	watch(a.index.CRDT())
}

func (a *Assets) followIndex(ctx context.Context) error {
	for {
		select {
		case <-a.wakeIndex:
			a.refresh()
		case <-ctx.Done():
			return nil
		}
	}
}

// readIndex returns the bytes values of the index. Whatever else stands there is no entry.
func (a *Assets) readIndex() map[string]string {
	out := map[string]string{}
	doc := a.index.CRDT()
	_ = doc.View(func(tx *crdt.ReadTxn) error {
		for path, v := range doc.Map(indexMap).All(tx) { // sorted, so that all devices see the same files of too many
			if v.Kind() == crdt.KindBytes && len(out) < MaxFiles && checkPath(path) == nil {
				out[path] = string(v.Bytes())
			}
		}
		return nil
	})
	return out
}

// refresh brings the files up to date with the index. Entries that make no sense are left out: any editor can write them.
func (a *Assets) refresh() {
	a.reading.Lock()
	defer a.reading.Unlock()
	listed := a.readIndex()
	a.mu.Lock()
	var fresh []*asset
	for path, f := range a.files {
		if listed[path] != f.raw {
			delete(a.files, path)
			a.release(f.asset)
			if listed[path] == "" {
				a.changed(Info{Path: path})
			}
		}
	}
	for path, raw := range listed {
		if a.files[path] != nil {
			continue
		}
		e, err := decodeEntry([]byte(raw))
		if err != nil {
			a.log.Debug("assets: entry left out", "err", err)
			continue
		}
		x, isNew := a.asset(e)
		x.paths++
		f := &file{path: path, raw: raw, entry: e, asset: x}
		a.files[path] = f
		if isNew {
			fresh = append(fresh, x)
		}
		a.changed(a.info(f))
	}
	a.order = nil
	a.mu.Unlock()
	for _, x := range fresh {
		a.openManifest(x)
	}
	a.wakeLanes()
}

// asset returns the content that an entry names; a.mu is held. What an entry says beside the manifest is part of what
// is shared: two entries that differ there are two contents.
func (a *Assets) asset(e *entry) (x *asset, isNew bool) {
	id := e.id()
	for {
		x := a.assets[id]
		if x == nil {
			break
		}
		if x.Key == e.Key && x.Size == e.Size {
			return x, false
		}
		id = wire.ID(newBlock(append(id[:], e.Key[:]...)).hash) // somebody lies about one of the two: keep them apart
	}
	x = &asset{entry: e, id: id, wanted: true}
	a.assets[id] = x
	for i, h := range e.Manifest {
		a.places[h] = append(a.places[h], place{x, -1 - i})
	}
	return x, true
}

// release gives up one claim on a content, which is forgotten with the last; a.mu is held.
func (a *Assets) release(x *asset) {
	x.paths--
	a.forget(x)
}

// forget forgets a content that no path names and nobody reads; a.mu is held.
func (a *Assets) forget(x *asset) {
	if x.paths > 0 || x.readers > 0 || a.assets[x.id] != x {
		return
	}
	delete(a.assets, x.id)
	for _, h := range slices.Concat(x.Manifest, x.blocks) {
		a.places[h] = slices.DeleteFunc(a.places[h], func(p place) bool { return p.asset == x })
		if len(a.places[h]) == 0 {
			delete(a.places, h)
		}
	}
	poke(a.collect)
}

// checkPlace fails with ErrPath if a file stands in the way of one that is to be added; a.mu is held.
func (a *Assets) checkPlace(name string) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if a.files[dir] != nil {
			return pathError("%q is a file", dir)
		}
	}
	for other := range a.files {
		if strings.HasPrefix(other, name+"/") {
			return pathError("%q is a folder", name)
		}
	}
	return nil
}
