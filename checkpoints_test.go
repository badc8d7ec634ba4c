package collab

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/keystore/memory"
	"github.com/studio-whip/collab/sync/membership"
)

// settledContent returns what the settled checkpoints of a session's project have settled of the documents, chain by chain.
func (p *player) settledContent(t *testing.T) map[DeviceID]uint64 {
	t.Helper()
	out := map[DeviceID]uint64{}
	p.s.membership.View(func(log *governance.Log) {
		for e := range log.All() {
			body, err := governance.DecodeBody(e)
			if err != nil {
				t.Error(err)
				return
			}
			if c, ok := body.(*governance.Checkpoint); ok {
				for _, cut := range c.Content {
					out[cut.Device] = max(out[cut.Device], cut.Seq)
				}
			}
		}
	})
	return out
}

// Two managers' sessions settle what they both hold of the documents, without anybody being asked. What somebody wrote
// meanwhile, away from them, counts when he comes back, and a manager who was removed in between is settled out.
func TestCheckpointsSettleDocuments(t *testing.T) {
	policy := WithCheckpoints(membership.CheckpointPolicy{Events: 6, Pause: time.Nanosecond})
	dir, keys, address := t.TempDir(), memory.New(), freeAddress(t)
	openDora := func() *player {
		return openPlayer(t, "Dora", policy, WithDir(dir), WithKeyStore(keys), WithListen(address))
	}
	ada, bob, dora := newPlayer(t, "Ada", policy), newPlayer(t, "Bob", policy), openDora()
	ada.found(t)
	bob.join(t, ada)
	dora.join(t, ada)
	ctx := t.Context()
	if err := ada.s.SetRole(ctx, bob.s.Me().ID, RoleManager); err != nil {
		t.Fatal(err)
	}
	until(t, "Bob is a manager", func() bool { return bob.s.Me().Role == RoleManager })
	ada.write(t, "Ada was here. ")
	agree(t, ada, bob, dora)
	dora.write(t, "Dora was here. ")
	agree(t, ada, bob, dora)
	id := ada.s.ID()
	if err := dora.Node.Close(); err != nil {
		t.Fatal(err)
	}
	settles := func(number uint64) {
		t.Helper()
		for range 8 { // events without a meaning, until one is due
			if _, err := ada.s.membership.OpenChain(ctx); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "both have settled", func() bool {
			a, b := ada.s.membership.State().Settled(), bob.s.membership.State().Settled()
			return a.Number >= number && a == b
		})
	}
	settles(1)
	first := ada.s.membership.State().Settled().Number
	until(t, "what both hold is settled", func() bool {
		got := ada.settledContent(t)
		return got[ada.self.Device.ID] > 0 && got[dora.self.Device.ID] > 0
	})

	dora = openDora()
	var err error
	if dora.s, err = dora.OpenProject(ctx, id); err != nil {
		t.Fatal(err)
	}
	dora.open(t)
	dora.write(t, "Dora was away. ")
	settles(first + 1)
	agree(t, ada, bob, dora)
	if got := bob.read(t); strings.Count(got, "Dora was") != 2 || strings.Count(got, "Ada was") != 1 {
		t.Errorf("Bob reads %q", got)
	}
	until(t, "all agree", func() bool {
		return !slices.ContainsFunc([]*player{bob, dora}, func(p *player) bool {
			return p.s.membership.State().Digest() != ada.s.membership.State().Digest()
		})
	})
	if at := time.Unix(int64(ada.s.membership.State().Settled().Time), 0); time.Since(at) > time.Hour || time.Until(at) > time.Hour {
		t.Errorf("the project's time is %s", at)
	}
}
