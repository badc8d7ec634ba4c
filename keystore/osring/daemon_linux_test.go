package osring

import (
	"context"
	"errors"
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

// secretService is a bus and a keyring daemon that live as long as their test, in a folder of their own.
type secretService struct {
	address string
	daemon  *exec.Cmd
	log     *strings.Builder
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
  </policy>
</busconfig>
`

// startSecretService starts both; a password makes the daemon create and unlock its login collection. The bus starts
// no other service, so that nothing can ask a person.
func startSecretService(t *testing.T, password string) *secretService {
	t.Helper()
	dir, err := os.MkdirTemp("", "ring") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, config := filepath.Join(dir, "bus"), filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, socket), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &secretService{address: "unix:path=" + socket, log: new(strings.Builder)}
	env := append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS="+s.address, "HOME="+dir, "XDG_DATA_HOME="+dir,
		"XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir, "XDG_RUNTIME_DIR="+dir)
	s.start(t, env, "", "dbus-daemon", "--config-file="+config, "--nofork", "--nopidfile", "--nosyslog")
	poll(t, "the bus to listen", func() error { _, err := os.Stat(socket); return err })
	args := []string{"--foreground", "--components=secrets", "--control-directory=" + filepath.Join(dir, "control")}
	if password != "" {
		args = append(args, "--unlock")
	}
	s.daemon = s.start(t, env, password, "gnome-keyring-daemon", args...)
	poll(t, "the keyring daemon", func() error {
		_, err := s.call(t, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.GetNameOwner", secrets)
		return err
	})
	return s
}

func (s *secretService) start(t *testing.T, env []string, input, name string, args ...string) *exec.Cmd {
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

// poll waits until try succeeds.
func poll(t *testing.T, what string, try func() error) {
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
func (s *secretService) call(t *testing.T, to string, path dbus.ObjectPath, method string, args ...any) ([]any, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	conn, err := dbus.Connect(s.address, dbus.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	c := conn.Object(to, path).Call(method, 0, args...)
	return c.Body, c.Err
}

func (s *secretService) lock(t *testing.T) {
	t.Helper()
	if _, err := s.call(t, secrets, secretsPath, serviceIface+".Lock", []dbus.ObjectPath{loginPath}); err != nil {
		t.Fatal(err)
	}
}

// pause stops the daemon from answering, as one that waits for a person.
func (s *secretService) pause(t *testing.T) {
	t.Helper()
	if err := s.daemon.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.daemon.Process.Signal(syscall.SIGCONT) })
}

func (s *secretService) ready(t *testing.T) error { return s.readyWithin(t, t.Context()) }

func (s *secretService) readyWithin(t *testing.T, ctx context.Context) error {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", s.address)
	return ready(ctx)
}

// await waits until ready gives the wanted answer; the daemon makes its collection some time after its name.
func (s *secretService) await(t *testing.T, want error) {
	t.Helper()
	poll(t, fmt.Sprintf("the keychain to answer %v", want), func() error {
		if err := s.ready(t); !errors.Is(err, want) {
			return fmt.Errorf("it answers %v", err)
		}
		return nil
	})
}
