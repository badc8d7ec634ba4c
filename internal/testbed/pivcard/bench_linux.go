package pivcard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	driver = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so"
	socket = "/run/pcscd/pcscd.comm" // pcscd knows no other place, so a machine has one pcscd
	port   = 35963                   // of the first reader, within a network of its own; the second has the next
)

// Readers is how many readers a [Bench] has.
const Readers = 2

// Bench is a card reader daemon with two empty readers, which live as long as their test.
//
// The readers' driver listens on every address of its network for the card to connect, so the daemon has a network of
// its own, with nothing but a loopback interface. The driver can also be told to connect by itself, but then it does not
// survive the removal of a card.
type Bench struct {
	daemon  *exec.Cmd
	network *network
	serving sync.WaitGroup

	hand    sync.Mutex // that puts cards in and takes them out, one after another
	mu      sync.Mutex
	readers [Readers]inserted
}

// inserted is a card in its reader.
type inserted struct {
	card *Card
	conn net.Conn
}

// Need skips the test, saying why, where no daemon can be started; under COLLAB_CI=1 that is a failure.
func Need(t *testing.T) {
	t.Helper()
	err := missing()
	switch {
	case err == nil:
	case os.Getenv("COLLAB_CI") != "":
		t.Fatalf("%v, and here it must not be so", err)
	default:
		t.Skip(err)
	}
}

// missing says what keeps Start from working.
func missing() error {
	if _, err := exec.LookPath("pcscd"); err != nil {
		return errors.New("pcscd is not installed")
	}
	if _, err := os.Stat(driver); err != nil {
		return errors.New("the virtual card reader (vsmartcard-vpcd) is not installed")
	}
	if os.Geteuid() != 0 {
		return errors.New("pcscd needs root to run with a configuration of its own")
	}
	n, err := newNetwork()
	if err != nil {
		return fmt.Errorf("root may not make a network namespace here: %w", err)
	}
	n.close()
	return nil
}

// Start starts the daemon with readers whose names begin with name. Tests that use a bench wait for one another, in other
// processes, too. A daemon that runs on the machine already is left alone, and the test fails.
func Start(t *testing.T, name string) *Bench {
	t.Helper()
	lockMachine(t)
	if conn, err := net.Dial("unix", socket); err == nil {
		conn.Close()
		t.Fatal("a card reader daemon runs on this machine already: stop it, or run this test in a container")
	}
	network, err := newNetwork()
	if err != nil {
		t.Fatal(err)
	}
	b := &Bench{network: network}
	t.Cleanup(b.close)
	b.startDaemon(t, name)
	poll(t, "the card reader daemon", 30*time.Second, func() error {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return b
}

// lockMachine holds the only place for a daemon until the test ends.
func lockMachine(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "collab-pivcard.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	poll(t, "the other test that uses a card reader", 5*time.Minute, func() error {
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	})
}

func (b *Bench) startDaemon(t *testing.T, name string) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "reader.conf")
	text := fmt.Sprintf("FRIENDLYNAME %q\nDEVICENAME /dev/null:%d\nLIBPATH %s\nCHANNELID %d\n", name, port, driver, port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"--foreground", "--config", config}
	if help, _ := exec.Command("pcscd", "--help").CombinedOutput(); bytes.Contains(help, []byte("--disable-polkit")) {
		args = append(args, "--disable-polkit") // from version 2 on
	}
	var log bytes.Buffer
	b.daemon = exec.Command("pcscd", args...)
	b.daemon.Stdout, b.daemon.Stderr = &log, &log
	// It ends with the thread that starts it, the network's, and so with a test that crashes.
	b.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	b.network.run(func() { err = b.daemon.Start() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.daemon.Process.Signal(syscall.SIGCONT)
		_ = b.daemon.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(10*time.Second, func() { _ = b.daemon.Process.Kill() })
		_ = b.daemon.Wait()
		late.Stop()
		if t.Failed() {
			t.Logf("pcscd says:\n%s", log.Bytes())
		}
	})
}

// Insert puts a card into an empty reader, 0 or 1. The daemon notices within a second.
func (b *Bench) Insert(t *testing.T, reader int, card *Card) {
	t.Helper()
	b.hand.Lock()
	defer b.hand.Unlock()
	card.in()
	conn := b.dial(t, reader)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readers[reader] = inserted{card, conn}
	b.serving.Go(func() { _ = card.serve(context.Background(), conn) })
}

func (b *Bench) dial(t *testing.T, reader int) (conn net.Conn) {
	t.Helper()
	poll(t, "the card reader", 30*time.Second, func() (err error) {
		b.network.run(func() { conn, err = net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+reader))) })
		return err
	})
	return conn
}

// Remove takes the card out of a reader, if there is one, and waits until the daemon has noticed.
func (b *Bench) Remove(t *testing.T, reader int) {
	t.Helper()
	b.hand.Lock()
	defer b.hand.Unlock()
	if !b.take(reader) {
		return
	}
	// The driver turns to a new connection once it has told the daemon that the old one ended.
	probe := b.dial(t, reader)
	defer probe.Close()
	if err := probe.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := receive(probe); err != nil {
		t.Fatalf("waiting until the daemon notices that the card is gone: %v", err)
	}
}

func (b *Bench) take(reader int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := b.readers[reader]
	if in.card == nil {
		return false
	}
	in.card.gone()
	in.conn.Close()
	b.readers[reader] = inserted{}
	return true
}

func (b *Bench) close() {
	for reader := range b.readers {
		b.take(reader)
	}
	b.serving.Wait()
	b.network.close()
}

// Pause stops the daemon, so that nothing answers; Resume lets it go on.
func (b *Bench) Pause(t *testing.T) { b.signal(t, syscall.SIGSTOP) }

// Resume is explained at Pause.
func (b *Bench) Resume(t *testing.T) { b.signal(t, syscall.SIGCONT) }

// Stop ends the daemon.
func (b *Bench) Stop(t *testing.T) {
	t.Helper()
	b.signal(t, syscall.SIGTERM)
	poll(t, "the card reader daemon to end", 30*time.Second, func() error {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return nil
		}
		conn.Close()
		return errors.New("it still answers")
	})
}

func (b *Bench) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := b.daemon.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// poll waits until try succeeds.
func poll(t *testing.T, what string, limit time.Duration, try func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waiting for %s: %v", what, err)
		}
	}
}
