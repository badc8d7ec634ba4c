//go:build piv

package yubikey

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-piv/piv-go/v2/piv"

	"github.com/studio-whip/collab/internal/testbed/pivcard"
	"github.com/studio-whip/collab/keystore"
)

const (
	objectKey = "\x5f\xc1\x0b" // certificate of slot 9d
	objectTop = "\x5f\xc1\x20" // of slot 95
)

// inserted puts a card into the first reader of a daemon and returns its token.
func inserted(t *testing.T, b *pivcard.Bench, card *pivcard.Card, serial uint32) keystore.Token {
	t.Helper()
	b.Remove(t, 0)
	b.Insert(t, 0, card)
	return appear(t, serial)
}

func TestRealList(t *testing.T) {
	b := start(t)
	if tokens, err := (Reader{}).Tokens(t.Context()); err != nil || len(tokens) != 0 {
		t.Errorf("empty readers: %d tokens, %v", len(tokens), err)
	}
	for i := range pivcard.Readers {
		b.Insert(t, i, owned(uint32(10+i)))
		appear(t, uint32(10+i))
	}
	tokens, err := Reader{}.Tokens(t.Context())
	if err != nil || len(tokens) != 2 {
		t.Fatalf("two cards: %d tokens, %v", len(tokens), err)
	}
	for i, tok := range tokens {
		info, err := tok.Info(t.Context())
		if err != nil || info.Serial != fmt.Sprint(10+i) || info.Label != "YubiKey 5.7.1" {
			t.Errorf("token %d: %+v, %v", i, info, err)
		}
	}
}

// A token that anybody could open is not made a keeper of secrets, and not changed.
func TestRealFactoryCodes(t *testing.T) {
	b := start(t)
	for serial, c := range map[uint32]struct{ pin, puk string }{
		1: {pivcard.FactoryPIN, puk},
		2: {pin, pivcard.FactoryPUK},
	} {
		card := pivcard.New(serial)
		card.Personalize(c.pin, c.puk)
		tok := inserted(t, b, card, serial)
		if _, err := tok.Prepare(t.Context(), typed(c.pin)); !errors.Is(err, keystore.ErrFactoryPIN) {
			t.Errorf("PIN %s, PUK %s: %v; want ErrFactoryPIN", c.pin, c.puk, err)
		}
		if card.Object(objectKey) != nil || !bytes.Equal(card.ManagementKey(), piv.DefaultManagementKey) {
			t.Error("the card was changed")
		}
		if pins, puks := card.Tries(); pins != 3 || puks < 2 {
			t.Errorf("tries left: %d of the PIN, %d of the PUK", pins, puks)
		}
	}
}

