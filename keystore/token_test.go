package keystore_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/studio-whip/collab/keystore"
)

// newPrivate returns the halves of a token's key and the whole public one.
func newPrivate(t *testing.T) (*mlkem.DecapsulationKey768, *ecdh.PrivateKey, *keystore.TokenKey) {
	t.Helper()
	pq, err := mlkem.GenerateKey768()
	if err != nil {
		t.Fatal(err)
	}
	half, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := keystore.NewTokenKey(pq.Encapsulator(), half.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	return pq, half, key
}

func TestSealToToken(t *testing.T) {
	pq, half, key := newPrivate(t)
	for _, size := range []int{1, 33, keystore.MaxTokenSecret} {
		secret := bytes.Repeat([]byte{7}, size)
		sealed, err := key.Seal([]byte("purpose"), secret)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) > keystore.MaxTokenSealed {
			t.Errorf("%d bytes sealed: %d, more than MaxTokenSealed", size, len(sealed))
		}
		if to, err := keystore.SealedTo(sealed); err != nil || to != key.ID() {
			t.Errorf("SealedTo: %v, %v", to, err)
		}
		got, err := keystore.OpenSealed(pq, half, []byte("purpose"), sealed)
		if err != nil || !bytes.Equal(got, secret) {
			t.Errorf("%d bytes: opened %d, %v", size, len(got), err)
		}
		if _, err := keystore.OpenSealed(pq, half, []byte("other"), sealed); !errors.Is(err, keystore.ErrDamaged) {
			t.Errorf("another purpose: %v; want ErrDamaged", err)
		}
	}
	if _, err := key.Seal(nil, make([]byte, keystore.MaxTokenSecret+1)); !errors.Is(err, keystore.ErrTooBig) {
		t.Errorf("too big: %v", err)
	}
	if _, err := key.Seal(nil, nil); !errors.Is(err, keystore.ErrInvalid) {
		t.Errorf("empty: %v", err)
	}
}

// One half is not enough: with either replaced, nothing opens.
func TestBothHalvesOfATokenAreNeeded(t *testing.T) {
	pq, half, key := newPrivate(t)
	otherPQ, otherHalf, _ := newPrivate(t)
	sealed, err := key.Seal(nil, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keystore.OpenSealed(otherPQ, half, nil, sealed); !errors.Is(err, keystore.ErrWrongToken) {
		t.Errorf("another ML-KEM half: %v; want ErrWrongToken", err)
	}
	if _, err := keystore.OpenSealed(pq, otherHalf, nil, sealed); !errors.Is(err, keystore.ErrWrongToken) {
		t.Errorf("another P-256 half: %v; want ErrWrongToken", err)
	}
}

// Whatever byte is changed, what comes is an error, and never another secret.
func TestSealedToTokenIsAuthentic(t *testing.T) {
	pq, half, key := newPrivate(t)
	sealed, err := key.Seal(nil, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := keystore.OpenSealed(pq, half, nil, bad); err == nil {
			t.Fatalf("byte %d changed: opened", i)
		}
	}
	for i := range sealed {
		if _, err := keystore.SealedTo(sealed[:i]); !errors.Is(err, keystore.ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
}

// failing is a device that is taken out during the key agreement.
type failing struct{ *ecdh.PrivateKey }

func (failing) ECDH(*ecdh.PublicKey) ([]byte, error) { return nil, keystore.ErrNoToken }

func TestDeviceErrorIsKept(t *testing.T) {
	pq, half, key := newPrivate(t)
	sealed, err := key.Seal(nil, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keystore.OpenSealed(pq, failing{half}, nil, sealed); !errors.Is(err, keystore.ErrNoToken) {
		t.Errorf("%v; want ErrNoToken", err)
	}
}

func TestParseTokenKey(t *testing.T) {
	_, _, key := newPrivate(t)
	again, err := keystore.ParseTokenKey(key.Bytes())
	if err != nil || again.ID() != key.ID() {
		t.Fatalf("parsed: %v", err)
	}
	bad := bytes.Clone(key.Bytes())
	bad[len(bad)-1] ^= 1 // no point of the curve
	for name, raw := range map[string][]byte{"empty": nil, "short": bad[1:], "no point": bad} {
		if _, err := keystore.ParseTokenKey(raw); !errors.Is(err, keystore.ErrDamaged) {
			t.Errorf("%s: %v; want ErrDamaged", name, err)
		}
	}
}

func TestPrompt(t *testing.T) {
	one := keystore.TokenInfo{Retries: 1}
	mistake := errors.New("window closed")
	answer := func(pin []byte, err error) keystore.Prompt {
		return keystore.Prompt{PIN: func(context.Context, keystore.PINRequest) ([]byte, error) { return pin, err }}
	}
	for name, c := range map[string]struct {
		prompt keystore.Prompt
		info   keystore.TokenInfo
		want   error
	}{
		"blocked":       {answer([]byte("1"), nil), keystore.TokenInfo{}, keystore.ErrPINBlocked},
		"nobody":        {keystore.Prompt{}, one, keystore.ErrDenied},
		"nothing typed": {answer(nil, nil), one, keystore.ErrDenied},
		"failed":        {answer(nil, mistake), one, mistake},
		"typed":         {answer([]byte("1"), nil), one, nil},
	} {
		if _, err := c.prompt.Ask(t.Context(), keystore.PINRequest{Token: c.info}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", name, err, c.want)
		}
	}
}

func TestPINError(t *testing.T) {
	for retries, text := range map[int]string{
		0: "keystore: wrong PIN, and the token is blocked now",
		1: "keystore: wrong PIN, one try is left",
		2: "keystore: wrong PIN, 2 tries are left",
	} {
		err := error(&keystore.PINError{Retries: retries})
		if err.Error() != text {
			t.Errorf("%d left: %q; want %q", retries, err, text)
		}
		if !errors.Is(err, keystore.ErrWrongPIN) || errors.Is(err, keystore.ErrPINBlocked) != (retries == 0) {
			t.Errorf("%d left: %v stands for the wrong sentinels", retries, err)
		}
	}
}
