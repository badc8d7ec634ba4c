//go:build piv

package yubikey

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/studio-whip/collab/internal/testbed/pivcard"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/keystoretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	pin = "271828"
	puk = "31415926"
)

// owned is a card whose owner has set PIN and PUK.
func owned(serial uint32) *pivcard.Card {
	c := pivcard.New(serial)
	c.Personalize(pin, puk)
	return c
}

// start starts a card reader daemon.
func start(t *testing.T) *pivcard.Bench {
	t.Helper()
	pivcard.Need(t)
	return pivcard.Start(t, "Yubico YubiKey collab test")
}

func typed(pin string) keystore.Prompt {
	return keystore.Prompt{PIN: func(context.Context, keystore.PINRequest) ([]byte, error) { return []byte(pin), nil }}
}

// appear waits until the daemon has noticed a card, and returns its token.
func appear(t *testing.T, serial uint32) keystore.Token {
	t.Helper()
	tok := &token{serial}
	eventually(t, func() error {
		_, err := tok.Info(t.Context())
		return err
	})
	return tok
}

// eventually waits until try no longer says that there is no token.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(30 * time.Second); ; {
		err := try()
		if !errors.Is(err, keystore.ErrNoToken) {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatal(err)
		}
	}
}

func TestRealConformance(t *testing.T) {
	b, serial := start(t), uint32(100)
	keystoretest.RunToken(t, func(t *testing.T) *keystoretest.Bench {
		serial++
		card := owned(serial)
		reader := int(serial) % pivcard.Readers
		b.Remove(t, reader)
		b.Insert(t, reader, card)
		return &keystoretest.Bench{
			Token: appear(t, serial), PIN: pin, Unblock: card.Unblock, OnTouch: card.OnTouch,
			Unplug:  func() { b.Remove(t, reader) },
			Plug:    func() { b.Insert(t, reader, card); appear(t, serial) },
			Replace: func() { card.SetManagementKey(bytes.Repeat([]byte{7}, 24)) },
		}
	})
}
