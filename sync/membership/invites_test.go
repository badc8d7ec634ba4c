package membership

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/invite"
)

// Scenario 49: the holder of a code that is over is told why.
func TestScenario49OverInvites(t *testing.T) {
	scenario.Run(t, 49, "expired, cancelled and used codes at a real host: typed errors for the holder, silence thirty days later", func(t *testing.T) {
		checkLeaks(t)
		anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
		p := anna.found()
		expired := invited(t, p, InviteOptions{Expires: time.Hour})
		cancelled := invited(t, p, InviteOptions{})
		used := invited(t, p, InviteOptions{})
		berta.join(used)
		if err := p.CancelInvite(timeout(t), cancelled); err != nil {
			t.Fatal(err)
		}
		for name, tc := range map[string]struct {
			code string
			want error
		}{"used": {used, invite.ErrUsed}, "cancelled": {cancelled, invite.ErrCancelled}} {
			if _, _, err := carl.redeem(tc.code); !errors.Is(err, tc.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		var by *invite.UsedError
		if _, _, err := carl.redeem(used); !errors.As(err, &by) || by.First != berta.self.Identity.Member() {
			t.Errorf("the second user is not told who came first: %v", err)
		}
		// The host's clock decides, whatever the guest's says.
		carl.clock.advance(48 * time.Hour)
		anna.clock.advance(59 * time.Minute)
		if _, _, err := carl.redeem(expired); err != nil {
			t.Errorf("before its end: %v", err)
		}
		dora := newNode(t, "dora")
		late := invited(t, p, InviteOptions{Expires: time.Hour})
		anna.clock.advance(2 * time.Hour)
		if _, _, err := dora.redeem(late); !errors.Is(err, invite.ErrExpired) {
			t.Errorf("after its end: %v", err)
		}
		// 30 days later nobody is told anything, not even by the transport.
		anna.clock.advance(inviteMemory + time.Hour)
		if _, _, err := dora.redeem(late); !errors.Is(err, p2p.ErrRefused) {
			t.Errorf("long after: %v", err)
		}
		if n := p.members(); n != 3 {
			t.Errorf("%d members", n)
		}
	})
}

func TestInviteOptionsAreChecked(t *testing.T) {
	checkLeaks(t)
	anna := newNode(t, "anna")
	p := anna.found()
	for name, o := range map[string]InviteOptions{
		"too long":       {Expires: MaxInviteLife + time.Second},
		"negative":       {Expires: -time.Second},
		"too many uses":  {Uses: 1 << 16},
		"strangers host": {Hosts: []identity.DeviceID{{1}}},
		"too many hosts": {Hosts: make([]identity.DeviceID, 4)},
	} {
		if _, err := p.CreateInvite(timeout(t), o); !errors.Is(err, ErrInvite) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Over-role: a code for a manager is not made, by whatever means.
	if _, err := p.CreateInvite(timeout(t), InviteOptions{Role: governance.Manager}); !errors.As(err, new(*governance.DeniedError)) {
		t.Errorf("for a manager: %v", err)
	}
	if len(*p.hosted.Load()) != 0 {
		t.Error("an invite that was not made is served")
	}
	other := anna.found()
	code := invited(t, other, InviteOptions{})
	if err := p.CancelInvite(timeout(t), code); !errors.Is(err, ErrUnknownInvite) {
		t.Errorf("another project's code cancelled: %v", err)
	}
	if err := p.CancelInvite(timeout(t), "no code"); !errors.Is(err, invite.ErrNotACode) {
		t.Errorf("no code cancelled: %v", err)
	}
	if err := p.CancelInviteID(timeout(t), governance.InviteID{1}); !errors.Is(err, ErrUnknownInvite) {
		t.Errorf("unknown invite cancelled: %v", err)
	}
}

// A code whose secret, project or pin was changed is silence's: the transport closes, or the host does.
func TestForgedCodes(t *testing.T) {
	checkLeaks(t)
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	p := anna.found()
	text := invited(t, p, InviteOptions{})
	for name, tc := range map[string]struct {
		change func(*invite.Code)
		want   error
	}{
		"secret":  {func(c *invite.Code) { c.Secret[0] ^= 1 }, p2p.ErrRefused},
		"invite":  {func(c *invite.Code) { c.Invite[0] ^= 1 }, p2p.ErrRefused},
		"project": {func(c *invite.Code) { c.Project[0] ^= 1 }, invite.ErrNoAnswer},
		"root":    {func(c *invite.Code) { c.Root[0] ^= 1 }, invite.ErrNoAnswer},
		"device":  {func(c *invite.Code) { c.Hosts[0].Device[0] ^= 1 }, p2p.ErrRefused},
		"peer": {func(c *invite.Code) {
			c.Hosts[0].Peer = berta.self.Device.Peer
			c.Hosts[0].Peer[0] ^= 1
		}, nil},
	} {
		code, err := invite.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		tc.change(code)
		_, err = berta.reg.Redeem(timeout(t), code, nil)
		if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	code, err := invite.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	code.Hosts[0].Addrs = []string{"/ip4/127.0.0.1/tcp/1"}
	if _, err := newNode(t, "carl").reg.Redeem(timeout(t), code, nil); !errors.Is(err, p2p.ErrUnreachable) {
		t.Errorf("wrong address: %v", err)
	}
	berta.join(text)
}

// Scenario 97: a newcomer who lost M4 or M5 comes again and gets the same admission; no second use is counted.
func TestScenario97SameAdmissionAgain(t *testing.T) {
	scenario.Run(t, 97, "a joiner who lost the last message comes again: the existing admission, no second use", func(t *testing.T) {
		checkLeaks(t)
		anna, berta := newNode(t, "anna"), newNode(t, "berta")
		p := anna.found()
		text := invited(t, p, InviteOptions{})
		_, first, err := berta.redeem(text)
		if err != nil {
			t.Fatal(err)
		}
		anna.clock.advance(DefaultInviteLife + time.Hour) // even after its end
		code, second, err := berta.redeem(text)
		if err != nil || !slices.Equal(first.Admit, second.Admit) {
			t.Fatalf("not the same admission: %v", err)
		}
		x, _ := p.State().Invite(code.Invite)
		if x.Uses != 1 || p.members() != 2 {
			t.Errorf("%d uses, %d members", x.Uses, p.members())
		}
		pb, err := berta.reg.Adopt(timeout(t), berta.cfg(), code, second)
		if err != nil {
			t.Fatal(err)
		}
		converge(t, p, pb)
		if _, err := berta.reg.Adopt(timeout(t), berta.cfg(), code, second); !errors.Is(err, ErrExists) {
			t.Errorf("adopted twice: %v", err)
		}
	})
}

// A join that fails after the handshake leaves nothing, and works when it is tried again.
func TestFailedJoinLeavesNothing(t *testing.T) {
	checkLeaks(t)
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	p := anna.found()
	text := invited(t, p, InviteOptions{})
	code, w, err := berta.redeem(text)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := berta.reg.Adopt(ctx, berta.cfg(), code, w); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	other := *w
	other.Admit = []byte("forged")
	if _, err := berta.reg.Adopt(timeout(t), berta.cfg(), code, &other); !errors.Is(err, ErrNotAdmitted) {
		t.Fatalf("forged: %v", err)
	}
	if _, err := berta.reg.Open(timeout(t), berta.cfg(), p.ID()); !errors.Is(err, ErrUnknownProject) {
		t.Errorf("something stayed: %v", err)
	}
	if list, err := Projects(berta.st); err != nil || len(list) != 0 {
		t.Errorf("projects %v: %v", list, err)
	}
	pb := berta.join(text)
	converge(t, p, pb)
}

// Scenario 55: a cancelled code is useless at every host that has the event.
func TestScenario55Cancelled(t *testing.T) {
	scenario.Run(t, 55, "a cancelled invite: the code is useless at every host that has the event", func(t *testing.T) {
		checkLeaks(t)
		anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
		pa := anna.found()
		pb := berta.join(invited(t, pa, InviteOptions{}))
		converge(t, pa, pb)
		code := invited(t, pa, InviteOptions{Uses: 3, Hosts: []identity.DeviceID{berta.self.Device.ID}})
		converge(t, pa, pb)
		at := func(host *node) string { // the code with one host's address only
			c, err := invite.Parse(code)
			if err != nil {
				t.Fatal(err)
			}
			for i := range c.Hosts {
				if c.Hosts[i].Device != host.self.Device.ID {
					c.Hosts[i].Addrs = []string{"/ip4/127.0.0.1/tcp/1"}
				}
			}
			return c.Text()
		}
		pc := carl.join(at(berta)) // the second host serves it
		converge(t, pa, pb, pc)
		if err := pa.CancelInvite(timeout(t), code); err != nil {
			t.Fatal(err)
		}
		converge(t, pa, pb, pc)
		dora := newNode(t, "dora")
		for _, host := range []*node{berta, anna} { // an address once learnt is remembered: the first host last
			if _, _, err := dora.redeem(at(host)); !errors.Is(err, invite.ErrCancelled) {
				t.Errorf("at %s: %v", host.name, err)
			}
		}
		if role(pa, carl.self) != governance.Editor {
			t.Error("who came before is out")
		}
	})
}

// Scenarios 48 and 55: two hosts admit apart from each other, and one cancels. The admission made without knowing
// falls, and the key rotates, as it was given to him.
func TestScenario55VoidedAdmissionRotates(t *testing.T) {
	scenario.Run(t, 55, "a cancelling voids an admission made apart from it: the key rotates, who fell does not get it", func(t *testing.T) {
		checkLeaks(t)
		anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
		pa := anna.found()
		pb := berta.join(invited(t, pa, InviteOptions{}))
		code := invited(t, pa, InviteOptions{Hosts: []identity.DeviceID{berta.self.Device.ID}})
		converge(t, pa, pb)
		before, _, _ := pa.SendingEpoch()
		heal := anna.partition(berta)
		if err := pa.CancelInvite(timeout(t), code); err != nil {
			t.Fatal(err)
		}
		c, err := invite.Parse(code)
		if err != nil {
			t.Fatal(err)
		}
		c.Hosts[0].Addrs = []string{"/ip4/127.0.0.1/tcp/1"}
		pc := carl.join(c.Text())
		if role(pb, carl.self) != governance.Editor {
			t.Fatal("berta did not admit")
		}
		heal()
		converge(t, pa, pb)
		if role(pa, carl.self) != governance.None {
			t.Fatal("the cancelled admission stands")
		}
		eventually(t, "the key rotates", func() bool {
			a, _, oka := pa.SendingEpoch()
			b, _, okb := pb.SendingEpoch()
			return oka && okb && a == b && a != before
		})
		after, _, _ := pa.SendingEpoch()
		if _, ok := pc.EpochKey(after); ok {
			t.Error("who fell has the new key")
		}
	})
}

// Scenario 48: one use, two hosts at once. The admission by the host listed first stands.
func TestScenario48TwoHostsAtOnce(t *testing.T) {
	scenario.Run(t, 48, "one use, two hosts at once: the admission by the host listed first stands", func(t *testing.T) {
		checkLeaks(t)
		anna, berta, carl, dora := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl"), newNode(t, "dora")
		pa := anna.found()
		pb := berta.join(invited(t, pa, InviteOptions{}))
		code := invited(t, pa, InviteOptions{Hosts: []identity.DeviceID{berta.self.Device.ID}})
		converge(t, pa, pb)
		heal := anna.partition(berta)
		c, err := invite.Parse(code)
		if err != nil {
			t.Fatal(err)
		}
		carl.join(code)
		c.Hosts[0].Addrs = []string{"/ip4/127.0.0.1/tcp/1"}
		dora.join(c.Text())
		heal()
		converge(t, pa, pb)
		if role(pa, carl.self) != governance.Editor || role(pa, dora.self) != governance.None {
			t.Errorf("carl is %v, dora is %v", role(pa, carl.self), role(pa, dora.self))
		}
	})
}

// apart reports whether a sees no connection to b.
func apart(a, b *node) func() bool {
	return func() bool {
		return !slices.ContainsFunc(a.host.Connected(), func(p p2p.Peer) bool { return p.Device == b.self.Device.ID })
	}
}

// partition keeps two nodes apart until the function that it returns is called.
func (n *node) partition(other *node) (heal func()) {
	n.t.Helper()
	n.host.Disconnect(other.self.Device.ID)
	eventually(n.t, "they are apart", apart(n, other))
	eventually(n.t, "they are apart", apart(other, n))
	return func() {
		n.t.Helper()
		n.connect(other)
		for _, p := range n.reg.all() {
			if err := p.Pull(timeout(n.t), other.self.Device.ID); err != nil {
				n.t.Fatal(err)
			}
		}
	}
}

// Scenario 49: a project with its full number of members admits nobody.
func TestFullProject(t *testing.T) {
	checkLeaks(t)
	anna, berta, carl := newNode(t, "anna"), newNode(t, "berta"), newNode(t, "carl")
	policy := genesis.DefaultPolicy()
	policy.MaxMembers = 2
	p, err := anna.reg.Found(timeout(t), anna.cfg(), newRoot(t, anna.self, policy))
	if err != nil {
		t.Fatal(err)
	}
	berta.join(invited(t, p, InviteOptions{}))
	if _, _, err := carl.redeem(invited(t, p, InviteOptions{})); !errors.Is(err, invite.ErrFull) {
		t.Errorf("%v", err)
	}
}

// With approval a person at the host decides, and both sides see the same six words.
func TestApproval(t *testing.T) {
	checkLeaks(t)
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	seen := make(chan JoinRequest, 8)
	say := errors.New("no")
	cfg := anna.cfg()
	cfg.JoinPolicy = func(_ context.Context, r JoinRequest) error { seen <- r; return say }
	p, err := anna.reg.Found(timeout(t), cfg, newRoot(t, anna.self, genesis.DefaultPolicy()))
	if err != nil {
		t.Fatal(err)
	}
	text := invited(t, p, InviteOptions{Approve: true})
	code, err := invite.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	show := func(w []string) { words = w }
	if _, err := berta.reg.Redeem(timeout(t), code, show); !errors.Is(err, invite.ErrDenied) {
		t.Fatalf("denied: %v", err)
	}
	r := <-seen
	if len(words) != 6 || !slices.Equal(words, r.Words) || !r.Approval || r.Role != governance.Editor ||
		r.Identity.ID != berta.self.Identity.ID {
		t.Errorf("host sees %+v, guest sees %q", r, words)
	}
	say = nil
	if w, err := berta.reg.Redeem(timeout(t), code, show); err != nil || w.Pending {
		t.Errorf("admitted: %v", err)
	}
}

// Closing the transport or the project does not wait for a person.
func TestCloseWhileAPersonDecides(t *testing.T) {
	checkLeaks(t)
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	asked := make(chan struct{})
	cfg := anna.cfg()
	cfg.JoinPolicy = func(ctx context.Context, _ JoinRequest) error { close(asked); <-ctx.Done(); return ctx.Err() }
	p, err := anna.reg.Found(timeout(t), cfg, newRoot(t, anna.self, genesis.DefaultPolicy()))
	if err != nil {
		t.Fatal(err)
	}
	code, err := invite.Parse(invited(t, p, InviteOptions{Approve: true}))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		w, err := berta.reg.Redeem(timeout(t), code, nil)
		if err == nil && !w.Pending {
			err = errors.New("admitted")
		} else if err != nil && errors.Is(err, invite.ErrNoAnswer) {
			err = nil
		}
		ended <- err
	}()
	<-asked
	anna.stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Without anybody to ask, an invite that needs approval stays pending.
func TestApprovalWithoutAPerson(t *testing.T) {
	checkLeaks(t)
	anna, berta := newNode(t, "anna"), newNode(t, "berta")
	p := anna.found()
	code, w, err := berta.redeem(invited(t, p, InviteOptions{Approve: true}))
	if err != nil || !w.Pending {
		t.Fatalf("%+v: %v", w, err)
	}
	if _, err := berta.reg.Adopt(timeout(t), berta.cfg(), code, w); !errors.Is(err, ErrNotAdmitted) {
		t.Errorf("adopted: %v", err)
	}
	if p.members() != 1 {
		t.Error("admitted")
	}
}

// Scenarios 54 and 100: who knows the invite's id floods the host with wrong proofs, and one who knows s_mac with
// wrong M1s. The guest still gets in.
func TestScenario100Flood(t *testing.T) {
	scenario.Run(t, 100, "a host is flooded with wrong proofs for an invite, by who knows its id and by who knows s_mac: the guest gets in", func(t *testing.T) {
		checkLeaks(t)
		anna, mallory, berta := newNode(t, "anna"), newNode(t, "mallory"), newNode(t, "berta")
		p := anna.found()
		text := invited(t, p, InviteOptions{})
		code, err := invite.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		anna.clock.stop() // rates depend on nothing else
		wrong := *code
		wrong.Secret[0] ^= 1
		for range 60 {
			if _, err := mallory.reg.Redeem(timeout(t), &wrong, nil); !errors.Is(err, p2p.ErrRefused) {
				t.Fatalf("wrong proof: %v", err)
			}
		}
		// The transport proof is right, what follows is not: another host of the invite could do so.
		conn, err := mallory.host.Dial(timeout(t), p2p.Target{
			Device: anna.self.Device.ID, Peer: anna.self.Device.Peer, Addrs: anna.host.Addrs(),
			Invite: &p2p.InviteAuth{Hash: invite.Hash(code.Invite), Key: invite.MACKey(code.Secret)},
		})
		if err != nil {
			t.Fatal(err)
		}
		wrong = *code
		wrong.Project[0] ^= 1
		for range 60 {
			s, err := conn.Open(timeout(t), protocolInvite)
			if err != nil {
				continue // above the rate the stream is reset before it is agreed on
			}
			_, err = invite.Join(mallory.reg.cfg.Random, s, invite.Joiner{
				Exporter: s.Exporter(), Remote: s.Cert(), Code: &wrong,
				Identity: mallory.self.Identity, Device: mallory.self.Device, Keys: mallory.self.Keys,
			})
			if err == nil {
				t.Fatal("a wrong M1 is answered")
			}
			_ = s.Reset()
		}
		anna.reg.limiter.mu.Lock()
		running, tokens := anna.reg.limiter.running, anna.reg.limiter.all.tokens
		anna.reg.limiter.mu.Unlock()
		if running > maxHandshakes || tokens > handshakeBurst-perAddressBurst+1 {
			t.Errorf("%d handshakes run, %.0f tokens are left", running, tokens)
		}
		anna.clock.advance(5 * time.Second)
		berta.join(text)
	})
}
