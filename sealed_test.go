package collab_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/testbed/plaintext"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/keystore/file"
)

// What is known to be in the project of the sealed tests, and must be readable for nobody else.
const (
	sealedTitle  = "The Marzipan Conspiracy"
	sealedDoc    = "Treacherous Lighthouse draft"
	sealedText   = "Persimmon archipelago whispers to the tide."
	sealedNote   = "Gingersnap continuity note"
	sealedState  = "Sassafras cursor colour"
	sealedTopic  = "Rhododendron topic"
	sealedSpoken = "Lapis lazuli at the stroke of nine"
	sealedFolder = "Periwinkle rushes"
	sealedFile   = sealedFolder + "/Dandelion dolly shot.mov"
	sealedFrame  = "Chrysanthemum frame header"
)

var sealedNames = []string{"Wilhelmina Quartermaine", "Bartholomew Oxenstierna", "Cassiopeia Featherstone"}

// recording keeps what passes at one host.
type recording struct {
	mu   sync.Mutex
	seen map[p2p.Layer][]byte
}

func (r *recording) tap(l p2p.Layer, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[p2p.Layer][]byte{}
	}
	r.seen[l] = append(r.seen[l], b...)
}

func (r *recording) of(l p2p.Layer) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.seen[l])
}

// sealedNode is a node on disk whose bytes are recorded.
type sealedNode struct {
	*collab.Node
	dir string
	rec recording
}

func openSealed(t *testing.T, name, address string) *sealedNode {
	t.Helper()
	n := &sealedNode{dir: t.TempDir()}
	keys, err := file.Open(filepath.Join(n.dir, "keys"), func(bool) ([]byte, error) { return []byte("a passphrase for " + name), nil })
	if err != nil {
		t.Fatal(err)
	}
	n.Node, err = collab.Open(t.Context(), collab.WithDir(n.dir), collab.WithKeyStore(keys), collab.WithName(name),
		collab.WithListen(address), collab.WithTap(n.rec.tap))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if err := keys.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// TestScenario105Sealed lets three people work on everything that a project has, over TCP and over QUIC, and looks for what they
// wrote and what they are called in every byte that the network has seen and in every byte that is left on their disks.
func TestScenario105Sealed(t *testing.T) {
	scenario.Run(t, 105, "display names, project title, document, file and member names and all that was written, of a used project: on disk and on the wire in no file, no byte, no encoding", func(t *testing.T) {
		for _, address := range loopback {
			t.Run(filepath.Base(filepath.Dir(address)), func(t *testing.T) {
				cost.ForTests(t)
				var nodes []*sealedNode
				for _, name := range sealedNames {
					nodes = append(nodes, openSealed(t, name, address))
				}
				work(t, nodes)
				for _, n := range nodes {
					if err := n.Close(); err != nil {
						t.Fatal(err)
					}
				}
				content := []string{sealedDoc, sealedText, sealedNote, sealedState, sealedTopic, sealedSpoken, sealedFolder,
					filepath.Base(sealedFile), sealedFrame}
				all := append(slices.Clone(content), sealedTitle)
				all = append(all, sealedNames...)
				outside, within := finder(t, all), finder(t, content)
				for i, n := range nodes {
					for _, h := range outside.Find(n.rec.of(p2p.Wire)) {
						t.Errorf("%s: on the wire: %s", sealedNames[i], h)
					}
					for _, h := range within.Find(n.rec.of(p2p.Inside)) {
						t.Errorf("%s: content within a connection: %s", sealedNames[i], h)
					}
					hits, files, err := outside.FindIn(n.dir)
					if err != nil || files < 3 {
						t.Errorf("%s: %d files read, %v", sealedNames[i], files, err)
					}
					for _, h := range hits {
						t.Errorf("%s: on disk: %s", sealedNames[i], h)
					}
					// Members learn each other's names from certificates that the transport alone protects. That they are seen
					// there shows that the recording and the search would see others.
					if len(finder(t, sealedNames).Find(n.rec.of(p2p.Inside))) == 0 {
						t.Errorf("%s: the recording lacks what certainly passed", sealedNames[i])
					}
					if len(n.rec.of(p2p.Wire)) < len(n.rec.of(p2p.Inside)) {
						t.Errorf("%s: the wire carried less than was sent", sealedNames[i])
					}
				}
			})
		}
	})
}

func finder(t *testing.T, words []string) *plaintext.Finder {
	t.Helper()
	f, err := plaintext.New(words...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// work uses every way in which content leaves a device.
func work(t *testing.T, nodes []*sealedNode) {
	t.Helper()
	host, err := nodes[0].Create(t.Context(), sealedTitle, quickCeremony(t))
	if err != nil {
		t.Fatal(err)
	}
	first := open(t, host, sealedDoc)
	insert(t, first, 0, sealedText) // before the others come: it goes out in a snapshot
	sessions := []*collab.Session{host}
	docs := []*collab.Doc{first}
	for _, n := range nodes[1:] {
		s := join(t, n.Node, invite(t, host, collab.InviteOptions{Uses: 1}))
		sessions, docs = append(sessions, s), append(docs, open(t, s, sealedDoc))
	}
	// Two blocks and a bit of one, every frame of it with a readable header.
	frames := bytes.Repeat(append([]byte(sealedFrame), footage(5, 4<<10)...), 140)
	add(t, host, sealedFile, frames)
	for _, s := range sessions[1:] {
		has(t, s, sealedFile)
		if !bytes.Equal(read(t, s, sealedFile), frames) {
			t.Fatal("the file has other bytes")
		}
	}
	heard := make([]<-chan collab.Message, len(sessions))
	for i, s := range sessions {
		heard[i] = collab.Subscribe[collab.Message](t.Context(), s)
	}
	for _, s := range sessions {
		eventually(t, "everybody is online", func() bool { return s.Status().Peers == 2 && s.Status().Synced })
	}
	for i, d := range docs {
		insert(t, d, 0, sealedText)
		if err := d.Update(func(tx *crdt.Txn) error { return d.Map("notes").Set(tx, sealedNote, i) }); err != nil {
			t.Fatal(err)
		}
		if err := d.Presence().Set(map[string]string{"cursor": sealedState}); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, docs...)
	for _, d := range docs {
		eventually(t, "everybody's presence is seen", func() bool {
			n := 0
			for range d.Presence().Peers() {
				n++
			}
			return n >= 2
		})
	}
	if err := sessions[1].Broadcast(t.Context(), sealedTopic, []byte(sealedSpoken)); err != nil {
		t.Fatal(err)
	}
	for i := range heard {
		if i == 1 {
			continue
		}
		if m := <-heard[i]; string(m.Payload) != sealedSpoken {
			t.Fatalf("heard %q", m.Payload)
		}
	}
	for _, d := range docs {
		if err := d.WaitSaved(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