// What other programs have on the token is left as it is.
func TestRealOccupied(t *testing.T) {
	b := start(t)
	generate := func(t *testing.T, slot piv.Slot) {
		yk := direct(t)
		defer yk.Close()
		key := piv.Key{Algorithm: piv.AlgorithmEC256, PINPolicy: piv.PINPolicyOnce, TouchPolicy: piv.TouchPolicyNever}
		if _, err := yk.GenerateKey(piv.DefaultManagementKey, slot, key); err != nil {
			t.Fatal(err)
		}
	}
	foreign := foreignCertificate(t)
	for i, c := range []struct {
		name string
		use  func(t *testing.T, card *pivcard.Card)
	}{
		{"key", func(t *testing.T, _ *pivcard.Card) { generate(t, piv.SlotKeyManagement) }},
		{"certificate", func(_ *testing.T, card *pivcard.Card) { card.SetObject(objectKey, foreign) }},
		{"compressed certificate", func(_ *testing.T, card *pivcard.Card) {
			card.SetObject(objectKey, []byte{0x70, 2, 0x1f, 0x8b, 0x71, 1, 1, 0xfe, 0})
		}},
		{"management key of its own", func(_ *testing.T, card *pivcard.Card) {
			card.SetManagementKey(bytes.Repeat([]byte{9}, 24))
			card.SetObject("\x5f\xc1\x09", nil)
		}},
		{"something else behind the PIN", func(_ *testing.T, card *pivcard.Card) {
			card.SetObject("\x5f\xc1\x09", []byte("Printed Information"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			serial := uint32(20 + i)
			card := owned(serial)
			tok := inserted(t, b, card, serial)
			c.use(t, card)
			before := card.Object(objectKey)
			if _, err := tok.Prepare(t.Context(), typed(pin)); !errors.Is(err, keystore.ErrTokenOccupied) {
				t.Errorf("Prepare: %v; want ErrTokenOccupied", err)
			}
			if info, err := tok.Info(t.Context()); err != nil || info.Key != nil {
				t.Errorf("Info: %+v, %v", info, err)
			}
			if !bytes.Equal(card.Object(objectKey), before) {
				t.Error("the certificate was changed")
			}
		})
	}
	t.Run("slots for secrets", func(t *testing.T) {
		card := owned(30)
		tok := inserted(t, b, card, 30)
		generate(t, mustSlot(t, 0x94)) // a key without a certificate
		card.SetObject(objectTop, foreign)
		key, err := tok.Prepare(t.Context(), typed(pin))
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := key.Seal(nil, []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		if err := tok.Store(t.Context(), typed(pin), "share", sealed); err != nil {
			t.Fatal(err)
		}
		if back, err := tok.Load(t.Context(), "share"); err != nil || !bytes.Equal(back, sealed) {
			t.Errorf("Load: %v", err)
		}
		if !bytes.Equal(card.Object(objectTop), foreign) || card.Object("\x5f\xc1\x1f") != nil || card.Object("\x5f\xc1\x1e") == nil {
			t.Error("the secret does not lie in the first slot that nobody uses")
		}
	})
}

// A management key that lies behind the PIN already is used as it is: another program knows it from there.
func TestRealManagementKeyBehindThePIN(t *testing.T) {
	b := start(t)
	card := owned(1)
	theirs := bytes.Repeat([]byte{9}, 24)
	card.SetManagementKey(theirs)
	tok := inserted(t, b, card, 1)
	if _, err := tok.Prepare(t.Context(), typed(pin)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(card.ManagementKey(), theirs) {
		t.Error("the management key was replaced")
	}
}

// Whatever command the token is taken out after, preparing it again comes to a good end.
func TestRealPrepareInterrupted(t *testing.T) {
	b := start(t)
	card := owned(1)
	tok := inserted(t, b, card, 1)
	if _, err := tok.Prepare(t.Context(), typed(pin)); err != nil {
		t.Fatal(err)
	}
	steps := 0
	for _, ins := range card.Seen() {
		if changes(ins) {
			steps++
		}
	}
	if steps < 4 {
		t.Fatalf("only %d commands change the card", steps)
	}
	for stop := range steps {
		serial := uint32(100 + stop)
		card := owned(serial)
		tok := inserted(t, b, card, serial)
		left := stop
		card.Break(func(ins byte) []byte {
			if !changes(ins) {
				return nil
			}
			if left--; left >= 0 {
				return nil
			}
			return []byte{0x6f, 0x00} // as good as taken out
		})
		if _, err := tok.Prepare(t.Context(), typed(pin)); err == nil {
			t.Fatalf("stopped at change %d: no error", stop)
		}
		card.Break(nil)
		key, err := tok.Prepare(t.Context(), typed(pin))
		if err != nil {
			t.Fatalf("after it was stopped at change %d: %v", stop, err)
		}
		sealed, err := key.Seal(nil, []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tok.Open(t.Context(), typed(pin), nil, sealed); err != nil || string(got) != "secret" {
			t.Fatalf("after it was stopped at change %d: Open = %q, %v", stop, got, err)
		}
	}
}

// changes tells the commands that change a card for good.
func changes(ins byte) bool { return ins == 0xdb || ins == 0xff || ins == 0x47 }

func TestRealFirmware(t *testing.T) {
	b := start(t)
	old := pivcard.NewVersion(1, [3]byte{5, 2, 7})
	old.Personalize(pin, puk)
	b.Insert(t, 0, old)
	tok := &token{1}
	eventually(t, func() error {
		if _, err := tok.Info(t.Context()); !errors.Is(err, keystore.ErrUnavailable) {
			return fmt.Errorf("firmware 5.2.7: %w; want ErrUnavailable", err)
		}
		return nil
	})
	for serial, firmware := range map[uint32][3]byte{2: {5, 3, 0}, 3: {5, 4, 3}} { // management key of triple DES
		card := pivcard.NewVersion(serial, firmware)
		card.Personalize(pin, puk)
		tok := inserted(t, b, card, serial)
		key, err := tok.Prepare(t.Context(), typed(pin))
		if err != nil {
			t.Fatalf("firmware %v: %v", firmware, err)
		}
		sealed, err := key.Seal(nil, []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tok.Open(t.Context(), typed(pin), nil, sealed); err != nil || string(got) != "secret" {
			t.Errorf("firmware %v: Open = %q, %v", firmware, got, err)
		}
	}
}

// An answer that makes piv-go index beyond its end is an error like any other.
func TestRealShortAnswers(t *testing.T) {
	b := start(t)
	card := owned(1)
	tok := inserted(t, b, card, 1)
	key, err := tok.Prepare(t.Context(), typed(pin))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := key.Seal(nil, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for _, ins := range []byte{0xf7, 0xcb, 0x87, 0xf8, 0xdb} {
		card.Break(func(got byte) []byte {
			if got == ins {
				return []byte{0x90, 0x00}
			}
			return nil
		})
		openErr := func() error { _, err := tok.Open(t.Context(), typed(pin), nil, sealed); return err }()
		storeErr := tok.Store(t.Context(), typed(pin), "share", sealed)
		if openErr == nil && storeErr == nil {
			t.Errorf("empty answers to %02x went unnoticed", ins)
		}
		for _, err := range []error{openErr, storeErr} {
			if err != nil && strings.Contains(err.Error(), pin) {
				t.Errorf("the error shows the PIN: %v", err)
			}
		}
	}
	card.Break(nil)
	if got, err := tok.Open(t.Context(), typed(pin), nil, sealed); err != nil || string(got) != "secret" {
		t.Fatalf("mended: Open = %q, %v", got, err)
	}
}

func TestRealSlotRegenerated(t *testing.T) {
	b := start(t)
	card := owned(1)
	tok := inserted(t, b, card, 1)
	if _, err := tok.Prepare(t.Context(), typed(pin)); err != nil {
		t.Fatal(err)
	}
	yk := direct(t)
	key := piv.Key{Algorithm: piv.AlgorithmEC256, PINPolicy: piv.PINPolicyOnce, TouchPolicy: piv.TouchPolicyNever}
	_, err := yk.GenerateKey(card.ManagementKey(), piv.SlotKeyManagement, key)
	yk.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tok.Info(t.Context()); !errors.Is(err, keystore.ErrTokenChanged) {
		t.Errorf("Info: %v; want ErrTokenChanged", err)
	}
}

// A token that another program holds is waited for, and then told apart from one that is not there.
func TestRealHeldByAnotherProgram(t *testing.T) {
	b := start(t)
	tok := inserted(t, b, owned(1), 1)
	yk := direct(t)
	begun := make(chan error)
	go func() { _, err := tok.Info(t.Context()); begun <- err }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := tok.Info(ctx); !errors.Is(err, keystore.ErrTimeout) {
		t.Errorf("within a second: %v; want ErrTimeout", err)
	}
	if err := <-begun; !errors.Is(err, keystore.ErrInUse) {
		t.Errorf("with all its time: %v; want ErrInUse", err)
	}
	go func() { _, err := tok.Info(t.Context()); begun <- err }()
	yk.Close()
	if err := <-begun; err != nil {
		t.Errorf("once it was let go: %v", err)
	}
}

func TestRealStoppedDaemon(t *testing.T) {
	b := start(t)
	tok := inserted(t, b, owned(1), 1)
	b.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := tok.Info(ctx); !errors.Is(err, keystore.ErrTimeout) {
		t.Errorf("daemon that does not answer: %v; want ErrTimeout", err)
	}
	b.Resume(t)
	if _, err := tok.Info(t.Context()); err != nil {
		t.Errorf("after it answers again: %v", err)
	}
	b.Stop(t)
	if _, err := tok.Info(t.Context()); !errors.Is(err, keystore.ErrUnavailable) {
		t.Errorf("no daemon: %v; want ErrUnavailable", err)
	}
	if _, err := (Reader{}).Tokens(t.Context()); !errors.Is(err, keystore.ErrUnavailable) {
		t.Errorf("no daemon: %v; want ErrUnavailable", err)
	}
}

// direct opens the only card as another program would.
func direct(t *testing.T) *piv.YubiKey {
	t.Helper()
	readers, err := piv.Cards()
	if err != nil || len(readers) == 0 {
		t.Fatalf("readers: %v, %v", readers, err)
	}
	yk, err := piv.Open(readers[0])
	if err != nil {
		t.Fatal(err)
	}
	return yk
}

func mustSlot(t *testing.T, key uint32) piv.Slot {
	t.Helper()
	slot, ok := piv.RetiredKeyManagementSlot(key)
	if !ok {
		t.Fatalf("no slot %02x", key)
	}
	return slot
}

// foreignCertificate is the object of another program's certificate.
func foreignCertificate(t *testing.T) []byte {
	t.Helper()
	cert, err := record{}.certificate()
	if err != nil {
		t.Fatal(err)
	}
	// Another extension is as good as another program.
	oid, err := asn1.Marshal(extension)
	if err != nil {
		t.Fatal(err)
	}
	raw := bytes.Clone(cert.Raw)
	raw[bytes.Index(raw, oid)+len(oid)-1] ^= 1
	if other, err := x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	} else if _, err := parseCertificate(other); !errors.Is(err, errForeign) {
		t.Fatalf("a certificate with another extension: %v; want errForeign", err)
	}
	object := append([]byte{0x70, 0x82, byte(len(raw) >> 8), byte(len(raw))}, raw...)
	return append(object, 0x71, 1, 0, 0xfe, 0)
}
