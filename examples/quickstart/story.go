package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/keystore/file"
)

// story is the demonstration: Ada and Ben are nodes of this process, Cleo is a process of her own. They share no
// object but the network.
type story struct {
	dir   string
	began time.Time

	ada, ben        *collab.Node
	adaAt, benAt    *collab.Session
	adaDoc, benDoc  *collab.Doc
	cleo            *process
	cleoPass        string
	project, cleoID string
	custodians      []collab.Custodian
	rec             *recording
	scene           scene
	footage         string    // SHA-256 in hex
	cleoBack        time.Time // when her process was started again
}

// demo tells the story; any error ends it.
func demo(ctx context.Context, tracePath string) (err error) {
	dir, err := os.MkdirTemp("", "collab-quickstart-")
	if err != nil {
		return err
	}
	st := &story{dir: dir, began: time.Now()}
	defer func() { // nothing is left behind, whatever happened
		st.cleanUp()
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	if st.scene, err = parseScene(sceneText); err != nil {
		return err
	}
	if tracePath != "" {
		rec, err := loadRecording(tracePath)
		if err != nil {
			return err
		}
		st.rec = &rec
	}
	steps := []func(context.Context) error{
		st.ceremony, st.joinAll, st.introductions, st.typeTogether, st.showPresence,
		st.crash, st.shares, st.removal, st.audit,
	}
	if st.rec != nil {
		steps = []func(context.Context) error{
			st.ceremony, st.joinAll, st.introductions, st.replay, st.showPresence, st.shares, st.audit,
		}
	}
	for _, step := range steps {
		if err := errors.Join(step(ctx), ctx.Err()); err != nil {
			return err
		}
	}
	if err := st.end(); err != nil {
		return err
	}
	fmt.Println("ok")
	return nil
}

func (st *story) say(format string, args ...any) {
	fmt.Printf("%7.2fs  %s\n", time.Since(st.began).Seconds(), fmt.Sprintf(format, args...))
}

// ceremony founds the project: the root key exists once, is split over three factors, 2 of which rebuild it.
func (st *story) ceremony(ctx context.Context) (err error) {
	began := time.Now()
	if st.ada, err = openNode(ctx, filepath.Join(st.dir, "ada"), "ada", rand.Text()); err != nil {
		return err
	}
	st.say("Ada's node is up: identity made, keys sealed (%s)", since(began))

	shareStore, err := file.Open(filepath.Join(st.dir, "ada", "shares"), func(bool) ([]byte, error) { return []byte("a second key store of hers"), nil })
	if err != nil {
		return err
	}
	var phrase string
	ask := func(_ context.Context, generated string) (string, error) {
		if generated != "" {
			phrase = generated // a person copies it on paper and types it back
		}
		return phrase, nil
	}
	st.custodians = []collab.Custodian{
		collab.FileCustodian(filepath.Join(st.dir, "usb-stick", "share")),
		collab.KeyStoreCustodian(shareStore),
		collab.PhraseCustodian(ask, filepath.Join(st.dir, "usb-stick-2", "recovery")),
	}
	for _, medium := range []string{"usb-stick", "usb-stick-2"} {
		if err := os.Mkdir(filepath.Join(st.dir, medium), 0o700); err != nil {
			return err
		}
	}
	began = time.Now()
	st.adaAt, err = st.ada.Create(ctx, "The Last Reel", collab.Ceremony{Threshold: 2, Custodians: st.custodians})
	if err != nil {
		return err
	}
	st.project = st.adaAt.ID().String()
	st.say("ceremony: root key split 2 of 3 over %s, project %s founded (%s)", labels(st.custodians), st.project[:8], since(began))
	if st.adaDoc, err = st.adaAt.Doc(ctx, "script"); err != nil {
		return err
	}
	return st.adaDoc.Presence().Set(presence{Name: "ada", Colour: "#1565c0"})
}

// joinAll lets Ben join in this process and Cleo in her own.
func (st *story) joinAll(ctx context.Context) (err error) {
	code, err := st.adaAt.Invite(ctx, collab.InviteOptions{})
	if err != nil {
		return err
	}
	st.say("invite for Ben: a code of %d characters, one use, 72 h: %s…", len(code), code[:24])
	if st.ben, err = openNode(ctx, filepath.Join(st.dir, "ben"), "ben", rand.Text()); err != nil {
		return err
	}
	began := time.Now()
	if st.benAt, err = st.ben.Join(ctx, code); err != nil {
		return err
	}
	st.say("Ben joined (%s): connection, handshake, admission, first snapshot", since(began))
	if st.benDoc, err = st.benAt.Doc(ctx, "script"); err != nil {
		return err
	}
	if err := st.benDoc.Presence().Set(presence{Name: "ben", Colour: "#2e7d32"}); err != nil {
		return err
	}

	if code, err = st.adaAt.Invite(ctx, collab.InviteOptions{}); err != nil {
		return err
	}
	if st.cleo, err = startProcess(ctx); err != nil {
		return err
	}
	st.cleoPass = rand.Text()
	began = time.Now()
	r, err := st.cleo.ask(order{Do: "join", Dir: filepath.Join(st.dir, "cleo"), Name: "cleo", Passphrase: st.cleoPass, Code: code})
	if err != nil {
		return err
	}
	st.cleoID = r.Member
	st.say("Cleo joined from process %d (%s, key stretching included)", st.cleo.cmd.Process.Pid, since(began))
	return nil
}

// introductions waits until everybody knows everybody.
func (st *story) introductions(ctx context.Context) error {
	began := time.Now()
	err := waitFor(ctx, "everybody is introduced to everybody", 20*time.Second, func() bool {
		return online(st.adaAt) == 2 && online(st.benAt) == 2
	})
	if err != nil {
		return err
	}
	st.say("introductions: everybody sees everybody (%s)", since(began))
	for m := range st.adaAt.Members() {
		fmt.Printf("%12s%-5s %-8s %s\n", "", m.Name, m.Role, m.Fingerprint)
	}
	return nil
}

// typeTogether lets all three type at once until all are done.
func (st *story) typeTogether(ctx context.Context) error {
	ada := newTypist(st.adaDoc, "ada")
	if err := ada.play(st.scene.opening, "", ctx.Done()); err != nil {
		return err
	}
	if err := st.allEqual(ctx); err != nil {
		return err
	}
	st.say("Ada typed the headings; all three hold them")

	began := time.Now()
	ben := newTypist(st.benDoc, "ben")
	done := make(chan error, 2)
	go func() { done <- ada.play(st.scene.parts["ada"], partEnds["ada"], ctx.Done()) }()
	go func() { done <- ben.play(st.scene.parts["ben"], partEnds["ben"], ctx.Done()) }()
	half := len(st.scene.parts["cleo"]) / 2 // the other half is for later
	if err := st.cleo.tell(order{Do: "type", Name: "cleo", Until: half}); err != nil {
		return err
	}
	for range 2 {
		if err := <-done; err != nil {
			return err
		}
	}
	if _, err := st.cleo.await("type"); err != nil {
		return err
	}
	st.say("all three typed at once: %d and %d keystrokes, and %d lines of hers (%s)",
		ada.keys, ben.keys, half, since(began))
	began = time.Now()
	if err := st.allEqual(ctx); err != nil {
		return err
	}
	st.say("all digests equal %s after the last key: %s", since(began), st.digest())
	return nil
}

// replay splits a recorded session over the three: each goes on where the one before has stopped.
func (st *story) replay(ctx context.Context) error {
	began := time.Now()
	third := (len(st.rec.Patches) + 2) / 3
	st.say("replaying %d edits, a third each", len(st.rec.Patches))
	parts := [3][]patch{}
	for i := range parts {
		parts[i] = st.rec.Patches[min(i*third, len(st.rec.Patches)):min((i+1)*third, len(st.rec.Patches))]
	}
	for i, part := range parts {
		var err error
		switch i {
		case 0:
			err = errors.Join(applyPatches(st.adaDoc, part), st.adaDoc.WaitSaved(ctx))
		case 1:
			err = errors.Join(applyPatches(st.benDoc, part), st.benDoc.WaitSaved(ctx))
		default:
			_, err = st.cleo.ask(order{Do: "trace", Patches: part})
		}
		if err != nil {
			return err
		}
		if err := st.allEqual(ctx); err != nil {
			return err
		}
		st.say("part %d replayed and everywhere (%s since the first edit)", i+1, since(began))
	}
	if err := st.rec.checkEnd(st.adaDoc); err != nil {
		return err
	}
	st.say("the final text is the recording's")
	return nil
}

// showPresence prints who is here.
func (st *story) showPresence(ctx context.Context) error {
	var here []string
	err := waitFor(ctx, "the others are present", 20*time.Second, func() bool {
		here = here[:0]
		for p := range st.adaDoc.Presence().Peers() {
			var state presence
			if json.Unmarshal(p.State, &state) == nil {
				here = append(here, state.Name)
			}
		}
		return len(here) == 2
	})
	if err != nil {
		return err
	}
	st.say("presence: Ada sees %s here", strings.Join(here, " and "))
	return nil
}

// crash kills Cleo's process in the middle of her typing, and starts it again.
func (st *story) crash(ctx context.Context) error {
	half := len(st.scene.parts["cleo"]) / 2
	if err := st.cleo.tell(order{Do: "type", Name: "cleo", From: half}); err != nil {
		return err
	}
	saved := half
	for saved < half+2 {
		r, err := st.cleo.await("action")
		if err != nil {
			return err
		}
		saved = r.Done
	}
	time.Sleep(40 * time.Millisecond) // into the next line
	if err := st.cleo.kill(); err != nil {
		return err
	}
	st.say("Cleo's process was killed in the middle of a line, %d actions saved", saved)
	ada := newTypist(st.adaDoc, "ada")
	if err := ada.typeLine("(Cleo's machine has died; Ada types on.)", partEnds["ada"], ctx.Done()); err != nil {
		return err
	}
	if err := st.shoot(ctx); err != nil {
		return err
	}

	began := time.Now()
	cleo, err := startProcess(ctx)
	if err != nil {
		return err
	}
	st.cleo = cleo
	st.cleoBack = time.Now()
	r, err := st.cleo.ask(order{Do: "open", Dir: filepath.Join(st.dir, "cleo"), Name: "cleo", Passphrase: st.cleoPass, Project: st.project})
	if err != nil {
		return err
	}
	if r.Member != st.cleoID {
		return errors.New("the third person came back as somebody else")
	}
	if err := st.allEqual(ctx); err != nil {
		return err
	}
	st.say("Cleo is back and has caught up (%s, key stretching included)", since(began))
	if err := st.screening(ctx); err != nil {
		return err
	}
	if _, err := st.cleo.ask(order{Do: "type", Name: "cleo", From: saved}); err != nil {
		return err
	}
	if err := st.allEqual(ctx); err != nil {
		return err
	}
	st.say("she finished; all digests equal again: %s", st.digest())
	return nil
}

// shares rebuilds the root key from each pair of custodians, and fails to from each one alone.
func (st *story) shares(ctx context.Context) error {
	began := time.Now()
	use := func(from ...collab.Custodian) error {
		return st.adaAt.Authorize(ctx, from, func(*collab.Authority) error { return nil })
	}
	for i := range st.custodians {
		for j := i + 1; j < len(st.custodians); j++ {
			if err := use(st.custodians[i], st.custodians[j]); err != nil {
				return fmt.Errorf("shares %d and %d: %w", i+1, j+1, err)
			}
		}
	}
	for i, c := range st.custodians {
		var quorum *collab.QuorumError
		if err := use(c); !errors.As(err, &quorum) || quorum.Have != 1 || quorum.Need != 2 {
			return fmt.Errorf("share %d alone gave %w, not a missing quorum", i+1, err)
		}
	}
	st.say("shares: all three pairs rebuild the root key, no single one does (%s)", since(began))
	return nil
}

// audit prints the signed history.
func (st *story) audit(context.Context) error {
	st.say("audit log, every entry signed by its author with ML-DSA-65 and Ed25519:")
	n, removed := 0, false
	for e, err := range st.benAt.Audit(collab.EventID{}) {
		if err != nil {
			return err
		}
		removed = removed || e.By == st.adaAt.Me().ID && strings.Contains(e.Summary, "removed Cleo")
		if !e.Counts {
			return fmt.Errorf("event %s does not count", e.ID)
		}
		fmt.Printf("%12s%s  %s\n", "", e.ID.String()[:8], e.Summary)
		n++
	}
	if n < 5 {
		return fmt.Errorf("only %d events in the audit log", n)
	}
	if !removed && st.rec == nil {
		return errors.New("the audit log does not say who removed Cleo")
	}
	return nil
}

// end closes everything in order; a failure to close is a failure of the demonstration.
func (st *story) end() error {
	err := errors.Join(st.cleo.close(), st.ben.Close(), st.ada.Close())
	st.cleo, st.ben, st.ada = nil, nil, nil
	return err
}

// cleanUp ends what an error left running.
func (st *story) cleanUp() {
	if st.cleo != nil {
		_ = st.cleo.kill()
	}
	for _, n := range []*collab.Node{st.ben, st.ada} {
		if n != nil {
			_ = n.Close()
		}
	}
}

// allEqual waits until Ada, Ben and Cleo hold equal documents.
func (st *story) allEqual(ctx context.Context) error {
	var last string
	err := waitFor(ctx, "all digests are equal", 60*time.Second, func() bool {
		r, err := st.cleo.ask(order{Do: "digest"})
		if err != nil {
			last = err.Error()
			return false
		}
		a, b := st.adaDoc.Digest(), st.benDoc.Digest()
		last = fmt.Sprintf("ada %x %d, ben %x %d, cleo %.8s %d", a[:4], length(st.adaDoc), b[:4], length(st.benDoc), r.Digest, r.Text)
		return a == b && hex.EncodeToString(a[:]) == r.Digest && r.Text > 0
	})
	if err != nil {
		return fmt.Errorf("%w (%s)", err, last)
	}
	return nil
}

func (st *story) digest() string {
	d := st.adaDoc.Digest()
	return fmt.Sprintf("%x… over %d UTF-16 units", d[:8], length(st.adaDoc))
}

func length(doc *collab.Doc) (n int) {
	_ = doc.View(func(tx *crdt.ReadTxn) error { n = doc.Text("script").Len(tx); return nil })
	return n
}

// online counts the other members who are connected.
func online(s *collab.Session) (n int) {
	for m := range s.Members() {
		if m.Online && m.ID != s.Me().ID {
			n++
		}
	}
	return n
}

func labels(cs []collab.Custodian) string {
	var out []string
	for _, c := range cs {
		out = append(out, c.Label())
	}
	return strings.Join(out, ", ")
}

func since(t time.Time) string {
	d := time.Since(t)
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
