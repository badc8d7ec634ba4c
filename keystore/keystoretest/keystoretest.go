// Package keystoretest checks that a key store keeps the promises of [keystore.Store]. Every store of this module
// passes it; run it on your own.
package keystoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/studio-whip/collab/keystore"
)

// Run runs the suite, each test on a store that open returns. Names begin with "keystoretest/"; a store that outlives
// the test should be emptied of them by open's cleanup.
func Run(t *testing.T, open func(t *testing.T) keystore.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s keystore.Store)
	}{
		{"Missing", missing},
		{"RoundTrip", roundTrip},
		{"Overwrite", overwrite},
		{"Delete", deleted},
		{"Separate", separate},
		{"Copies", copies},
		{"Limits", limits},
		{"Names", names},
		{"Cancelled", cancelled},
		{"Concurrent", concurrent},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// Names are the names that the suite uses, for a cleanup.
func Names() []string {
	out := []string{name("a"), name("a/b"), name("b"), name("A"), longName()}
	for i := range writers {
		out = append(out, name(fmt.Sprintf("writer-%d", i)))
	}
	return append(out, name("shared"))
}

const writers = 8

func name(s string) string { return "keystoretest/" + s }

func longName() string {
	prefix := name("~!@#$%^&*()_+{}|:\"<>?`-=[]\\;',./")
	return prefix + strings.Repeat("x", keystore.MaxName-len(prefix))
}

func put(t *testing.T, s keystore.Store, name string, secret []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, secret); err != nil {
		t.Fatalf("Put(%s): %v", name, err)
	}
}

func want(t *testing.T, s keystore.Store, name string, secret []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), name)
	if err != nil {
		t.Fatalf("Get(%s): %v", name, err)
	}
	if !bytes.Equal(got, secret) {
		t.Fatalf("Get(%s) returned %d bytes that differ from the %d stored", name, len(got), len(secret))
	}
}

func wantMissing(t *testing.T, s keystore.Store, name string) {
	t.Helper()
	if got, err := s.Get(t.Context(), name); !errors.Is(err, keystore.ErrNotFound) || got != nil {
		t.Fatalf("Get(%s) = %d bytes, %v; want ErrNotFound", name, len(got), err)
	}
}

func missing(t *testing.T, s keystore.Store) {
	wantMissing(t, s, name("a"))
	if err := s.Delete(t.Context(), name("a")); err != nil {
		t.Fatalf("Delete of what is not there: %v", err)
	}
}

// every byte value, so that stores behind text formats are found out.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func roundTrip(t *testing.T, s keystore.Store) {
	for _, n := range []int{1, 2, 31, 32, 33, 256, 1000, keystore.MaxSecret} {
		put(t, s, name("a"), pattern(n))
		want(t, s, name("a"), pattern(n))
	}
	for _, secret := range [][]byte{{0}, {0, 0, 0}, []byte("a\nb\r\n"), {0xff, 0xfe, 0x80}} {
		put(t, s, name("a"), secret)
		want(t, s, name("a"), secret)
	}
}

func overwrite(t *testing.T, s keystore.Store) {
	put(t, s, name("a"), pattern(100))
	put(t, s, name("a"), []byte("new"))
	want(t, s, name("a"), []byte("new"))
	want(t, s, name("a"), []byte("new"))
}

func deleted(t *testing.T, s keystore.Store) {
	put(t, s, name("a"), []byte("secret"))
	put(t, s, name("b"), []byte("other"))
	if err := s.Delete(t.Context(), name("a")); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	wantMissing(t, s, name("a"))
	want(t, s, name("b"), []byte("other"))
	put(t, s, name("a"), []byte("again"))
	want(t, s, name("a"), []byte("again"))
}

func separate(t *testing.T, s keystore.Store) {
	all := []string{name("a"), name("a/b"), name("b"), name("A"), longName()}
	for _, n := range all {
		put(t, s, n, []byte("secret of "+n))
	}
	for _, n := range all {
		want(t, s, n, []byte("secret of "+n))
	}
}

func copies(t *testing.T, s keystore.Store) {
	secret := []byte("secret")
	put(t, s, name("a"), secret)
	clear(secret)
	want(t, s, name("a"), []byte("secret"))
	got, err := s.Get(t.Context(), name("a"))
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	want(t, s, name("a"), []byte("secret"))
}

func limits(t *testing.T, s keystore.Store) {
	put(t, s, name("a"), []byte("kept"))
	err := s.Put(t.Context(), name("a"), bytes.Repeat([]byte("hunter2"), keystore.MaxSecret))
	if !errors.Is(err, keystore.ErrTooBig) {
		t.Fatalf("Put of more than MaxSecret: %v; want ErrTooBig", err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("the error shows the secret: %v", err)
	}
	if err := s.Put(t.Context(), name("a"), nil); !errors.Is(err, keystore.ErrInvalid) {
		t.Fatalf("Put of nothing: %v; want ErrInvalid", err)
	}
	want(t, s, name("a"), []byte("kept"))
}

func names(t *testing.T, s keystore.Store) {
	for _, bad := range []string{"", " ", "a b", "a\n", "a\x00b", "\x7f", "ä", strings.Repeat("x", keystore.MaxName+1)} {
		if err := s.Put(t.Context(), bad, []byte("x")); !errors.Is(err, keystore.ErrInvalid) {
			t.Errorf("Put(%q): %v; want ErrInvalid", bad, err)
		}
		if _, err := s.Get(t.Context(), bad); !errors.Is(err, keystore.ErrInvalid) {
			t.Errorf("Get(%q): %v; want ErrInvalid", bad, err)
		}
		if err := s.Delete(t.Context(), bad); !errors.Is(err, keystore.ErrInvalid) {
			t.Errorf("Delete(%q): %v; want ErrInvalid", bad, err)
		}
	}
}

func cancelled(t *testing.T, s keystore.Store) {
	put(t, s, name("a"), []byte("kept"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, name("a"), []byte("lost")); !errors.Is(err, context.Canceled) {
		t.Errorf("Put with an ended context: %v; want context.Canceled", err)
	}
	if _, err := s.Get(ctx, name("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("Get with an ended context: %v; want context.Canceled", err)
	}
	if err := s.Delete(ctx, name("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete with an ended context: %v; want context.Canceled", err)
	}
	want(t, s, name("a"), []byte("kept"))
}

// concurrent writers of their own names lose nothing, and a name that all of them write holds what one of them wrote.
func concurrent(t *testing.T, s keystore.Store) {
	var wg sync.WaitGroup
	errs := make(chan error, 2*writers)
	secret := func(i, round int) []byte { return fmt.Appendf(nil, "writer %d round %d", i, round) }
	const rounds = 4
	for i := range writers {
		wg.Go(func() {
			for round := range rounds {
				for _, n := range []string{fmt.Sprintf("writer-%d", i), "shared"} {
					if err := s.Put(t.Context(), name(n), secret(i, round)); err != nil {
						errs <- err
						return
					}
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
	shared, err := s.Get(t.Context(), name("shared"))
	if err != nil {
		t.Fatal(err)
	}
	whole := false
	for i := range writers {
		want(t, s, name(fmt.Sprintf("writer-%d", i)), secret(i, rounds-1))
		whole = whole || bytes.Equal(shared, secret(i, rounds-1))
	}
	if !whole {
		t.Fatalf("the shared name holds %q, which nobody wrote last", shared)
	}
}
