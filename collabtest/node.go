package collabtest

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/keystore/memory"
)

// Node is a device on a simulated network. The embedded node is what collab.Open gave; [Node.Start] replaces it. Methods
// fail the test instead of returning an error, and must be called from the test's own goroutine.
type Node struct {
	*collab.Node

	net     *Network
	name    string
	opts    []collab.Option
	machine *machine
	keys    collab.KeyStore
	dir     string
	life    int // counts folders
}

// port is where every node listens.
const port = 4001

// Node adds a running node with a new identity of that name. It keeps its state in a folder under t.TempDir and its
// key in memory; opts may add what the test needs, such as collab.WithJoinPolicy or collab.WithLogger.
func (n *Network) Node(name string, opts ...collab.Option) *Node {
	n.t.Helper()
	n.mu.Lock()
	node := &Node{net: n, name: name, opts: opts, machine: n.addMachine(), keys: memory.New()}
	node.dir = node.folder()
	n.nodes = append(n.nodes, node)
	n.mu.Unlock()
	node.Start()
	return node
}

// folder names the folder of the present life.
func (n *Node) folder() string {
	return filepath.Join(n.net.dir, fmt.Sprintf("%s-%d", n.machine.ip, n.life))
}

// Start opens a node that was stopped or killed, with the state that it left, at the same address. Sessions have to be
// opened again: [Node.Reopen].
func (n *Node) Start() {
	n.net.t.Helper()
	n.net.mu.Lock()
	n.machine.off = false
	n.net.mu.Unlock()
	opts := append([]collab.Option{
		collab.WithDir(n.dir), collab.WithKeyStore(n.keys), collab.WithName(n.name), collab.WithNetwork(n.machine),
		collab.WithListen(fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", n.machine.ip, port)),
	}, n.opts...)
	node, err := collab.Open(n.net.t.Context(), opts...)
	if err != nil {
		n.net.t.Fatalf("collabtest: start %s: %v", n.name, err)
	}
	n.Node = node
}

// Stop closes the node as a program that ends in order does.
func (n *Node) Stop() {
	n.net.t.Helper()
	if err := n.Close(); err != nil {
		n.net.t.Fatalf("collabtest: stop %s: %v", n.name, err)
	}
}

// Restart stops the node and starts it again.
func (n *Node) Restart() {
	n.net.t.Helper()
	n.Stop()
	n.Start()
}

// Kill ends the node as kill -9 ends a process: nothing more is sent, and what [Node.Start] finds is what the files
// held at this moment. For that they are copied; what still runs is then closed, cut off from the network, and its files
// removed. Unlike a power cut it does not undo what the operating system has taken and the disk has not.
func (n *Node) Kill() {
	n.net.t.Helper()
	n.net.mu.Lock()
	n.machine.off = true
	n.net.mu.Unlock()
	files, err := snapshot(n.dir)
	if err != nil {
		n.net.t.Fatalf("collabtest: kill %s: %v", n.name, err)
	}
	n.Stop()
	old := n.dir
	n.life++
	n.dir = n.folder()
	if err := files.write(n.dir); err != nil {
		n.net.t.Fatalf("collabtest: kill %s: %v", n.name, err)
	}
	if err := os.RemoveAll(old); err != nil {
		n.net.t.Fatalf("collabtest: kill %s: %v", n.name, err)
	}
}

// Firewall says whether the node is behind a firewall that drops what comes in unasked: from where the node has sent
// nothing in the last two minutes. Two nodes behind firewalls reach each other only if both dial at the same time.
func (n *Node) Firewall(on bool) {
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	n.machine.firewall = on
}

// Create founds a project and opens it. Two custodians in memory keep its shares.
func (n *Node) Create(name string) *collab.Session {
	n.net.t.Helper()
	s, err := n.Node.Create(n.net.t.Context(), name, collab.Ceremony{Threshold: 2, Custodians: []collab.Custodian{
		collab.KeyStoreCustodian(memory.New()), collab.KeyStoreCustodian(memory.New()),
	}})
	if err != nil {
		n.net.t.Fatalf("collabtest: %s creates %q: %v", n.name, name, err)
	}
	return s
}

// Join makes the node a member of s's project, an editor: s invites, the node joins. For other invites use
// [collab.Session.Invite] and the Join of the embedded node.
func (n *Node) Join(s *collab.Session) *collab.Session {
	n.net.t.Helper()
	code, err := s.Invite(n.net.t.Context(), collab.InviteOptions{})
	if err != nil {
		n.net.t.Fatalf("collabtest: invite %s: %v", n.name, err)
	}
	joined, err := n.Node.Join(n.net.t.Context(), code)
	if err != nil {
		n.net.t.Fatalf("collabtest: %s joins: %v", n.name, err)
	}
	return joined
}

// Reopen opens a project that the node has on its disk.
func (n *Node) Reopen(id collab.ProjectID) *collab.Session {
	n.net.t.Helper()
	s, err := n.OpenProject(n.net.t.Context(), id)
	if err != nil {
		n.net.t.Fatalf("collabtest: %s opens the project: %v", n.name, err)
	}
	return s
}

// end closes the node with the test.
func (n *Node) end() {
	if n.Node == nil {
		return // it never started
	}
	if err := n.Close(); err != nil {
		n.net.t.Errorf("collabtest: close %s: %v", n.name, err)
	}
}
