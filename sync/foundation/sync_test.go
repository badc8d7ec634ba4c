package foundation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/sync/membership"
)

// trio is a project with three members who know each other.
func trio(t *testing.T) (anna, berta, carl *room) {
	t.Helper()
	anna = newNode(t, "anna").found()
	berta, carl = anna.join(newNode(t, "berta")), anna.join(newNode(t, "carl"))
	berta.meet(anna)
	berta.connect(carl.node)
	return anna, berta, carl
}

// held is the slow model: how far each chain is held.
func (r *room) held() map[chainKey]uint64 {
	out := map[chainKey]uint64{}
	for _, h := range r.j.Frontier() {
		out[chainKey{Device: h.Device, ChainNo: h.ChainNo}] = h.Seq
	}
	return out
}

func union(a, b map[chainKey]uint64) map[chainKey]uint64 {
	out := map[chainKey]uint64{}
	for _, m := range []map[chainKey]uint64{a, b} {
		for k, n := range m {
			out[k] = max(out[k], n)
		}
	}
	return out
}

// Whatever three devices hold: after Sync two of them hold the union of what they held, and no more.
func TestUnion(t *testing.T) {
	anna, berta, carl := trio(t)
	rooms := []*room{anna, berta, carl}
	docs := []string{"script", "notes", "cast"}
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		for range 12 {
			a, b := rooms[rng.IntN(3)], rooms[rng.IntN(3)]
			if rng.IntN(2) == 0 {
				for range 1 + rng.IntN(8) {
					a.write(docs[rng.IntN(3)], fmt.Sprintf("%s%d ", a.name, rng.IntN(100)))
				}
				continue
			}
			if a == b {
				continue
			}
			must(t, a.p.Pull(t.Context(), b.device()))
			want := union(a.held(), b.held())
			must(t, a.f.Sync(t.Context(), b.device()))
			for _, r := range []*room{a, b} {
				if got := r.held(); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("seed %d: %s holds %v, want %v", seed, r.name, got, want)
				}
			}
		}
		for range 2 {
			for i, a := range rooms {
				b := rooms[(i+1)%3]
				must(t, a.p.Pull(t.Context(), b.device()))
				must(t, a.f.Sync(t.Context(), b.device()))
			}
		}
		equal(t, docs, rooms...)
	}
}

// Chains of several runs, on both sides, in one exchange; a second one brings nothing.
func TestLongChains(t *testing.T) {
	anna := newNode(t, "anna").found()
	berta := anna.join(newNode(t, "berta"))
	berta.meet(anna)
	for i := range 600 {
		anna.write("script", fmt.Sprint(i, " "))
		if i < 300 {
			berta.write("notes", fmt.Sprint(i, " "))
		}
	}
	must(t, anna.p.Pull(t.Context(), berta.device()))
	must(t, berta.f.Sync(t.Context(), anna.device()))
	equal(t, []string{"script", "notes"}, anna, berta)
	if got := len(strings.Fields(berta.text("script"))); got != 600 {
		t.Errorf("berta shows %d of 600 words", got)
	}
	if berta.f.Brought(anna.device()) == 0 || anna.f.Brought(berta.device()) == 0 {
		t.Error("nothing is said to have been brought")
	}
	before := [2]uint64{berta.f.Brought(anna.device()), anna.f.Brought(berta.device())}
	must(t, anna.f.Sync(t.Context(), berta.device()))
	if after := [2]uint64{berta.f.Brought(anna.device()), anna.f.Brought(berta.device())}; after != before {
		t.Errorf("the second exchange brought something: %v after %v", after, before)
	}
}

// An edit above the largest that one run could hold with others, and many of them.
func TestLargeEdits(t *testing.T) {
	anna := newNode(t, "anna").found()
	berta := anna.join(newNode(t, "berta"))
	berta.meet(anna)
	paste := strings.Repeat("x", 3<<20)
	for range 4 {
		anna.write("script", paste)
	}
	must(t, berta.f.Sync(t.Context(), anna.device()))
	if got := len(berta.text("script")); got != 4*len(paste) {
		t.Errorf("%d bytes arrived of %d", got, 4*len(paste))
	}
}

