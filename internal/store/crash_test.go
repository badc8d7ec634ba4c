package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

const crashEnv = "COLLAB_STORE_CRASH_CHILD"

// runCrashChild turns the test binary into the process to be killed, if it was started as one: it appends records
// and prints the number of each once it is durable.
func runCrashChild() {
	path := os.Getenv(crashEnv)
	if path == "" {
		return
	}
	s, err := Open(path, Options{Key: testKey})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var next uint64
	_ = s.View(func(tx *Tx) error { next = tx.Log("l").Len() + 1; return nil })
	for ; ; next++ {
		i := next
		if err := s.Queue(func(tx *Tx) error { return crashWrite(tx, i) }); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		if i%uint64(1+i%7) == 0 { // groups of several sizes
			if err := s.Flush(context.Background()); err != nil {
				fmt.Println("error", err)
				os.Exit(1)
			}
			fmt.Println(i)
		}
	}
}

// crashWrite appends record i and notes it in a map and, every so often, shortens another log: all or nothing.
func crashWrite(tx *Tx, i uint64) error {
	n, err := tx.Log("l").Append(crashRecord(i))
	if err != nil {
		return err
	}
	if n != i {
		return fmt.Errorf("record %d got number %d", i, n)
	}
	if err := tx.Log("short").Truncate(i % 5); err != nil {
		return err
	}
	if _, err := tx.Log("short").Append(crashRecord(i)); err != nil {
		return err
	}
	return tx.Map("m").Put([]byte("last"), binary.BigEndian.AppendUint64(nil, i))
}

func crashRecord(i uint64) []byte {
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, i), int(1+i*37%400))
}

// TestKill kills the writing process at random moments: what it acknowledged is there, whole and without a gap.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	rnd := rand.New(rand.NewPCG(3, 4))
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	var acknowledged uint64
	for round := range rounds {
		acknowledged = max(acknowledged, killAfter(t, path, rnd.IntN(40), rnd.IntN(2000)))
		s := openTest(t, path)
		must(t, s.View(func(tx *Tx) error { return checkCrashed(tx, acknowledged) }))
		must(t, s.Close())
		if round == rounds-1 {
			t.Logf("%d records acknowledged over %d kills", acknowledged, rounds)
		}
	}
	if acknowledged < uint64(rounds) {
		t.Errorf("only %d records were acknowledged", acknowledged)
	}
}

// killAfter lets a child acknowledge some writes, spins a little, kills it, and returns the last number it
// acknowledged.
func killAfter(t *testing.T, path string, acks, spins int) (last uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		i, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			t.Errorf("child: %s", lines.Text())
			break
		}
		last = i
		if n == acks {
			_, err := Open(path, Options{Key: testKey})
			wantErr(t, err, ErrInUse)
			for s := range spins {
				binary.LittleEndian.PutUint64(make([]byte, 8), uint64(s))
			}
			must(t, cmd.Process.Kill()) // what it still printed counts as well
		}
	}
	_ = cmd.Wait()
	return last
}

func checkCrashed(tx *Tx, acknowledged uint64) error {
	l := tx.Log("l")
	if l.Len() < acknowledged {
		return fmt.Errorf("%d records, but %d were acknowledged", l.Len(), acknowledged)
	}
	var n uint64
	for i, rec := range l.From(1) {
		if n++; i != n || !bytes.Equal(rec, crashRecord(i)) {
			return fmt.Errorf("record %d is wrong", i)
		}
	}
	v, ok, err := tx.Map("m").Get([]byte("last"))
	if err != nil {
		return err
	}
	if n != l.Len() || ok != (n > 0) || ok && binary.BigEndian.Uint64(v) != n {
		return fmt.Errorf("%d of %d records, map says %x", n, l.Len(), v)
	}
	if want := min(n, n%5+1); n > 0 && tx.Log("short").Len() > want {
		return fmt.Errorf("the shortened log has %d records, want at most %d", tx.Log("short").Len(), want)
	}
	return nil
}
