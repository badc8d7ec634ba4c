package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/studio-whip/collab"
)

// removal lets Ada remove Cleo, and has Cleo's own process, with her keys and her store, try to open what is written
// afterwards.
func (st *story) removal(ctx context.Context) error {
	before, err := lastEdit(st.adaDoc)
	if err != nil {
		return err
	}
	cleo, err := memberID(st.adaAt, st.cleoID)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := st.adaAt.Revoke(ctx, cleo, "left the production"); err != nil {
		return err
	}
	if _, err := st.cleo.ask(order{Do: "removed"}); err != nil {
		return err
	}
	err = waitFor(ctx, "Ben has heard of the removal", 20*time.Second, func() bool {
		return online(st.benAt) == 1 && online(st.adaAt) == 1
	})
	if err != nil {
		return err
	}
	st.say("Ada removed Cleo: a new project key, all connections closed; her session ended by itself (%s)", since(began))

	ada := newTypist(st.adaDoc, "ada")
	if err := ada.typeLine("(Cleo has left. Nothing from here on is for her.)", partEnds["ada"], ctx.Done()); err != nil {
		return err
	}
	if err := st.adaDoc.WaitSaved(ctx); err != nil {
		return err
	}
	err = waitFor(ctx, "Ben holds what Ada wrote", 20*time.Second, func() bool { return st.adaDoc.Digest() == st.benDoc.Digest() })
	if err != nil {
		return err
	}
	after, err := lastEdit(st.adaDoc)
	if err != nil {
		return err
	}
	if r, err := st.cleo.ask(order{Do: "read", Sealed: before.Sealed}); err != nil || !r.Opened {
		return errors.Join(errors.New("the removed cannot open even what was written before "+r.Refused), err)
	}
	r, err := st.cleo.ask(order{Do: "read", Sealed: after.Sealed})
	switch {
	case err != nil:
		return err
	case r.Opened:
		return errors.New("the removed has opened an envelope that was written after the removal")
	}
	if read, err := st.benAt.ReadEdit(after.Sealed); err != nil || read.By != st.adaAt.Me().ID {
		return errors.Join(errors.New("another member cannot open it either"), err)
	}
	st.say("an envelope from before opens in her process, %d recorded bytes from after do not: %s", len(after.Sealed), r.Refused)
	return nil
}

// lastEdit returns the newest edit of a document.
func lastEdit(doc *collab.Doc) (last collab.Edit, err error) {
	for e, err := range doc.History() {
		if err != nil {
			return last, err
		}
		last = e
	}
	if len(last.Sealed) == 0 {
		return last, errors.New("the document has no history")
	}
	return last, nil
}

// memberID finds a member by the printed form of the identifier.
func memberID(s *collab.Session, printed string) (collab.MemberID, error) {
	for m := range s.Members() {
		if m.ID.String() == printed {
			return m.ID, nil
		}
	}
	return collab.MemberID{}, errors.New("the third person is not among the members")
}

// awaitRemoval waits until this person's session has ended because they were removed.
func (m *memberProcess) awaitRemoval(ctx context.Context) (report, error) {
	select {
	case <-m.session.Done():
	case <-time.After(20 * time.Second):
		return report{}, errors.New("the session has not ended")
	case <-ctx.Done():
		return report{}, ctx.Err()
	}
	if err := m.session.Err(); !errors.Is(err, collab.ErrRevoked) {
		return report{}, fmt.Errorf("the session ended with %w", err)
	}
	return m.state(), nil
}

// read tries to open a recorded envelope with this person's own keys.
func (m *memberProcess) read(sealed []byte) (report, error) {
	_, err := m.session.ReadEdit(sealed)
	switch {
	case err == nil:
		return report{Opened: true}, nil
	case errors.Is(err, collab.ErrNoKey):
		return report{Refused: err.Error()}, nil
	}
	return report{}, err
}
