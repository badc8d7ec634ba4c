package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

var testKey = [32]byte{1, 2, 3}

func TestMain(m *testing.M) {
	runCrashChild()
	goleak.VerifyTestMain(m)
}

// backends opens a fresh store of every backend.
func backends(t *testing.T, test func(t *testing.T, s *Store)) {
	t.Run("file", func(t *testing.T) { test(t, openTest(t, filepath.Join(t.TempDir(), "db"))) })
	t.Run("memory", func(t *testing.T) {
		s, err := Open("", Options{Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		test(t, s)
	})
}

func openTest(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path, Options{Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func TestMapAndLog(t *testing.T) {
	backends(t, func(t *testing.T, s *Store) {
		must(t, s.Update(func(tx *Tx) error {
			m, l := tx.Map("m"), tx.Log("l")
			must(t, m.Put([]byte("a"), []byte("1")))
			must(t, m.Put([]byte("a"), []byte("2")))
			must(t, m.Put(nil, nil))
			must(t, m.Put([]byte("gone"), []byte("x")))
			must(t, m.Delete([]byte("gone")))
			must(t, m.Delete([]byte("never")))
			for i := range 5 {
				n, err := l.Append([]byte{byte(i)})
				if err != nil || n != uint64(i+1) {
					t.Fatal(n, err)
				}
			}
			must(t, l.Truncate(3))
			n, err := l.Append(nil)
			if err != nil || n != 4 {
				t.Fatal(n, err)
			}
			return nil
		}))
		must(t, s.View(func(tx *Tx) error {
			m, l := tx.Map("m"), tx.Log("l")
			if v, ok, err := m.Get([]byte("a")); string(v) != "2" || !ok || err != nil {
				t.Fatal(v, ok, err)
			}
			if v, ok, err := m.Get(nil); len(v) != 0 || !ok || err != nil {
				t.Fatal(v, ok, err)
			}
			if _, ok, err := m.Get([]byte("gone")); ok || err != nil {
				t.Fatal(ok, err)
			}
			var got [][]byte
			for i, rec := range l.From(2) {
				if int(i) != len(got)+2 {
					t.Fatal("wrong number", i)
				}
				got = append(got, rec)
			}
			if want := [][]byte{{1}, {2}, {}}; !slices.EqualFunc(got, want, bytes.Equal) {
				t.Fatal(got)
			}
			for _, i := range []uint64{0, 5, 1 << 63} {
				_, err := l.Get(i)
				wantErr(t, err, ErrNotFound)
			}
			return nil
		}))
	})
}

func TestNamesKindsAndDrop(t *testing.T) {
	backends(t, func(t *testing.T, s *Store) {
		must(t, s.Update(func(tx *Tx) error {
			for _, n := range []string{"chain/b", "chain/a", "other"} {
				if _, err := tx.Log(n).Append([]byte(n)); err != nil {
					return err
				}
			}
			return tx.Map("chain/m").Put([]byte("k"), nil)
		}))
		names := func(prefix string) (names []string) {
			must(t, s.View(func(tx *Tx) (err error) {
				names, err = tx.Names(prefix)
				return err
			}))
			return names
		}
		if got := names("chain/"); !slices.Equal(got, []string{"chain/a", "chain/b", "chain/m"}) {
			t.Fatal(got)
		}
		wantErr(t, s.Update(func(tx *Tx) error { return tx.Map("other").Put(nil, nil) }), ErrKind)
		must(t, s.Update(func(tx *Tx) error {
			must(t, tx.Drop("absent"))
			must(t, tx.Drop("other"))
			if tx.Log("other").Len() != 0 {
				t.Fatal("dropped log has records")
			}
			return tx.Map("other").Put([]byte("k"), []byte("v"))
		}))
		if got := names(""); len(got) != 4 {
			t.Fatal(got)
		}
	})
}

func TestFailedUpdateLeavesNothing(t *testing.T) {
	backends(t, func(t *testing.T, s *Store) {
		must(t, s.Update(func(tx *Tx) error {
			if _, err := tx.Log("l").Append([]byte("kept")); err != nil {
				return err
			}
			return tx.Map("m").Put([]byte("k"), []byte("old"))
		}))
		mine := errors.New("mine")
		err := s.Update(func(tx *Tx) error {
			must(t, tx.Map("m").Put([]byte("k"), []byte("new")))
			must(t, tx.Map("n").Put([]byte("k"), []byte("new")))
			must(t, tx.Drop("l"))
			return mine
		})
		wantErr(t, err, mine)
		must(t, s.View(func(tx *Tx) error {
			if v, _, _ := tx.Map("m").Get([]byte("k")); string(v) != "old" {
				t.Fatalf("value %q", v)
			}
			if names, _ := tx.Names(""); len(names) != 2 || tx.Log("l").Len() != 1 {
				t.Fatal("rolled back names are there", names)
			}
			return nil
		}))
	})
}

func TestLimitsAndMisuse(t *testing.T) {
	backends(t, func(t *testing.T, s *Store) {
		var kept *Tx
		must(t, s.Update(func(tx *Tx) error {
			kept = tx
			wantErr(t, tx.Map("m").Put(make([]byte, MaxKey+1), nil), ErrTooLarge)
			wantErr(t, tx.Map("m").Put(nil, make([]byte, MaxRecord+1)), ErrTooLarge)
			wantErr(t, tx.Map(string(make([]byte, MaxName+1))).Put(nil, nil), ErrTooLarge)
			_, err := tx.Log("l").Append(make([]byte, MaxRecord+1))
			wantErr(t, err, ErrTooLarge)
			return tx.Map("m").Put(make([]byte, MaxKey), make([]byte, 1<<20))
		}))
		_, _, err := kept.Map("m").Get(nil)
		wantErr(t, err, ErrClosed)
		must(t, s.View(func(tx *Tx) error {
			wantErr(t, tx.Map("m").Put(nil, nil), ErrReadOnly)
			wantErr(t, tx.Map("m").Delete(nil), ErrReadOnly)
			wantErr(t, tx.Log("l").Truncate(0), ErrReadOnly)
			wantErr(t, tx.Drop("m"), ErrReadOnly)
			return nil
		}))
		must(t, s.Close())
		must(t, s.Close())
		nothing := func(*Tx) error { return nil }
		wantErr(t, s.View(nothing), ErrClosed)
		wantErr(t, s.Update(nothing), ErrClosed)
		wantErr(t, s.Queue(nothing), ErrClosed)
		wantErr(t, s.Flush(t.Context()), ErrClosed)
	})
}

func TestQueuedWritesAreSeenAtOnce(t *testing.T) {
	backends(t, func(t *testing.T, s *Store) {
		for i := range 50 {
			must(t, s.Queue(appendOne("l", byte(i))))
			see := func(tx *Tx) error {
				if got := tx.Log("l").Len(); got != uint64(i+1) {
					t.Fatalf("%d records after %d", got, i+1)
				}
				return nil
			}
			if i%7 == 0 {
				must(t, s.Update(see))
			} else {
				must(t, s.View(see))
			}
		}
		must(t, s.Flush(t.Context()))
		must(t, s.Flush(t.Context()))
	})
}

func appendOne(log string, b byte) func(*Tx) error {
	return func(tx *Tx) error {
		_, err := tx.Log(log).Append([]byte{b})
		return err
	}
}

func TestFailedQueuedWriteStopsTheStore(t *testing.T) {
	mine := errors.New("mine")
	told := make(chan error, 2)
	s, err := Open("", Options{Memory: true, OnError: func(err error) { told <- err }})
	must(t, err)
	must(t, s.Queue(appendOne("l", 1)))
	must(t, s.Flush(t.Context()))
	must(t, s.Queue(appendOne("l", 2)))
	must(t, s.Queue(func(*Tx) error { return mine }))
	wantErr(t, s.Flush(t.Context()), mine)
	wantErr(t, <-told, mine)
	wantErr(t, s.Err(), mine)
	wantErr(t, s.Queue(appendOne("l", 3)), mine)
	wantErr(t, s.View(func(*Tx) error { return nil }), mine)
	wantErr(t, s.Update(func(*Tx) error { return nil }), mine)
	wantErr(t, s.Close(), mine)
	if len(told) != 0 {
		t.Fatal("told twice")
	}
}

func TestPanicOfAQueuedWriteIsNotSwallowed(t *testing.T) {
	s, err := Open("", Options{Memory: true})
	must(t, err)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("panic was swallowed")
			}
		}()
		_ = s.Update(func(*Tx) error { panic("bug") })
	}()
	must(t, s.Update(appendOne("l", 1))) // the lock was given back
	must(t, s.Close())
}

func TestFlushObeysItsContext(t *testing.T) {
	s, err := Open("", Options{Memory: true})
	must(t, err)
	inside, leave := make(chan struct{}), make(chan struct{})
	must(t, s.Queue(func(*Tx) error { close(inside); <-leave; return nil }))
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, s.Flush(ctx), context.Canceled)
	close(leave)
	must(t, s.Flush(t.Context()))
	must(t, s.Close())
}

