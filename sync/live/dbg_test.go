package live
import ("testing";"time";"os";"log/slog";"github.com/studio-whip/collab/governance")
func TestDbg(t *testing.T) {
	f, _ := os.Create("/tmp/live.dbg"); lg := slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
	dbgLog = lg
	ada, ben := newNode(t, "Ada"), newNode(t, "Ben")
	a := ada.found(newWorld())
	b := ben.join(a, governance.Editor)
	settle(t, a, b)
	lg.Info("=== disconnect")
	ben.host.Disconnect(ada.who.dev.ID)
	eventually(t, "Ada hears that Ben has gone", func() bool { return !ada.subscribed(a.name, ben) })
	a.insert("script", "alone")
	lg.Info("=== connect")
	ben.connect(ada)
	lg.Info("=== connected")
	before := b.asked()
	dl := time.Now().Add(4*time.Second)
	for b.asked() == before {
		if time.Now().After(dl) {
			t.Log("ada subs ben", ada.subscribed(a.name, ben), "ben subs ada", ben.subscribed(a.name, ada), b.journal.HeldTo(ada.who.dev.ID,0), a.journal.HeldTo(ada.who.dev.ID,0))
			for _, n := range []*node{ada, ben} {
				t.Log(n.who.name, n.who.peer(), len(n.gossip.host.streams), n.host.Connected())
				for _, c := range n.gossip.host.Network().Conns() { t.Log(c.ID(), c.RemoteMultiaddr(), len(c.GetStreams())); for _, s := range c.GetStreams() { t.Log("    ", s.Protocol(), s.Stat().Direction) } }
			}
			t.Log(a.progress.heads(ada.who.dev.ID))
			os.Rename("/tmp/live.dbg", "/tmp/live.fail")
			t.FailNow()
		}
		time.Sleep(2*time.Millisecond)
	}
}
