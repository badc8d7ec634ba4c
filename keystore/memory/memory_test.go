package memory_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/keystoretest"
	"github.com/studio-whip/collab/keystore/memory"
)

func TestConformance(t *testing.T) {
	keystoretest.Run(t, func(t *testing.T) keystore.Store { return memory.New() })
}

func TestClosed(t *testing.T) {
	s := memory.New()
	if err := s.Put(t.Context(), "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, keystore.ErrClosed) {
		t.Errorf("Get: %v", err)
	}
	if err := s.Put(t.Context(), "a", []byte("x")); !errors.Is(err, keystore.ErrClosed) {
		t.Errorf("Put: %v", err)
	}
	if err := s.Delete(t.Context(), "a"); !errors.Is(err, keystore.ErrClosed) {
		t.Errorf("Delete: %v", err)
	}
}

func TestPrintsNoSecret(t *testing.T) {
	s := memory.New()
	if err := s.Put(t.Context(), "a", []byte("hunter2")); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		out := fmt.Sprintf(format, s)
		if strings.Contains(out, "hunter2") || strings.Contains(out, "68756e746572") || strings.Contains(out, "104 117 110") {
			t.Errorf("%s shows the secret: %s", format, out)
		}
	}
}

func Example() {
	s := memory.New()
	defer s.Close()
	ctx := context.Background()
	_ = s.Put(ctx, "seed", []byte("not really random"))
	secret, err := s.Get(ctx, "seed")
	fmt.Println(len(secret), err)
	// Output: 17 <nil>
}
