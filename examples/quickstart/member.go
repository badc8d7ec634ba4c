package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/keystore/file"
)

// order is what the parent process asks of the third person's, one JSON object a line.
type order struct {
	Do         string // join, open, type, trace, digest, watch, removed, read, close
	Dir        string
	Passphrase string
	Code       string  // join
	Project    string  // open
	From       int     // type: the first action that is not done yet
	Until      int     // type: the first action to leave for later; 0 means none
	Patches    []patch // trace
	Sealed     []byte  // read: a recorded envelope
	Path       string  // watch
	Name       string
}

// report is what the third person's process answers, one JSON object a line.
type report struct {
	Did     string
	Project string
	Member  string
	Digest  string
	Text    int              // length in UTF-16 code units
	Done    int              // type: how many actions are done
	From    map[string]int64 // watch: bytes, by the name of who sent them
	Opened  bool             // read: the envelope could be opened,
	Refused string           // or why not
	Err     string
}

// member is the third person: a process of its own, told what to do on in and answering on out.
func member(ctx context.Context, in io.Reader, out io.Writer) error {
	m := &memberProcess{out: json.NewEncoder(out)}
	defer m.close()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		r, err := m.obey(ctx, o)
		r.Did = o.Do
		if err != nil {
			r.Err = err.Error()
		}
		if err := m.out.Encode(r); err != nil {
			return err
		}
		if o.Do == "close" {
			return nil
		}
	}
	return lines.Err()
}

type memberProcess struct {
	out     *json.Encoder
	node    *collab.Node
	session *collab.Session
	doc     *collab.Doc
}

func (m *memberProcess) close() {
	if m.node != nil {
		_ = m.node.Close()
	}
}

func (m *memberProcess) obey(ctx context.Context, o order) (report, error) {
	switch o.Do {
	case "join", "open":
		return m.start(ctx, o)
	}
	if m.doc == nil {
		return report{}, errors.New("nothing is open; join or open first")
	}
	switch o.Do {
	case "type":
		return m.write(ctx, o)
	case "trace":
		if err := applyPatches(m.doc, o.Patches); err != nil {
			return report{}, err
		}
		return m.state(), m.doc.WaitSaved(ctx)
	case "digest":
		return m.state(), nil
	case "watch":
		return m.watch(ctx, o.Path)
	case "removed":
		return m.awaitRemoval(ctx)
	case "read":
		return m.read(o.Sealed)
	case "close":
		err := m.node.Close()
		m.node = nil
		return report{}, err
	}
	return report{}, fmt.Errorf("cannot %q", o.Do)
}

// start opens the node and the project, by its code the first time.
func (m *memberProcess) start(ctx context.Context, o order) (report, error) {
	node, err := openNode(ctx, o.Dir, o.Name, o.Passphrase)
	if err != nil {
		return report{}, err
	}
	m.node = node
	if o.Do == "join" {
		m.session, err = node.Join(ctx, o.Code)
	} else {
		m.session, err = reopen(ctx, node, o.Project)
	}
	if err != nil {
		return report{}, err
	}
	if m.doc, err = m.session.Doc(ctx, "script"); err != nil {
		return report{}, err
	}
	if err := m.doc.Presence().Set(presence{Name: o.Name, Colour: "#c2185b"}); err != nil {
		return report{}, err
	}
	return m.state(), nil
}

// write plays a stretch of the person's part, and reports after each action how many are done and saved.
func (m *memberProcess) write(ctx context.Context, o order) (report, error) {
	who := o.Name
	sc, err := parseScene(sceneText)
	if err != nil {
		return report{}, err
	}
	t := newTypist(m.doc, who)
	if o.From > 0 {
		if err := t.takeBackUnfinishedLine(partEnds[who]); err != nil {
			return report{}, err
		}
	}
	actions := sc.parts[who]
	until := len(actions)
	if o.Until > 0 {
		until = min(until, o.Until)
	}
	for i := o.From; i < until; i++ {
		if err := t.do(actions[i], partEnds[who], ctx.Done()); err != nil {
			return report{}, err
		}
		if err := m.doc.WaitSaved(ctx); err != nil {
			return report{}, err
		}
		if err := m.out.Encode(report{Did: "action", Done: i + 1}); err != nil {
			return report{}, err
		}
	}
	r := m.state()
	r.Done = until
	return r, nil
}

func (m *memberProcess) state() report {
	digest := m.doc.Digest()
	r := report{
		Project: m.session.ID().String(),
		Member:  m.session.Me().ID.String(),
		Digest:  hex.EncodeToString(digest[:]),
	}
	_ = m.doc.View(func(tx *crdt.ReadTxn) error {
		r.Text = m.doc.Text("script").Len(tx)
		return nil
	})
	return r
}

// presence is what the quickstart tells the others about a person.
type presence struct {
	Name   string `json:"name"`
	Colour string `json:"colour"`
}

// openNode opens one person's node: own directory, own key store under an own passphrase, loopback only.
func openNode(ctx context.Context, dir, name, passphrase string) (*collab.Node, error) {
	keys, err := file.Open(dir+"/keys", func(bool) ([]byte, error) { return []byte(passphrase), nil })
	if err != nil {
		return nil, err
	}
	return collab.Open(ctx,
		collab.WithDir(dir+"/state"),
		collab.WithName(strings.ToUpper(name[:1])+name[1:]),
		collab.WithKeyStore(keys),
		collab.WithListen("/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"))
}

// reopen opens the project with this identifier among those of the device.
func reopen(ctx context.Context, node *collab.Node, project string) (*collab.Session, error) {
	for p := range node.Projects() {
		if p.ID.String() == project {
			return node.OpenProject(ctx, p.ID)
		}
	}
	return nil, errors.New("the project is not on this device any more")
}

// waitFor polls until ok holds; what polls here in a demonstration, a user interface learns from events.
func waitFor(ctx context.Context, what string, limit time.Duration, ok func() bool) error {
	late := time.After(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return fmt.Errorf("waited %s in vain until %s", limit, what)
		}
	}
	return nil
}
