package membership

import (
	"testing"
	"time"

	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/testbed/forge"
	"github.com/studio-whip/collab/internal/wire"
)

// floodReads is what reading may take while a member floods, on a machine that is busy with other things as well. It takes
// microseconds; who waited for the replay of a flood would wait for longer than the test.
const floodReads = 5 * time.Second

// A member's program sends five hundred events of one number. Whoever reads who is a member does not wait for what becomes of
// them, who needs the log waits for a batch at most, and nothing of it counts.
func TestReadingDuringAFlood(t *testing.T) {
	checkLeaks(t)
	nodes, projects := studio(t, "anna", "berta")
	pa, berta := projects[0], nodes[1]
	act := forge.Act{On: projects[1].copyLog(t, projects[1].Heads()), Author: projects[1].author(), Kind: governance.KindChainOpen}
	var flood [][]byte
	for k := range 512 {
		act.Body = governance.ChainOpen{ChainNo: uint32(k%64 + 1)}
		hint := uint64(k)
		act.Edit = func(c *forge.Core) { c.THint = &hint }
		core := act.Core()
		flood = append(flood, wire.Marshal(wire.Signed{Core: core, Sigs: [][]byte{berta.self.Keys.DK.Sign(sign.Event, core)}}))
	}
	done := make(chan error, 1)
	go func() {
		for len(flood) > 0 { // as many as an exchange's batch
			if _, err := pa.take(berta.self.Device.ID, flood[:maxBatch]); err != nil {
				done <- err
				return
			}
			flood = flood[maxBatch:]
		}
		done <- nil
	}()
	var reads, state, locked int64
	for end := time.After(3 * time.Minute); ; reads++ {
		begin := time.Now()
		if len(pa.State().Members()) != 2 {
			t.Fatal("members are missing")
		}
		state = max(state, int64(time.Since(begin)))
		if reads%64 == 0 {
			begin = time.Now()
			pa.Acts()
			locked = max(locked, int64(time.Since(begin)))
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-end:
			t.Fatal("the flood is not over")
		default:
			continue
		}
		break
	}
	t.Logf("%d reads; State at most %s, what waits for the log %s", reads, time.Duration(state), time.Duration(locked))
	if time.Duration(state) > floodReads {
		t.Errorf("a read took %s", time.Duration(state))
	}
	if d, ok := pa.State().Device(berta.self.Device.ID); !ok || !d.Suspended {
		t.Error("the flood is no equivocation")
	}
	if n := len(pa.State().Chains()); n > 4 {
		t.Errorf("%d chains are open", n)
	}
}
