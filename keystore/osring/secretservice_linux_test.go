package osring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/zalando/go-keyring"

	"github.com/studio-whip/collab/internal/testbed/secretservice"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/keystoretest"
)

// inChild runs one test of this binary in a process of its own.
func inChild(t *testing.T, test, mode string, env []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), childMode+"="+mode), env...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("%s: %v", test, err)
	}
	if !strings.Contains(string(out), "--- PASS: "+test) {
		t.Fatalf("%s did not run", test)
	}
}

// TestRealKeychain is what [TestPrivateSecretService] runs in a child, whose only keychain is the private one. The
// keychain of whoever runs the tests is never touched.
func TestRealKeychain(t *testing.T) {
	if os.Getenv(childMode) != "real" {
		return
	}
	const profile = "keystoretest-of-this-module"
	keystoretest.Run(t, func(t *testing.T) keystore.Store {
		r, err := Open(profile)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			for _, name := range keystoretest.Names() {
				if err := r.Delete(context.Background(), name); err != nil {
					t.Errorf("cleanup of %s: %v", name, err)
				}
			}
		})
		return r
	})
	t.Run("WhatOthersSee", func(t *testing.T) {
		r, err := Open(profile)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Delete(context.Background(), "seed") }()
		if err := r.Put(t.Context(), "seed", []byte{0, 1, 0xff}); err != nil {
			t.Fatal(err)
		}
		value, err := keyring.Get("collab-"+profile, "seed")
		if err != nil || value != "AAH/" {
			t.Fatalf("item under service collab-PROFILE: %q, %v; want base64 of the secret", value, err)
		}
	})
}

// TestPrivateSecretService starts a bus and a keyring daemon of its own: unlocked, locked, and without a collection.
func TestPrivateSecretService(t *testing.T) {
	secretservice.Need(t)
	t.Run("Unlocked", func(t *testing.T) {
		s := secretservice.Start(t, "test-only-password\n")
		await(t, s, nil)
		inChild(t, "TestRealKeychain", "real", []string{"DBUS_SESSION_BUS_ADDRESS=" + s.Address})
	})
	t.Run("Locked", func(t *testing.T) {
		s := secretservice.Start(t, "test-only-password\n")
		await(t, s, nil)
		s.Lock(t)
		if err := readyAt(t, t.Context(), s); !errors.Is(err, keystore.ErrLocked) {
			t.Fatalf("ready: %v; want ErrLocked", err)
		}
	})
	t.Run("NoCollection", func(t *testing.T) {
		s := secretservice.Start(t, "")
		await(t, s, keystore.ErrUnavailable)
	})
	t.Run("Stopped", func(t *testing.T) {
		s := secretservice.Start(t, "test-only-password\n")
		await(t, s, nil)
		s.Pause(t)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := readyAt(t, ctx, s); !errors.Is(err, keystore.ErrTimeout) {
			t.Fatalf("ready: %v; want ErrTimeout", err)
		}
	})
}

// readyAt asks the package's own question of a private service.
func readyAt(t *testing.T, ctx context.Context, s *secretservice.Service) error {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", s.Address)
	return ready(ctx)
}

// await waits until readyAt gives the wanted answer; the daemon makes its collection some time after its name.
func await(t *testing.T, s *secretservice.Service, want error) {
	t.Helper()
	secretservice.Poll(t, fmt.Sprintf("the keychain to answer %v", want), func() error {
		if err := readyAt(t, t.Context(), s); !errors.Is(err, want) {
			return fmt.Errorf("it answers %w", err)
		}
		return nil
	})
}

func TestNoBus(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+t.TempDir()+"/nobody")
	if _, err := Open("test"); !errors.Is(err, keystore.ErrUnavailable) {
		t.Fatalf("Open: %v; want ErrUnavailable", err)
	}
}

func TestTranslateSecretService(t *testing.T) {
	for _, c := range []struct{ from, want error }{
		{errors.New("failed to unlock correct collection '/org/freedesktop/secrets/collection/login'"), keystore.ErrLocked},
		{dbus.Error{Name: "org.freedesktop.Secret.Error.IsLocked"}, keystore.ErrLocked},
		{dbus.Error{Name: "org.freedesktop.DBus.Error.AccessDenied"}, keystore.ErrDenied},
		{dbus.Error{Name: "org.freedesktop.DBus.Error.ServiceUnknown"}, keystore.ErrUnavailable},
	} {
		if got := translate(c.from); !errors.Is(got, c.want) {
			t.Errorf("%v became %v; want %v", c.from, got, c.want)
		}
	}
}
