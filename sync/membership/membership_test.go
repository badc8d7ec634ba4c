package membership

import (
	"errors"
	"testing"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/invite"
)

// Found, invite, join; a second joiner through the first host, a third one through another manager; all converge.
func TestProjectGrows(t *testing.T) {
	checkLeaks(t)
	anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
	pa := anna.found()
	if role(pa, anna.self) != governance.Manager {
		t.Fatal("the founder is no manager")
	}
	id, key, ok := pa.SendingEpoch()
	if !ok {
		t.Fatal("no key after founding")
	}
	pb := berta.join(invited(t, pa, InviteOptions{}))
	if got, held := pb.EpochKey(id); !held || got != key {
		t.Fatal("the newcomer lacks the key")
	}
	if role(pb, berta.self) != governance.Editor || role(pa, berta.self) != governance.Editor {
		t.Fatal("the newcomer is no editor")
	}
	converge(t, pa, pb)
	if _, err := pb.CreateInvite(timeout(t), InviteOptions{}); !errors.As(err, new(*governance.DeniedError)) {
		t.Fatalf("an editor invites: %v", err)
	}
	_, err := pa.Propose(timeout(t), governance.KindRoleGrant,
		governance.RoleGrant{Member: berta.self.Identity.Member(), Role: governance.Manager})
	if err != nil {
		t.Fatal(err)
	}
	converge(t, pa, pb) // pushed, nobody asked
	pc := carl.join(invited(t, pb, InviteOptions{Role: governance.Viewer, Compact: true}))
	converge(t, pb, pc, pa)
	if role(pa, carl.self) != governance.Viewer {
		t.Fatal("the second newcomer is no viewer")
	}
	if got, held := pc.EpochKey(id); !held || got != key {
		t.Fatal("the second newcomer lacks the key")
	}
	if no, err := pc.OpenChain(timeout(t)); err != nil || no != 1 {
		t.Fatalf("chain %d: %v", no, err)
	}
	if no, err := pc.OpenChain(timeout(t)); err != nil || no != 2 {
		t.Fatalf("chain %d: %v", no, err)
	}
	converge(t, pc, pb, pa) // from carl through berta to anna, who has no connection to carl
	eventually(t, "addresses are known to all", func() bool {
		return len(pa.Addresses(carl.self.Device.ID)) > 0 && len(pc.Addresses(anna.self.Device.ID)) > 0
	})
}

// What a project holds survives closing, and it goes on.
func TestReopen(t *testing.T) {
	checkLeaks(t)
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	pa := anna.found()
	code := invited(t, pa, InviteOptions{Uses: 2})
	pb := berta.join(code)
	digest := pb.State().Digest()
	id, key, _ := pb.SendingEpoch()
	addrs := pb.Addresses(anna.self.Device.ID)
	if _, err := berta.reg.Open(timeout(t), berta.cfg(), pb.ID()); !errors.Is(err, ErrExists) {
		t.Fatalf("opened twice: %v", err)
	}
	if err := pb.Close(); err != nil {
		t.Fatal(err)
	}
	if err := pb.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := pb.OpenChain(timeout(t)); !errors.Is(err, ErrClosed) {
		t.Fatalf("after close: %v", err)
	}
	if err := pb.Pull(timeout(t), anna.self.Device.ID); !errors.Is(err, ErrClosed) {
		t.Fatalf("after close: %v", err)
	}
	pb = berta.reopen(pb.ID())
	if pb.State().Digest() != digest {
		t.Error("another state after reopening")
	}
	if got, ok := pb.EpochKey(id); !ok || got != key {
		t.Error("the key is gone")
	}
	if got := pb.Addresses(anna.self.Device.ID); len(got) != len(addrs) || len(got) == 0 {
		t.Errorf("addresses %q", got)
	}
	if _, err := pb.OpenChain(timeout(t)); err != nil {
		t.Fatal(err)
	}
	// The host restarts as well, and its invite lives on.
	anna.stop()
	anna.start()
	pa = anna.reopen(pa.ID())
	carl := newNode(t, "carl")
	parsed, err := invite.Parse(code)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Hosts[0].Addrs = anna.host.Addrs()
	pc := carl.join(parsed.Text())
	berta.connect(anna)
	if err := pb.Pull(timeout(t), anna.self.Device.ID); err != nil {
		t.Fatal(err)
	}
	converge(t, pa, pb, pc)
	list, err := Projects(anna.st)
	if err != nil || len(list) != 1 || list[0] != pa.ID() {
		t.Errorf("projects %v: %v", list, err)
	}
}

// Scenario 104: a member of one project, connected, gets the same answer for another project of the node as for one
// that does not exist, and is not told that it exists.
func TestScenario104ProjectsStayApart(t *testing.T) {
	scenario.Run(t, 104, "a member of one project asks on its connection for another's governance and keys: the answer is that for an unknown project", func(t *testing.T) {
		checkLeaks(t)
		anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
		film, comic := anna.found(), anna.found()
		pf := berta.join(invited(t, film, InviteOptions{}))
		pc := carl.join(invited(t, comic, InviteOptions{}))
		// Both ask the registry for what is theirs, not theirs, and nobody's.
		ask := func(n *node, project [32]byte) string {
			s, err := n.host.Open(timeout(t), anna.self.Device.ID, protocolEvents)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Reset()
			if err := send(s, &hello{Project: project}); err != nil {
				t.Fatal(err)
			}
			var h hello
			if err := receive(s, &h); err != nil {
				return err.Error()
			}
			return "answered"
		}
		if got := ask(berta, film.ID()); got != "answered" {
			t.Fatalf("berta asks for her own project: %s", got)
		}
		forbidden, unknown := ask(berta, comic.ID()), ask(berta, [32]byte{1})
		if forbidden == "answered" || forbidden != unknown {
			t.Errorf("forbidden %q, unknown %q", forbidden, unknown)
		}
		if got := ask(carl, film.ID()); got != unknown {
			t.Errorf("carl asks for berta's project: %q", got)
		}
		if err := film.Pull(timeout(t), carl.self.Device.ID); !errors.Is(err, ErrNotMember) {
			t.Errorf("anna names berta's project to carl: %v", err)
		}
		converge(t, film, pf)
		converge(t, comic, pc)
		// berta joins the second project on the connection of the first.
		both := berta.join(invited(t, comic, InviteOptions{}))
		converge(t, comic, both, pc)
		if got := ask(berta, comic.ID()); got != "answered" {
			t.Errorf("berta, now a member: %s", got)
		}
	})
}
