package store

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// filled makes a closed store with some content and returns its path.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sub", "db")
	s := openTest(t, path)
	must(t, s.Update(fill))
	must(t, s.Close())
	return path
}

func fill(tx *Tx) error {
	for i := range 200 {
		if _, err := tx.Log("secret-log").Append(record(i)); err != nil {
			return err
		}
		if err := tx.Map("secret-map").Put(fmt.Appendf(nil, "secret-key-%d", i), record(i)); err != nil {
			return err
		}
	}
	return nil
}

func record(i int) []byte {
	return []byte(fmt.Sprintf("secret-value-%d-", i) + strings.Repeat("z", i*3))
}

// verify reads all that fill wrote. The error is damage; wrong data fails the test.
func verify(t *testing.T, s *Store) error {
	t.Helper()
	return s.View(func(tx *Tx) error {
		l := tx.Log("secret-log")
		n := 0
		for i, rec := range l.From(1) {
			if !bytes.Equal(rec, record(int(i-1))) {
				t.Errorf("record %d is wrong", i)
			}
			n++
		}
		for i := range 200 {
			v, ok, err := tx.Map("secret-map").Get(fmt.Appendf(nil, "secret-key-%d", i))
			if err != nil {
				return err
			}
			if ok && !bytes.Equal(v, record(i)) {
				t.Errorf("entry %d is wrong", i)
			}
		}
		for k, v := range tx.Map("secret-map").All() {
			var i int
			if _, err := fmt.Sscanf(string(k), "secret-key-%d", &i); err != nil || !bytes.Equal(v, record(i)) {
				t.Errorf("entry %q is wrong", k)
			}
		}
		return nil
	})
}

func TestReopen(t *testing.T) {
	path := filled(t)
	s := openTest(t, path)
	must(t, verify(t, s))
	must(t, s.View(func(tx *Tx) error {
		if tx.Log("secret-log").Len() != 200 {
			t.Error("records are missing")
		}
		return nil
	}))
	for _, p := range []string{path, path + ".lock"} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", p, info.Mode(), err)
		}
	}
}

func TestCloseCommitsTheQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openTest(t, path)
	for i := range 10 {
		must(t, s.Queue(appendOne("l", byte(i))))
	}
	must(t, s.Close())
	must(t, openTest(t, path).View(func(tx *Tx) error {
		if got := tx.Log("l").Len(); got != 10 {
			t.Errorf("%d records", got)
		}
		return nil
	}))
}

func TestNothingPlain(t *testing.T) {
	path := filled(t)
	raw, err := os.ReadFile(path)
	must(t, err)
	for _, plain := range []string{"secret", "zzzz", string(testKey[:8])} {
		if bytes.Contains(raw, []byte(plain)) {
			t.Errorf("the file contains %q", plain)
		}
	}
}

func TestEqualContentGivesUnequalFiles(t *testing.T) {
	names := func() (names string) {
		db, err := bolt.Open(filled(t), 0o600, nil)
		must(t, err)
		defer db.Close()
		must(t, db.View(func(tx *bolt.Tx) error {
			return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
				names += hex.EncodeToString(name) + "\n"
				return nil
			})
		}))
		return names
	}
	if first, second := names(), names(); first == second {
		t.Error("two stores under one key hash names alike")
	}
}

func TestInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openTest(t, path)
	_, err := Open(path, Options{Key: testKey})
	wantErr(t, err, ErrInUse)
	must(t, os.Remove(path+".lock")) // even without the lock file
	_, err = Open(path, Options{Key: testKey})
	wantErr(t, err, ErrInUse)
	must(t, s.Close())
	must(t, openTest(t, path).Close())
}

func TestWrongKey(t *testing.T) {
	_, err := Open(filled(t), Options{Key: [32]byte{9}})
	wantErr(t, err, ErrWrongKey)
}

func TestKeyIsNeededAndNotPrinted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	if _, err := Open(path, Options{}); err == nil {
		t.Error("a file was made without a key")
	}
	o := Options{Key: [32]byte([]byte("secret key secret key secret key"))}
	j, err := json.Marshal(o)
	must(t, err)
	if out := fmt.Sprintf("%v %+v %#v %x %s", o, &o, o, o, j); strings.Contains(out, "secret") ||
		strings.Contains(out, "736563726574") || strings.Contains(out, "115 101") || strings.Contains(out, "0x73") {
		t.Error(out)
	}
}

