package osring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
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

// TestRealMisery is what [TestPrivateSecretService] runs in a child: what becomes of an open ring when the keychain locks,
// stops answering, and answers again.
func TestRealMisery(t *testing.T) {
	if os.Getenv(childMode) != "misery" {
		return
	}
	pid, err := strconv.Atoi(os.Getenv(childDaemon))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open("misery")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Put(t.Context(), "seed", []byte("old")); err != nil {
		t.Fatal(err)
	}
	t.Run("Stopped", func(t *testing.T) {
		stop(t, pid)
		wantAll(t, r, 300*time.Millisecond, keystore.ErrTimeout)
	})
	t.Run("StoppedAfterItSaidReady", func(t *testing.T) {
		stop(t, pid)
		late := *r
		late.ready = usable // as it was a moment ago
		wantAll(t, &late, 300*time.Millisecond, keystore.ErrTimeout)
	})
	t.Run("Again", func(t *testing.T) {
		if got, err := r.Get(t.Context(), "seed"); err != nil || string(got) != "old" {
			t.Fatalf("Get = %q, %v", got, err)
		}
	})
	t.Run("Locked", func(t *testing.T) {
		conn, err := dbus.SessionBusPrivateNoAutoStartup(dbus.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := errors.Join(conn.Auth(nil), conn.Hello()); err != nil {
			t.Fatal(err)
		}
		lock := conn.Object(secrets, secretsPath).Call(serviceIface+".Lock", 0, []dbus.ObjectPath{loginPath})
		if lock.Err != nil {
			t.Fatal(lock.Err)
		}
		wantAll(t, r, callTimeout, keystore.ErrLocked)
		// go-keyring itself, were it asked in a moment between, must not hang or say something else.
		late := *r
		late.ready = usable
		wantAll(t, &late, callTimeout, keystore.ErrLocked)
	})
}

// childDaemon tells the child which process is the keyring daemon.
const childDaemon = "COLLAB_TEST_SECRET_SERVICE_PID"

// stop stops the daemon until the test ends.
func stop(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
}

// wantAll calls every method, each within limit, and wants the same error of them.
func wantAll(t *testing.T, r *Ring, limit time.Duration, want error) {
	t.Helper()
	for name, call := range map[string]func(context.Context) error{
		"Get":    func(ctx context.Context) error { _, err := r.Get(ctx, "seed"); return err },
		"Put":    func(ctx context.Context) error { return r.Put(ctx, "other", []byte("new")) },
		"Delete": func(ctx context.Context) error { return r.Delete(ctx, "other") },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		if err := call(ctx); !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", name, err, want)
		}
		cancel()
	}
}

// TestRealNeighbours is what [TestPrivateSecretService] runs in several children at once: nodes that share a keychain,
// each with an item of its own.
func TestRealNeighbours(t *testing.T) {
	if os.Getenv(childMode) != "neighbours" {
		return
	}
	r, err := Open("device")
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("collab-%d", os.Getpid())
	for round := range 10 {
		secret := fmt.Appendf(nil, "%s in round %d", name, round)
		if err := r.Put(t.Context(), name, secret); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Get(t.Context(), name); err != nil || !bytes.Equal(got, secret) {
			t.Fatalf("Get = %q, %v; want %q", got, err, secret)
		}
	}
}

// TestPrivateSecretService starts a bus and a keyring daemon of its own: unlocked, locked, without a collection, out of
// reach, and stopped.
func TestPrivateSecretService(t *testing.T) {
	secretservice.Need(t)
	const password = "test-only-password\n"
	address := func(s *secretservice.Service) string { return "DBUS_SESSION_BUS_ADDRESS=" + s.Address }
	t.Run("Unlocked", func(t *testing.T) {
		s := secretservice.Start(t, password)
		await(t, s, nil)
		inChild(t, "TestRealKeychain", "real", []string{address(s)})
	})
	t.Run("Misery", func(t *testing.T) {
		s := secretservice.Start(t, password)
		await(t, s, nil)
		inChild(t, "TestRealMisery", "misery", []string{address(s), fmt.Sprintf("%s=%d", childDaemon, s.PID())})
	})
	t.Run("Neighbours", func(t *testing.T) {
		s := secretservice.Start(t, password)
		await(t, s, nil)
		for i := range 3 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				inChild(t, "TestRealNeighbours", "neighbours", []string{address(s)})
			})
		}
	})
	t.Run("Locked", func(t *testing.T) {
		s := secretservice.Start(t, password)
		await(t, s, nil)
		s.Lock(t)
		await(t, s, keystore.ErrLocked)
	})
	t.Run("NoCollection", func(t *testing.T) {
		await(t, secretservice.Start(t, ""), keystore.ErrUnavailable)
	})
	t.Run("OutOfReach", func(t *testing.T) {
		await(t, secretservice.StartDenied(t, password), keystore.ErrDenied)
	})
	t.Run("Stopped", func(t *testing.T) {
		s := secretservice.Start(t, password)
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