// TestGroupCommitWindow counts commits: what is queued within 20 ms is one, and none waits longer.
func TestGroupCommitWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, err := newKeys(testKey)
		must(t, err)
		be := &countingBackend{backend: newMemory()}
		s := start(be, k, func() error { return nil }, nil)
		for range 3 {
			begin, before := time.Now(), be.commits.Load()
			for i := range 10 {
				must(t, s.Queue(appendOne("l", byte(i))))
			}
			synctest.Wait()
			if be.commits.Load() != before {
				t.Fatal("committed before the window ended")
			}
			time.Sleep(commitWindow - time.Since(begin))
			synctest.Wait()
			if be.commits.Load() != before+1 {
				t.Fatalf("%d commits within the window", be.commits.Load()-before)
			}
		}
		must(t, s.Queue(appendOne("l", 1)))
		begin := time.Now()
		must(t, s.Flush(t.Context()))
		if time.Since(begin) != 0 {
			t.Fatal("Flush waited for the window")
		}
		must(t, s.Close())
	})
}

type countingBackend struct {
	backend
	commits atomic.Int64
	fail    error
}

func (c *countingBackend) begin(write bool) (rawTx, error) {
	tx, err := c.backend.begin(write)
	return countingTx{tx, c}, err
}

type countingTx struct {
	rawTx
	c *countingBackend
}