func TestForeignFile(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	must(t, os.WriteFile(empty, nil, 0o600))
	text := filepath.Join(dir, "text")
	must(t, os.WriteFile(text, bytes.Repeat([]byte("not a store "), 5000), 0o600))
	other := filepath.Join(dir, "other")
	db, err := bolt.Open(other, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err }))
	must(t, db.Close())
	for _, path := range []string{empty, text, other} {
		_, err := Open(path, Options{Key: testKey})
		wantErr(t, err, ErrDamaged)
	}
	if _, err := Open(dir, Options{Key: testKey}); err == nil {
		t.Error("a folder was opened")
	}
}

func TestTruncatedFile(t *testing.T) {
	path := filled(t)
	raw, err := os.ReadFile(path)
	must(t, err)
	m, err := newestMeta(bytes.NewReader(raw))
	must(t, err)
	whole := int(m.next * m.pageSize)
	for size := 0; size < whole; size += 1 + whole/97 {
		must(t, os.WriteFile(path, raw[:size], 0o600))
		_, err := Open(path, Options{Key: testKey})
		wantErr(t, err, ErrDamaged)
	}
	must(t, os.WriteFile(path, raw[:whole], 0o600))
	must(t, verify(t, openTest(t, path)))
}

// TestTruncatedWhileOpen takes the file away under the running store: reading it faults, and must not kill us.
func TestTruncatedWhileOpen(t *testing.T) {
	path := filled(t)
	s := openTest(t, path)
	must(t, os.Truncate(path, 8192))
	wantErr(t, verify(t, s), ErrDamaged)
	wantErr(t, s.Update(fill), ErrDamaged)
	_ = s.Close()
}

// TestFlippedBytes changes one byte at a time, all over the file: what is read is right, or a typed error. It leaves
// out one field, how many pages a page continues over: bbolt frees as many as it says, for hours if need be.
func TestFlippedBytes(t *testing.T) {
	path := filled(t)
	raw, err := os.ReadFile(path)
	must(t, err)
	m, err := newestMeta(bytes.NewReader(raw))
	must(t, err)
	noticed, stride := 0, 1409
	if testing.Short() {
		stride = 7001
	}
	for at := 0; at < int(m.next*m.pageSize); at += stride {
		if inPage := at % int(m.pageSize); inPage >= 12 && inPage < 16 {
			continue
		}
		must(t, os.WriteFile(path, flipped(raw, at), 0o600))
		s, err := Open(path, Options{Key: testKey})
		if err == nil {
			err = verify(t, s)
			if updateErr := s.Update(fill); err == nil {
				err = updateErr
			}
			_ = s.Close()
		}
		if err != nil {
			noticed++
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrWrongKey) {
				t.Fatalf("byte %d: %v", at, err)
			}
		}
	}
	if noticed == 0 {
		t.Error("no damage was noticed")
	}
}

// TestFlippedValue damages each sealed value of one log in turn.
func TestFlippedValue(t *testing.T) {
	path := filled(t)
	raw, err := os.ReadFile(path)
	must(t, err)
	var sealed [][]byte
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			if bytes.Equal(name, magic) {
				return nil
			}
			return b.ForEach(func(_, v []byte) error { sealed = append(sealed, bytes.Clone(v)); return nil })
		})
	}))
	must(t, db.Close())
	if len(sealed) < 400 {
		t.Fatal(len(sealed))
	}
	for i, v := range sealed {
		if i%5 != 0 {
			continue
		}
		at := bytes.LastIndex(raw, v)
		must(t, os.WriteFile(path, flipped(raw, at+len(v)/2), 0o600))
		s := openTest(t, path)
		wantErr(t, verify(t, s), ErrDamaged)
		must(t, s.Close())
	}
}

func flipped(raw []byte, at int) []byte {
	raw = bytes.Clone(raw)
	raw[at] ^= 0xff
	return raw
}

func TestHalfMadeFileIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	must(t, os.WriteFile(path+".new", []byte("half"), 0o600))
	must(t, openTest(t, path).Close())
	if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Error("the draft was left", err)
	}
}

// TestDiskFull lets the commit fail as a full disk would.
func TestDiskFull(t *testing.T) {
	for _, queued := range []bool{true, false} {
		k, err := newKeys(testKey)
		must(t, err)
		be := &countingBackend{backend: newMemory()}
		s := start(be, k, func() error { return nil }, nil)
		must(t, s.Update(appendOne("l", 1)))
		be.fail = &os.PathError{Op: "write", Path: "db", Err: syscall.ENOSPC}
		if queued {
			must(t, s.Queue(appendOne("l", 2)))
			err = s.Flush(t.Context())
		} else {
			err = s.Update(appendOne("l", 2))
		}
		wantErr(t, err, ErrDiskFull)
		wantErr(t, s.Queue(appendOne("l", 3)), ErrDiskFull)
		wantErr(t, s.Close(), ErrDiskFull)
	}
}
