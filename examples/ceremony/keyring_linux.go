package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/studio-whip/collab/keystore/osring"
)

// busConfig is of a bus of its own on which nothing else is started, so that nothing can ask a person.
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

const busVariable = "DBUS_SESSION_BUS_ADDRESS"

// startKeyring starts a bus and a keyring daemon in a new folder, and makes them this program's keychain until stop.
func startKeyring(ctx context.Context, dir string) (stop func() error, err error) {
	for _, tool := range []string{"dbus-daemon", "gnome-keyring-daemon"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is not installed", tool)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	socket, config := filepath.Join(dir, "bus"), filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, socket), 0o600); err != nil {
		return nil, err
	}
	k := &keyring{dir: dir, address: "unix:path=" + socket}
	old, had := os.LookupEnv(busVariable)
	stop = func() error {
		if had {
			os.Setenv(busVariable, old)
		} else {
			os.Unsetenv(busVariable)
		}
		return k.stop()
	}
	if err := k.start(ctx, config, socket); err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

type keyring struct {
	dir, address string
	daemons      []*exec.Cmd
}

func (k *keyring) start(ctx context.Context, config, socket string) error {
	if err := k.run("", "dbus-daemon", "--config-file="+config, "--nofork", "--nopidfile", "--nosyslog"); err != nil {
		return err
	}
	if err := poll(ctx, func() error { _, err := os.Stat(socket); return err }); err != nil {
		return fmt.Errorf("the bus does not start: %w", err)
	}
	if err := k.run("demonstration\n", "gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets",
		"--control-directory="+filepath.Join(k.dir, "control")); err != nil {
		return err
	}
	if err := os.Setenv(busVariable, k.address); err != nil {
		return err
	}
	err := poll(ctx, func() error { _, err := osring.Open(profiles[0]); return err })
	if err != nil {
		return fmt.Errorf("the keyring daemon does not start: %w", err)
	}
	return nil
}

// run starts a daemon whose home is the keyring's folder.
func (k *keyring) run(input, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = append(os.Environ(), busVariable+"="+k.address)
	for _, home := range []string{"HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"} {
		cmd.Env = append(cmd.Env, home+"="+k.dir)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	k.daemons = append(k.daemons, cmd)
	return nil
}

func (k *keyring) stop() error {
	var errs []error
	for i := len(k.daemons) - 1; i >= 0; i-- {
		if err := k.daemons[i].Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
		_ = k.daemons[i].Wait() // it was killed
	}
	return errors.Join(errs...)
}

// poll tries until it succeeds, for half a minute.
func poll(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