func (t countingTx) commit() error {
	if t.c.fail != nil {
		t.rollback()
		return t.c.fail
	}
	t.c.commits.Add(1)
	return t.rawTx.commit()
}

// TestModel compares the store with plain Go maps and slices over random transactions, some of which fail.
func TestModel(t *testing.T) {
	backends(t, func(t *testing.T, s *Store) {
		rnd := rand.New(rand.NewPCG(1, 2))
		want := model{maps: map[string]map[string]string{}, logs: map[string][]string{}}
		for step := range 150 {
			next, ops, fails := want.clone(), randomOps(rnd), rnd.IntN(5) == 0
			oops := errors.New("oops")
			fn := func(tx *Tx) error {
				for _, o := range ops {
					if err := o.store(tx); err != nil {
						return err
					}
				}
				if fails {
					return oops
				}
				return nil
			}
			for _, o := range ops {
				o.model(&next)
			}
			if fails {
				wantErr(t, s.Update(fn), oops)
			} else {
				if rnd.IntN(2) == 0 {
					must(t, s.Queue(fn))
				} else {
					must(t, s.Update(fn))
				}
				want = next
			}
			if step%5 == 0 {
				must(t, s.View(want.compare))
			}
		}
		must(t, s.View(want.compare))
	})
}

type model struct {
	maps map[string]map[string]string
	logs map[string][]string
}

func (m model) clone() model {
	c := model{maps: map[string]map[string]string{}, logs: map[string][]string{}}
	for n, v := range m.maps {
		c.maps[n] = map[string]string{}
		for k, x := range v {
			c.maps[n][k] = x
		}
	}
	for n, l := range m.logs {
		c.logs[n] = slices.Clone(l)
	}
	return c
}

