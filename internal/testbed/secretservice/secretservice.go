//go:build linux

package secretservice

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// Service is a bus and a keyring daemon that live as long as their test, in a folder of their own.
type Service struct {
	Address string // for DBUS_SESSION_BUS_ADDRESS
	daemon  *exec.Cmd
}

// The daemon's names on the bus.
const (
	serviceName  = "org.freedesktop.secrets"
	servicePath  = dbus.ObjectPath("/org/freedesktop/secrets")
	serviceIface = "org.freedesktop.Secret.Service"
	loginPath    = servicePath + "/collection/login"
)

// Need skips the test, saying why, where the daemons are not installed; under COLLAB_CI=1 that is a failure.
func Need(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"dbus-daemon", "gnome-keyring-daemon"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		if os.Getenv("COLLAB_CI") != "" {
			t.Fatalf("%s is not installed, and here it must be", tool)
		}
		t.Skipf("%s is not installed", tool)
	}
}

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=%s</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    %s
  </policy>
</busconfig>
`

// Start starts both; a password makes the daemon create and unlock its login collection. The bus starts
// no other service, so that nothing can ask a person.
func Start(t *testing.T, password string) *Service {
	t.Helper()
	return start(t, password, "")
}

// StartDenied is Start with a bus that lets nobody talk to the daemon, as in a sandbox.
func StartDenied(t *testing.T, password string) *Service {
	t.Helper()
	return start(t, password, `<deny send_destination="`+serviceName+`"/>`)
}

func start(t *testing.T, password, policy string) *Service {
	t.Helper()
	dir, err := os.MkdirTemp("", "ring") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, config := filepath.Join(dir, "bus"), filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, socket, policy), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Service{Address: "unix:path=" + socket}
	env := append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS="+s.Address, "HOME="+dir, "XDG_DATA_HOME="+dir,
		"XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir, "XDG_RUNTIME_DIR="+dir)
	s.start(t, env, "", "dbus-daemon", "--config-file="+config, "--nofork", "--nopidfile", "--nosyslog")
	Poll(t, "the bus to listen", func() error { _, err := os.Stat(socket); return err })
	args := []string{"--foreground", "--components=secrets", "--control-directory=" + filepath.Join(dir, "control")}
	if password != "" {
		args = append(args, "--unlock")
	}
	s.daemon = s.start(t, env, password, "gnome-keyring-daemon", args...)
	Poll(t, "the keyring daemon", func() error {
		_, err := s.call(t, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.GetNameOwner", serviceName)
		return err
	})
	return s
}

func (s *Service) start(t *testing.T, env []string, input, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stdin = env, strings.NewReader(input)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// Poll waits until try succeeds.
func Poll(t *testing.T, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

// call calls a method over the private bus.
func (s *Service) call(t *testing.T, to string, path dbus.ObjectPath, method string, args ...any) ([]any, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	conn, err := dbus.Connect(s.Address, dbus.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	c := conn.Object(to, path).Call(method, 0, args...)
	return c.Body, c.Err
}

// Lock locks the login collection.
func (s *Service) Lock(t *testing.T) {
	t.Helper()
	if _, err := s.call(t, serviceName, servicePath, serviceIface+".Lock", []dbus.ObjectPath{loginPath}); err != nil {
		t.Fatal(err)
	}
}

// Pause stops the daemon from answering, as one that waits for a person.
func (s *Service) Pause(t *testing.T) {
	t.Helper()
	if err := s.daemon.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.daemon.Process.Signal(syscall.SIGCONT) })
}

// PID is the daemon's process.
func (s *Service) PID() int { return s.daemon.Process.Pid }

// WaitUnlocked waits until the login collection is there and open; the daemon makes it some time after its name.
func (s *Service) WaitUnlocked(t *testing.T) {
	t.Helper()
	Poll(t, "an unlocked login collection", func() error {
		locked, err := s.call(t, serviceName, loginPath, "org.freedesktop.DBus.Properties.Get", "org.freedesktop.Secret.Collection", "Locked")
		if err != nil {
			return err
		}
		if v, ok := locked[0].(dbus.Variant); !ok || v.Value() != false {
			return fmt.Errorf("collection is locked: %v", locked)
		}
		return nil
	})
}
