package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/studio-whip/collab"
)

const (
	footagePath = "footage/scene 1, take 3.mov"
	footageSize = 32 << 20
)

// shoot lets Ada add a file while Cleo is away, and waits until Ben has it too.
func (st *story) shoot(ctx context.Context) error {
	began := time.Now()
	sum := sha256.New()
	film := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{3}), footageSize), sum)
	if _, err := st.adaAt.Assets().Add(ctx, footagePath, film); err != nil {
		return err
	}
	st.footage = hex.EncodeToString(sum.Sum(nil))
	added := since(began)
	began = time.Now()
	err := waitFor(ctx, "Ben has the footage", 60*time.Second, func() bool {
		info, err := st.benAt.Assets().Stat(footagePath)
		return err == nil && info.Local
	})
	if err != nil {
		return err
	}
	st.say("Ada added %s, %d MiB (%s); Ben has it in the background (%s)", footagePath, footageSize>>20, added, since(began))
	return nil
}

// minShare is what each of two who have a file must have given of it.
const minShare = 0.25

// screening lets Cleo, who was away, watch the file: it comes from Ada and from Ben at once.
func (st *story) screening(ctx context.Context) error {
	r, err := st.cleo.ask(order{Do: "watch", Path: footagePath})
	if err != nil {
		return err
	}
	if r.Digest != st.footage {
		return errors.New("the third person has seen other bytes than the first has added")
	}
	st.say("Cleo has watched the footage to its end %s after her process was started again; SHA-256 right", since(st.cleoBack))
	for _, who := range []string{"Ada", "Ben"} {
		share := float64(r.From[who]) / footageSize
		fmt.Printf("%12sfrom %-4s %10d bytes, %2.0f %%\n", "", who, r.From[who], 100*share)
		if share <= minShare {
			return fmt.Errorf("%s gave only %.0f %% of the footage; expected more than %.0f %%", who, 100*share, 100*minShare)
		}
	}
	return nil
}

// watch reads a file from beginning to end and says who has sent it.
func (m *memberProcess) watch(ctx context.Context, path string) (report, error) {
	err := waitFor(ctx, "the footage is known", 30*time.Second, func() bool {
		_, err := m.session.Assets().Stat(path)
		return err == nil
	})
	if err != nil {
		return report{}, err
	}
	f, err := m.session.Assets().Open(ctx, path)
	if err != nil {
		return report{}, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return report{}, err
	}
	r := report{Digest: hex.EncodeToString(sum.Sum(nil)), From: map[string]int64{}}
	names := map[collab.MemberID]string{}
	for member := range m.session.Members() {
		names[member.ID] = member.Name
	}
	for who, n := range f.Progress().From {
		r.From[names[who]] += n
	}
	return r, nil
}
