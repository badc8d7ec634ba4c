package genesis

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/crypto/sign"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

var testTime = time.Unix(1_800_000_000, 0)

// founder is a person with one device, made of fixed seeds.
type founder struct {
	ik     *sign.PrivateKey
	id     *identity.IdentityCert
	device *identity.DeviceCert
}

func newFounder(t testing.TB, fill byte) founder {
	t.Helper()
	seed := func(n byte) identity.Seed { return identity.Seed(bytes.Repeat([]byte{fill + n}, 32)) }
	f := founder{ik: identity.NewIdentityKey(seed(0))}
	var err error
	if f.id, err = identity.NewIdentityCert(f.ik, "Ada", wire.ID{9}, testTime); err != nil {
		t.Fatal(err)
	}
	if f.device, err = identity.NewDeviceCert(f.ik, f.id.Member(), identity.NewDeviceKeys(seed(1), kem.NewPrivateKey(seed(3))), 30); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f founder) founding(threshold int, custodians ...Custodian) Founding {
	return Founding{
		Title: "My film", Policy: DefaultPolicy(), Identity: f.id, Device: f.device,
		Ceremony: Ceremony{Threshold: threshold, Custodians: custodians},
	}
}

// shelf is a custodian in memory. Its fields may be set to make it fail.
type shelf struct {
	label string

	mu      sync.Mutex
	shares  map[ShareRef][]byte
	handed  [][]byte // the very slices that Keep was given
	given   [][]byte // the very slices that Recall returned
	asked   int
	forgot  int
	keepErr error
	recall  func(share []byte) ([]byte, error) // replaces what Recall answers
	forget  error
}

func newShelf(label string) *shelf { return &shelf{label: label, shares: map[ShareRef][]byte{}} }

func shelves(n int) ([]*shelf, []Custodian) {
	s := make([]*shelf, n)
	c := make([]Custodian, n)
	for i := range s {
		s[i] = newShelf(fmt.Sprintf("shelf %d", i+1))
		c[i] = s[i]
	}
	return s, c
}

func (s *shelf) Label() string { return s.label }

func (s *shelf) Keep(_ context.Context, ref ShareRef, share []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handed = append(s.handed, share)
	if s.keepErr != nil {
		return s.keepErr
	}
	s.shares[ref] = bytes.Clone(share)
	return nil
}

func (s *shelf) Recall(_ context.Context, ref ShareRef) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	share, ok := s.shares[ref]
	if !ok {
		return nil, ErrNoShare
	}
	share = bytes.Clone(share)
	if s.recall != nil {
		var err error
		if share, err = s.recall(share); err != nil {
			return nil, err
		}
	}
	s.given = append(s.given, share)
	return share, nil
}

func (s *shelf) Forget(_ context.Context, ref ShareRef) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgot++
	if s.forget == nil {
		delete(s.shares, ref)
	}
	return s.forget
}

// only returns the one share on the shelf and its reference.
func (s *shelf) only(t testing.TB) (ShareRef, []byte) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.shares) != 1 {
		t.Fatalf("%s holds %d shares", s.label, len(s.shares))
	}
	for ref, share := range maps.All(s.shares) {
		return ref, share
	}
	panic("unreachable")
}

func found(t testing.TB, f Founding) *Root {
	t.Helper()
	root, err := Found(t.Context(), rand.Reader, testTime, f)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// authorize rebuilds the key and proves that it is the root's.
func authorize(t testing.TB, root *Root, from ...Custodian) error {
	t.Helper()
	called := 0
	err := Authorize(t.Context(), root, from, func(a *Authority) error {
		called++
		core := []byte("an act")
		sig, err := a.Sign(sign.EventRoot, core)
		if err != nil {
			return err
		}
		if err := root.Holders[0].Key.Verify(sign.EventRoot, core, sig); err != nil {
			t.Errorf("a wrong key was used: %v", err)
		}
		return nil
	})
	if (err == nil) != (called == 1) || called > 1 {
		t.Errorf("fn was called %d times, error %v", called, err)
	}
	return err
}

func TestFoundAndAuthorize(t *testing.T) {
	f := newFounder(t, 1)
	_, custodians := shelves(3)
	root := found(t, f.founding(2, custodians...))
	if root.N != 1 || root.Title != "My film" || ProjectID(root.ID) != root.Project || len(root.Holders) != 1 ||
		root.Holders[0].Member != f.id.Member() || root.Founder.Device.ID != f.device.ID {
		t.Fatalf("root record: %+v", root)
	}
	again, err := ParseRoot(root.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if again.ID != root.ID {
		t.Fatal("the record has another id when it is read again")
	}
	for _, subset := range [][]int{{0, 1}, {0, 2}, {1, 2}, {2, 1}, {0, 1, 2}} {
		var from []Custodian
		for _, i := range subset {
			from = append(from, custodians[i])
		}
		if err := authorize(t, again, from...); err != nil {
			t.Errorf("custodians %v: %v", subset, err)
		}
	}
}

func TestAuthorityEndsWithItsFunction(t *testing.T) {
	_, custodians := shelves(2)
	root := found(t, newFounder(t, 1).founding(2, custodians...))
	var kept *Authority
	mine := errors.New("mine")
	err := Authorize(t.Context(), root, custodians, func(a *Authority) error { kept = a; return mine })
	if !errors.Is(err, mine) {
		t.Fatalf("fn's error became %v", err)
	}
	if _, err := kept.Sign(sign.EventRoot, []byte("later")); !errors.Is(err, ErrClosed) {
		t.Fatalf("a used authority answered %v", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = Authorize(t.Context(), root, custodians, func(a *Authority) error { kept = a; panic("host") })
	}()
	if _, err := kept.Sign(sign.EventRoot, []byte("later")); !errors.Is(err, ErrClosed) {
		t.Fatalf("after a panic the authority answered %v", err)
	}
}