func (m model) compare(tx *Tx) error {
	for _, n := range []string{"m0", "m1", "m2"} {
		got := map[string]string{}
		for k, v := range tx.Map(n).All() {
			got[string(k)] = string(v)
		}
		if fmt.Sprint(got) != fmt.Sprint(m.maps[n]) && len(got)+len(m.maps[n]) > 0 {
			return fmt.Errorf("map %s: %d entries, want %d", n, len(got), len(m.maps[n]))
		}
	}
	for _, n := range []string{"l0", "l1", "l2"} {
		var got []string
		for _, rec := range tx.Log(n).From(0) {
			got = append(got, string(rec))
		}
		if !slices.Equal(got, m.logs[n]) || tx.Log(n).Len() != uint64(len(got)) {
			return fmt.Errorf("log %s: %d records, want %d", n, len(got), len(m.logs[n]))
		}
	}
	return nil
}

type op struct {
	store func(*Tx) error
	model func(*model)
}

func randomOps(rnd *rand.Rand) []op {
	var ops []op
	for range 1 + rnd.IntN(20) {
		i := rnd.IntN(3)
		m, l, k := fmt.Sprintf("m%d", i), fmt.Sprintf("l%d", i), fmt.Sprintf("key%d", rnd.IntN(30))
		v := string(make([]byte, rnd.IntN(3000))) + fmt.Sprint(rnd.Int())
		switch rnd.IntN(12) {
		case 0:
			ops = append(ops, op{func(tx *Tx) error { return tx.Drop(m) }, func(w *model) { delete(w.maps, m) }})
		case 1:
			n := rnd.IntN(10)
			ops = append(ops, op{func(tx *Tx) error { return tx.Log(l).Truncate(uint64(n)) },
				func(w *model) { w.logs[l] = w.logs[l][:min(n, len(w.logs[l]))] }})
		case 2, 3:
			ops = append(ops, op{func(tx *Tx) error { return tx.Map(m).Delete([]byte(k)) },
				func(w *model) { delete(w.maps[m], k) }})
		case 4, 5, 6, 7:
			ops = append(ops, op{func(tx *Tx) error { return tx.Map(m).Put([]byte(k), []byte(v)) },
				func(w *model) {
					if w.maps[m] == nil {
						w.maps[m] = map[string]string{}
					}
					w.maps[m][k] = v
				}})
		default:
			ops = append(ops, op{func(tx *Tx) error { _, err := tx.Log(l).Append([]byte(v)); return err },
				func(w *model) { w.logs[l] = append(w.logs[l], v) }})
		}
	}
	return ops
}

// TestConcurrentUse has writers, readers and flushers at once; the race detector and the invariant judge.
func TestConcurrentUse(t *testing.T) {
	backends(t, func(t *testing.T, s *Store) {
		const workers, each = 4, 60
		done := make(chan error, 3*workers)
		for range workers {
			go func() {
				for range each {
					if err := s.Queue(both); err != nil {
						done <- err
						return
					}
				}
				done <- s.Flush(context.Background())
			}()
			go func() {
				var err error
				for range each {
					err = errors.Join(err, s.View(equal))
				}
				done <- err
			}()
			go func() {
				var err error
				for range each / 10 {
					err = errors.Join(err, s.Update(both))
				}
				done <- err
			}()
		}
		for range 3 * workers {
			must(t, <-done)
		}
		must(t, s.View(func(tx *Tx) error {
			if got := tx.Log("a").Len(); got != workers*(each+each/10) {
				t.Fatal(got)
			}
			return equal(tx)
		}))
	})
}

func both(tx *Tx) error {
	_, err := tx.Log("a").Append([]byte("x"))
	_, err2 := tx.Log("b").Append([]byte("y"))
	return errors.Join(err, err2)
}

func equal(tx *Tx) error {
	if a, b := tx.Log("a").Len(), tx.Log("b").Len(); a != b {
		return fmt.Errorf("a transaction was seen half: %d and %d", a, b)
	}
	return nil
}
