package assets

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/studio-whip/collab/identity"
)

// healTries is how often a block is fetched again that is damaged as soon as it is stored.
const healTries = 3

// needBlock returns a sealed block, from the store or else from others.
func (a *Assets) needBlock(ctx context.Context, h hash, size int, urgent bool) ([]byte, error) {
	var err error
	for range healTries {
		var raw []byte
		if raw, err = a.readBlock(ctx, h); !errors.Is(err, errAbsent) {
			return raw, err
		}
		if err = a.fetchBlock(ctx, h, size, urgent); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w as soon as it is written", ErrDamaged)
}

// fetchBlock brings a block here.
func (a *Assets) fetchBlock(ctx context.Context, h hash, size int, urgent bool) error {
	if urgent {
		a.urgent.enter()
		defer a.urgent.leave()
	}
	err := a.fetcher.get(ctx, h, size, urgent)
	if err != nil && a.tasks.Context().Err() != nil {
		return ErrClosed
	}
	return err
}

// readBlock reads a block from the store. One that is damaged is reported and removed, and is then absent.
func (a *Assets) readBlock(ctx context.Context, h hash) ([]byte, error) {
	raw, err := a.shelf.get(ctx, h)
	if !errors.Is(err, ErrDamaged) {
		return raw, err
	}
	a.healing.Lock()
	defer a.healing.Unlock()
	if raw, err = a.shelf.get(ctx, h); !errors.Is(err, ErrDamaged) {
		return raw, err // somebody has fetched it again meanwhile
	}
	a.log.Warn("assets: damaged block; it is fetched again", "err", err)
	if err := a.shelf.drop(ctx, h); err != nil {
		return nil, err
	}
	a.mu.Lock()
	for _, p := range a.places[h] {
		if p.no >= 0 {
			p.asset.count(p.no, false)
		}
		for _, f := range a.files {
			if f.asset == p.asset {
				a.damaged(a.info(f), err)
			}
		}
	}
	a.mu.Unlock()
	a.wakeLanes()
	return nil, errAbsent
}

// count adds a block to what is here of a file, or takes it away; a.mu is held. Saying it twice does no harm.
func (x *asset) count(no int, here bool) {
	if x.blocks == nil || x.here[no] == here {
		return
	}
	sign := -1
	if here {
		sign = 1
	}
	x.here[no] = here
	x.have += int64(sign * blockLen(no, x.Size))
	x.haveNo += sign
}

// storeBlock makes a block one's own that a peer has sent.
func (a *Assets) storeBlock(p peer.ID, b block) error {
	if a.shelf.has(b.hash) {
		return nil
	}
	if err := a.shelf.put(a.tasks.Context(), b); err != nil {
		return err
	}
	a.credit(p, b.hash, len(b.sealed))
	a.stored(b)
	a.server.exchange.offer(b)
	return nil
}

// stored counts a block that has come into the store.
func (a *Assets) stored(b block) {
	a.mu.Lock()
	var whole []*asset
	for _, p := range a.places[b.hash] {
		x := p.asset
		if p.no < 0 {
			whole = append(whole, x)
			continue
		}
		if x.count(p.no, true); x.complete() {
			a.changedContent(x)
		}
		a.events.progress[x] = struct{}{}
	}
	poke(a.events.wake)
	a.mu.Unlock()
	for _, x := range whole {
		a.openManifest(x)
	}
}

// credit counts a block for whoever has sent it.
func (a *Assets) credit(p peer.ID, h hash, size int) {
	d, ok := deviceIn(a.cfg.State(), p)
	if !ok {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, pl := range a.places[h] {
		if pl.asset.from == nil {
			pl.asset.from = map[identity.MemberID]int64{}
		}
		pl.asset.from[d.Member] += int64(size)
		pl.asset.speed.add(size, time.Now())
	}
}

// openManifest reads a content's manifest if all parts are here.
func (a *Assets) openManifest(x *asset) {
	a.mu.Lock()
	known := x.blocks != nil || x.invalid != nil
	a.mu.Unlock()
	if known {
		return
	}
	parts := make([][]byte, len(x.Manifest))
	for i, h := range x.Manifest {
		var err error
		if parts[i], err = a.readBlock(a.tasks.Context(), h); err != nil {
			return // fetched later
		}
	}
	blocks, err := x.openManifest(parts)
	a.setBlocks(x, blocks, err)
}

// setBlocks notes which blocks a content has, or that it can never be read.
func (a *Assets) setBlocks(x *asset, blocks []hash, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if x.blocks != nil || x.invalid != nil || a.assets[x.id] != x {
		return
	}
	if err != nil {
		a.log.Warn("assets: unusable file", "id", x.id.Short(), "err", err)
		x.invalid = err
		return
	}
	x.blocks, x.here = blocks, make([]bool, len(blocks))
	for no, h := range blocks {
		a.places[h] = append(a.places[h], place{x, no})
		if a.shelf.has(h) {
			x.count(no, true)
		}
	}
	if x.complete() {
		a.changedContent(x)
	}
	a.wakeLanesLocked()
}

// manifestOf returns a content's blocks, fetching the manifest if it is not here.
func (a *Assets) manifestOf(ctx context.Context, x *asset, urgent bool) ([]hash, error) {
	for {
		a.mu.Lock()
		blocks, err := x.blocks, x.invalid
		a.mu.Unlock()
		if blocks != nil || err != nil {
			return blocks, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		for i, h := range x.Manifest {
			if _, err := a.needBlock(ctx, h, manifestPartLen(i, x.Size)+overhead, urgent); err != nil {
				return nil, err
			}
		}
		a.openManifest(x)
	}
}

// plainBlock returns a block of a file, fetching it if it is not here.
func (a *Assets) plainBlock(ctx context.Context, x *asset, s *sealer, no int, urgent bool) ([]byte, error) {
	blocks, err := a.manifestOf(ctx, x, urgent)
	if err != nil {
		return nil, err
	}
	want := blockLen(no, x.Size)
	sealed, err := a.needBlock(ctx, blocks[no], want+overhead, urgent)
	if err != nil {
		return nil, err
	}
	plain, err := s.open(no, sealed)
	if err == nil && len(plain) != want {
		err = fmt.Errorf("%w: block %d has %d bytes, not %d", ErrInvalid, no, len(plain), want)
	}
	return plain, err
}
