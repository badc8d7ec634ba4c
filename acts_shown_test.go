package collab

import (
	"testing"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/sync/membership"
)

// What is signed is shown: which device an act is about, and nothing that there are no words for, as an admission that another
// holder's own program has proposed.
func TestActsAreShown(t *testing.T) {
	device := identity.DeviceID{7}
	for _, body := range []any{&governance.DeviceRemove{Device: device}, &governance.LiftQuarantine{Device: &device}} {
		if p, shown := actProposal(membership.Act{Body: body}); !shown || p.Kind == 0 || p.Device != device {
			t.Errorf("%T is shown as %+v", body, p)
		}
	}
	for _, stolen := range []uint8{0, 1} {
		if p, _ := actProposal(membership.Act{Body: &governance.DeviceRemove{Device: device, Stolen: stolen}}); p.Stolen != (stolen == 1) {
			t.Errorf("the removal of a device, stolen: %d, is shown as %+v", stolen, p)
		}
	}
	if p, shown := actProposal(membership.Act{AsRoot: true, Kind: governance.KindAdmit, Body: &governance.Admit{Role: governance.Manager}}); shown {
		t.Errorf("an admission is shown as %+v", p)
	}
}