// What of one chain cannot be judged yet keeps neither its beginning nor other chains from coming, in either direction.
func TestRefusedRun(t *testing.T) {
	anna, berta, carl := trio(t)
	for i := range 300 {
		carl.write("notes", fmt.Sprint(i, " "))
	}
	anna.write("script", "anna ")
	berta.write("script", "berta ")
	must(t, anna.p.Pull(t.Context(), carl.device())) // also what opened his chain
	must(t, berta.p.Pull(t.Context(), anna.device()))
	must(t, anna.f.Sync(t.Context(), carl.device()))

	// Governance goes on without berta, and carl writes on top of it.
	anna.host.Disconnect(berta.device())
	carl.host.Disconnect(berta.device())
	_, err := anna.p.CreateInvite(t.Context(), membership.InviteOptions{})
	must(t, err)
	must(t, carl.p.Pull(t.Context(), anna.device()))
	carl.write("notes", "later ")
	must(t, anna.f.Sync(t.Context(), carl.device()))

	berta.connect(anna.node)
	must(t, berta.f.Sync(t.Context(), anna.device()))
	carls := chainOf(t, anna, carl)
	if got := berta.j.HeldTo(carls.Device, carls.ChainNo); got != 256 {
		t.Errorf("berta holds %d envelopes of carl, want the first run, 256", got)
	}
	if got := berta.text("script"); got != anna.text("script") || !strings.Contains(got, "anna") || !strings.Contains(got, "berta") {
		t.Errorf("the other chains did not pass: %q and %q", got, anna.text("script"))
	}
	must(t, berta.p.Pull(t.Context(), anna.device()))
	must(t, berta.f.Sync(t.Context(), anna.device()))
	equal(t, []string{"script", "notes"}, anna, berta)
}

// chainOf returns the chain that holder has of a writer.
func chainOf(t testing.TB, holder, writer *room) chainKey {
	t.Helper()
	for _, h := range holder.j.Frontier() {
		if h.Device == writer.device() {
			return chainKey{Device: h.Device, ChainNo: h.ChainNo}
		}
	}
	t.Fatalf("%s holds no chain of %s", holder.name, writer.name)
	return chainKey{}
}

// A removed member's later envelopes are not asked for again and again.
func TestBeyondTheCut(t *testing.T) {
	anna, berta, carl := trio(t)
	carl.write("notes", "before ")
	must(t, anna.p.Pull(t.Context(), carl.device()))
	must(t, anna.f.Sync(t.Context(), carl.device()))
	must(t, berta.p.Pull(t.Context(), carl.device()))
	carl.write("notes", "after ")
	must(t, berta.f.Sync(t.Context(), carl.device()))
	chain := chainOf(t, anna, carl)
	_, err := anna.p.Remove(t.Context(), membership.Removal{Member: carl.self.Identity.Member(), Cuts: []governance.Cut{
		{Device: chain.Device, ChainNo: chain.ChainNo, Seq: anna.j.HeldTo(chain.Device, chain.ChainNo), Envelope: headOf(anna, chain)},
	}})
	must(t, err)
	must(t, anna.f.Sync(t.Context(), berta.device())) // berta may not know yet
	eventually(t, "berta knows", func() bool { return !berta.f.live(carl.device()) })
	eventually(t, "berta's document follows", func() bool { return berta.text("notes") == "before " })
	must(t, anna.f.Sync(t.Context(), berta.device()))
	equal(t, []string{"notes"}, anna, berta)
	theirs := frontier{Places: []place{{Device: chain.Device, ChainNo: chain.ChainNo, Seq: 1 << 40}}}
	if got := anna.f.lacking(&theirs, nil); len(got) != 0 {
		t.Errorf("anna would ask for what lies beyond the cut: %+v", got)
	}
	if err := anna.f.Sync(t.Context(), carl.device()); !errors.Is(err, ErrRefused) {
		t.Errorf("with a removed member: %v; want ErrRefused", err)
	}
}

func headOf(r *room, chain chainKey) (id [32]byte) {
	for _, h := range r.j.Frontier() {
		if h.Device == chain.Device && h.ChainNo == chain.ChainNo {
			id = h.ID
		}
	}
	return id
}

func TestContexts(t *testing.T) {
	anna := newNode(t, "anna").found()
	berta := anna.join(newNode(t, "berta"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := berta.f.Sync(ended, anna.device()); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	if err := berta.f.Sync(t.Context(), identity.DeviceID{9}); !errors.Is(err, ErrRefused) {
		t.Errorf("with a stranger: %v; want ErrRefused", err)
	}
	anna.f.Close()
	for what, run := range map[string]func(context.Context, identity.DeviceID) error{"sync": berta.f.Sync, "snapshots": berta.f.FetchSnapshots} {
		if err := run(t.Context(), anna.device()); !errors.Is(err, ErrRefused) {
			t.Errorf("%s with a device that has closed the project: %v; want ErrRefused", what, err)
		}
	}
	berta.f.Close()
	berta.f.Close()
	if err := berta.f.Sync(t.Context(), anna.device()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v; want ErrClosed", err)
	}
}
