package osring

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zalando/go-keyring"
	"go.uber.org/goleak"

	"github.com/studio-whip/collab/internal/gate"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/keystoretest"
)

func TestMain(m *testing.M) {
	// With a real keychain go-keyring keeps a connection to the session's bus for the life of the process.
	if os.Getenv(childMode) != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

// childMode tells a run of this test binary that it is a child that works with a real keychain: go-keyring, once
// mocked, stays mocked.
const childMode = "COLLAB_TEST_SECRET_SERVICE"

func usable(context.Context) error { return nil }

// mocked returns a ring over an empty keychain in memory.
func mocked(t *testing.T) *Ring {
	t.Helper()
	keyring.MockInit()
	r, err := open("test", gate.New(), usable)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestConformance(t *testing.T) {
	keystoretest.Run(t, func(t *testing.T) keystore.Store { return mocked(t) })
}

func TestProfilesAreApart(t *testing.T) {
	a := mocked(t)
	b, err := open("other", gate.New(), usable)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Put(t.Context(), "seed", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(t.Context(), "seed"); !errors.Is(err, keystore.ErrNotFound) {
		t.Fatalf("another profile's secret: %v", err)
	}
}

func TestProfileName(t *testing.T) {
	keyring.MockInit()
	for _, good := range []string{"a", "My-App_2.0", strings.Repeat("x", maxProfile)} {
		if _, err := open(good, gate.New(), usable); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "a:b", "a b", "a/b", "ä", "a\n", strings.Repeat("x", maxProfile+1)} {
		if _, err := open(bad, gate.New(), usable); !errors.Is(err, keystore.ErrInvalid) {
			t.Errorf("%q: %v; want ErrInvalid", bad, err)
		}
	}
}

func TestForeignItem(t *testing.T) {
	r := mocked(t)
	for _, value := range []string{"hunter2!", "", base64.StdEncoding.EncodeToString(make([]byte, keystore.MaxSecret+1)), "YR=="} {
		if err := keyring.Set(r.service, "a", value); err != nil {
			t.Fatal(err)
		}
		_, err := r.Get(t.Context(), "a")
		if !errors.Is(err, keystore.ErrDamaged) {
			t.Errorf("%q: %v; want ErrDamaged", value, err)
		} else if value != "" && strings.Contains(err.Error(), value) {
			t.Errorf("the error shows the value: %v", err)
		}
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("some D-Bus trouble")
	for _, c := range []struct{ from, want error }{
		{keyring.ErrSetDataTooBig, keystore.ErrTooBig},
		{keyring.ErrUnsupportedPlatform, keystore.ErrUnavailable},
		{&exec.Error{Name: "dbus-launch", Err: exec.ErrNotFound}, keystore.ErrUnavailable},
		{cause, keystore.ErrUnavailable},
	} {
		keyring.MockInitWithError(c.from)
		r, err := open("test", gate.New(), usable)
		if err != nil {
			t.Fatal(err)
		}
		_, getErr := r.Get(t.Context(), "a")
		for _, err := range []error{getErr, r.Put(t.Context(), "a", []byte("x")), r.Delete(t.Context(), "a")} {
			if !errors.Is(err, c.want) || !errors.Is(err, c.from) {
				t.Errorf("%v became %v; want %v", c.from, err, c.want)
			}
		}
	}
}

// What the other systems' keychains say, by the numbers that their headers give.
func TestMeaning(t *testing.T) {
	for code, want := range map[int]error{
		44: keystore.ErrNotFound, 36: keystore.ErrLocked, 51: keystore.ErrDenied, 128: keystore.ErrDenied,
		1: keystore.ErrUnavailable, 37: keystore.ErrUnavailable,
	} {
		if got := securityExit(code); got != want {
			t.Errorf("exit code %d: %v; want %v", code, got, want)
		}
	}
	for number, want := range map[uintptr]error{
		1168: keystore.ErrNotFound, 5: keystore.ErrDenied, 1312: keystore.ErrUnavailable, 87: keystore.ErrUnavailable,
	} {
		if got := credentialError(number); got != want {
			t.Errorf("system error %d: %v; want %v", number, got, want)
		}
	}
}

// A keychain that is not ready is not touched.
func TestNotReady(t *testing.T) {
	keyring.MockInit()
	if _, err := open("test", gate.New(), func(context.Context) error { return keystore.ErrLocked }); !errors.Is(err, keystore.ErrLocked) {
		t.Fatalf("open: %v; want ErrLocked", err)
	}
	r, state := mocked(t), error(nil)
	r.ready = func(context.Context) error { return state }
	if err := r.Put(t.Context(), "a", []byte("old")); err != nil {
		t.Fatal(err)
	}
	state = keystore.ErrLocked
	if err := r.Put(t.Context(), "a", []byte("new")); !errors.Is(err, keystore.ErrLocked) {
		t.Fatalf("Put: %v; want ErrLocked", err)
	}
	state = nil
	if got, err := r.Get(t.Context(), "a"); err != nil || string(got) != "old" {
		t.Fatalf("Get = %q, %v", got, err)
	}
}

// A keychain that hangs is given up in time, and told from one that fails.
func TestHangingKeychain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := open("test", gate.New(), usable)
		if err != nil {
			t.Fatal(err)
		}
		answer := make(chan struct{})
		r.ready = func(context.Context) error { <-answer; return keystore.ErrLocked }
		for _, wait := range []time.Duration{callTimeout, 0} {
			began := time.Now()
			if err := r.Put(t.Context(), "a", []byte("x")); !errors.Is(err, keystore.ErrTimeout) {
				t.Fatalf("%v; want ErrTimeout", err)
			}
			if d := time.Since(began); d != wait {
				t.Errorf("it took %v; want %v", d, wait)
			}
		}
		close(answer)
		synctest.Wait()
		if _, err := r.Get(t.Context(), "a"); !errors.Is(err, keystore.ErrLocked) {
			t.Fatalf("after the keychain answered: %v; want ErrLocked", err)
		}
	})
}
