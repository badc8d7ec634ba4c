package coordinator

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
)

// Everybody of the roster is described: how they are reached now, and how often rounds and dials went well.
func TestPeers(t *testing.T) {
	try(t, 3, true, func(t *testing.T, b *bench) {
		relayed, away, broken := b.peers[0], b.peers[1], b.peers[2]
		var ended []error
		b.cfg.OnRound = func(device identity.DeviceID, err error) {
			if device == broken {
				ended = append(ended, err)
			}
		}
		b.serve(func() {
			b.paths = map[identity.DeviceID]p2p.Path{relayed: p2p.PathRelay}
			b.dial = func(_ context.Context, d identity.DeviceID) error {
				if d == away {
					return errDown
				}
				return nil
			}
			b.round = func(_ context.Context, d identity.DeviceID) error {
				if d == broken {
					return errDown
				}
				return nil
			}
		})
		b.wait(time.Minute)
		peers := b.Peers()
		if len(peers) != 3 {
			t.Fatalf("%d peers", len(peers))
		}
		for _, p := range peers {
			switch p.Device {
			case relayed:
				if !p.Online || p.Path != p2p.PathRelay || !p.Synced || p.Rounds < 2 || p.FailedRounds != 0 || p.Dials != 1 || p.LastErr != nil {
					t.Errorf("relayed: %+v", p)
				}
			case away:
				if p.Online || p.Path != "" || p.Synced || p.Rounds != 0 || p.Dials < 3 || p.FailedDials != p.Dials || !errors.Is(p.LastErr, errDown) {
					t.Errorf("away: %+v", p)
				}
			case broken:
				if !p.Online || p.Path != p2p.PathQUIC || p.Synced || p.Rounds < 3 || p.FailedRounds != p.Rounds || !errors.Is(p.LastErr, errDown) {
					t.Errorf("broken: %+v", p)
				}
				if uint64(len(ended)) != p.Rounds || !errors.Is(ended[0], errDown) {
					t.Errorf("OnRound told of %d of %d rounds", len(ended), p.Rounds)
				}
			}
		}
		b.set(func() { b.dial = refused }) // first, or it might be dialed again at once
		b.disconnect(relayed)
		if p := b.Peers()[0]; p.Device == relayed && (p.Online || p.Path != "" || p.Synced) {
			t.Errorf("gone: %+v", p)
		}
	})
}
