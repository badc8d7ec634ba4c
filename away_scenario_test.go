package collab

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/devicekeys"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore/memory"
	"github.com/studio-whip/collab/sync/membership"
)

// Eve is away while twenty people come and go, three of whom wrote.
func TestScenario39AwayThroughRotations(t *testing.T) {
	scenario.Run(t, 39, "a member is away through twenty rotations and as many removals: connects by the device key, catches up, holds every key, reads all", func(t *testing.T) {
		x := troupe(t, "Ada", "Bob", "Cleo", "Dan", "Fay")
		ada, bob := x[0], x[1]
		dir, keys := t.TempDir(), memory.New()
		eve := openPlayer(t, "Eve", WithDir(dir), WithKeyStore(keys))
		eve.join(t, ada)
		eve.write(t, "Eve early. ")
		agree(t, append(x, eve)...)
		project := eve.s.ID()
		if err := eve.Node.Close(); err != nil {
			t.Fatal(err)
		}
		for k, p := range x[2:] {
			p.write(t, fmt.Sprintf("Writer %d. ", k))
			agree(t, x[0], x[1], p)
			if err := ada.s.Revoke(t.Context(), p.me(), "left"); err != nil {
				t.Fatal(err)
			}
			<-p.s.Done()
			bob.write(t, fmt.Sprintf("After %d. ", k))
			agree(t, ada, bob)
		}
		for k := range 17 {
			who := passerby(t, k)
			if _, err := ada.s.membership.Propose(t.Context(), governance.KindAdmit, governance.Admit{
				Role: RoleEditor, Identity: who.Identity.Raw, Device: who.Device.Raw,
			}); err != nil {
				t.Fatal(err)
			}
			if err := ada.s.Revoke(t.Context(), who.Identity.Member(), ""); err != nil {
				t.Fatal(err)
			}
			ada.write(t, fmt.Sprintf("Key %d. ", k))
		}
		agree(t, ada, bob)
		if n := len(ada.s.membership.State().Epochs()); n < 21 {
			t.Fatalf("%d keys in all", n)
		}

		connected := Subscribe[PeerChanged](t.Context(), ada.s) // before she is there: she may come at once
		back := openPlayer(t, "Eve", WithDir(dir), WithKeyStore(keys))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var err error
		if back.s, err = back.OpenProject(ctx, project); err != nil {
			t.Fatal(err)
		}
		back.open(t)
		for e := range connected {
			if e.Who == back.me() && e.Online {
				break
			}
		}
		agree(t, ada, bob, back)
		for _, e := range back.s.membership.State().Epochs() {
			until(t, "every key is held", func() bool { _, ok := back.s.membership.EpochKey(e.ID); return ok })
		}
		for _, want := range []string{"Eve early. ", "Writer 2. ", "After 2. ", "Key 16. "} {
			if !strings.Contains(back.read(t), want) {
				t.Errorf("she does not read %q", want)
			}
		}
		back.write(t, "Eve late. ")
		agree(t, ada, bob, back)
	})
}

// passerby is somebody without a program.
func passerby(t *testing.T, n int) membership.Self {
	t.Helper()
	seed := func(k byte) identity.Seed { return identity.Seed{byte(n), k, 77} }
	ik := identity.NewIdentityKey(seed(1))
	id, err := identity.NewIdentityCert(ik, fmt.Sprintf("Passerby %d", n), wire.ID{1}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	keys := devicekeys.Of(seed(2))
	device, err := identity.NewDeviceCert(ik, id.Member(), keys, uint8(RoleManager))
	if err != nil {
		t.Fatal(err)
	}
	return membership.Self{Identity: id, Device: device, Keys: keys}
}
