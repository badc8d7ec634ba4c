package collab

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/invite"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/memory"
	"github.com/studio-whip/collab/sync/journal"
	"github.com/studio-whip/collab/sync/live"
	"github.com/studio-whip/collab/sync/membership"
)

// TestTranslations wraps what the rooms below return: the caller finds the facade's error and the cause.
func TestTranslations(t *testing.T) {
	for _, tc := range []struct{ from, want error }{
		{store.ErrDamaged, ErrDamaged}, {store.ErrInUse, ErrInUse}, {&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, ErrDiskFull},
		{&invite.UsedError{}, ErrInviteUsed}, {invite.ErrVersion, ErrVersion}, {invite.ErrFull, ErrDenied},
		{&governance.DeniedError{}, ErrDenied}, {genesis.ErrUpgradeRequired, ErrVersion}, {wire.ErrVersion, ErrVersion},
		{membership.ErrNoEpoch, ErrUnreachable}, {membership.ErrNotAdmitted, ErrInviteInvalid}, {membership.ErrInDoubt, ErrUnreachable},
		{&p2p.DialError{Kind: p2p.ErrUnreachable}, ErrUnreachable}, {p2p.ErrGuestBusy, ErrUnreachable}, {p2p.ErrClosed, ErrClosed},
		{journal.ErrTooLarge, ErrTooLarge}, {journal.ErrReadOnly, ErrDenied}, {live.ErrTooFast, ErrTooFast},
		{keystore.ErrExposed, keystore.ErrExposed}, {keystore.ErrLocked, keystore.ErrLocked}, {journal.ErrName, journal.ErrName},
		{context.Canceled, context.Canceled},
	} {
		err := wrap("act", fmt.Errorf("room: %w", tc.from))
		if !errors.Is(err, tc.want) || !errors.Is(err, tc.from) || !strings.HasPrefix(err.Error(), "collab: ") {
			t.Errorf("%v became %v; want %v", tc.from, err, tc.want)
		}
	}
	var used *UsedError
	if err := wrap("join", &invite.UsedError{First: MemberID{7}}); !errors.As(err, &used) || used.First != (MemberID{7}) {
		t.Errorf("who used the invite is lost: %v", err)
	}
}

// TestCustodiansErrorsStay checks that a custodian's trouble is not taken for this node's.
func TestCustodiansErrorsStay(t *testing.T) {
	quorum := &genesis.QuorumError{Need: 2, Answers: map[string]error{"stick": keystore.ErrInUse, "chain": keystore.ErrDamaged}}
	err := wrap("authorize", quorum)
	if errors.Is(err, ErrInUse) || errors.Is(err, ErrDamaged) || !errors.Is(err, keystore.ErrInUse) {
		t.Errorf("became %v", err)
	}
}

// TestForeignKey opens a directory whose item in the key store is not its key.
func TestForeignKey(t *testing.T) {
	dir, ks := filepath.Join(t.TempDir(), "state"), memory.New()
	local := WithListen("/ip4/127.0.0.1/udp/0/quic-v1")
	n, err := Open(t.Context(), WithDir(dir), WithKeyStore(ks), WithName("Ada"), local)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	profile, err := os.ReadFile(filepath.Join(dir, "profile"))
	if err != nil {
		t.Fatal(err)
	}
	item := "collab-" + strings.TrimSpace(string(profile))
	for _, tc := range []struct {
		text string
		want error
	}{
		{"", ErrDamaged}, {"short", ErrDamaged}, {strings.Repeat("A", 100), ErrDamaged}, {strings.Repeat("!", 43), ErrDamaged},
		{base64.RawStdEncoding.EncodeToString(make([]byte, 32)), ErrKeyMissing},
	} {
		if err := ks.Put(t.Context(), item, []byte(tc.text)); err != nil {
			t.Logf("%q cannot be kept: %v", tc.text, err)
			continue
		}
		n, err := Open(t.Context(), WithDir(dir), WithKeyStore(ks), local)
		if !errors.Is(err, tc.want) {
			t.Errorf("with the item %q: %v; want %v", tc.text, err, tc.want)
		}
		if err == nil {
			_ = n.Close()
		}
	}
}

// countingKeys counts what lies in a key store.
type countingKeys struct {
	KeyStore
	held map[string]bool
}

func (k *countingKeys) Put(ctx context.Context, name string, secret []byte) error {
	k.held[name] = true
	return k.KeyStore.Put(ctx, name, secret)
}

func (k *countingKeys) Delete(ctx context.Context, name string) error {
	delete(k.held, name)
	return k.KeyStore.Delete(ctx, name)
}

// TestFailedStart opens a node where no directory can be: the key store keeps nothing of it.
func TestFailedStart(t *testing.T) {
	inTheWay := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ks := &countingKeys{memory.New(), map[string]bool{}}
	n, err := Open(t.Context(), WithDir(filepath.Join(inTheWay, "state")), WithKeyStore(ks))
	if err == nil {
		_ = n.Close()
		t.Fatal("opened")
	}
	if !strings.HasPrefix(err.Error(), "collab: ") || len(ks.held) > 0 {
		t.Errorf("%v; the key store holds %d items, want none", err, len(ks.held))
	}
}

// TestFailedFounding founds a project in a node that cannot keep it: no share stays behind.
func TestFailedFounding(t *testing.T) {
	cost.ForTests(t)
	n, err := Open(t.Context(), WithMemory(), WithName("Ada"), WithListen("/ip4/127.0.0.1/udp/0/quic-v1"))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.home.store.Close(); err != nil { // as if its disk had gone
		t.Fatal(err)
	}
	ks := [2]*countingKeys{}
	c := Ceremony{Threshold: 2}
	for i := range ks {
		ks[i] = &countingKeys{memory.New(), map[string]bool{}}
		c.Custodians = append(c.Custodians, KeyStoreCustodian(ks[i]))
	}
	if _, err := n.Create(t.Context(), "The Last Reel", c); err == nil {
		t.Fatal("founded")
	}
	for i := range ks {
		if len(ks[i].held) > 0 {
			t.Errorf("custodian %d still holds %d items", i, len(ks[i].held))
		}
	}
}

// TestInviteBounds asks for invites that cannot be.
func TestInviteBounds(t *testing.T) {
	cost.ForTests(t)
	n, err := Open(t.Context(), WithMemory(), WithName("Ada"), WithListen("/ip4/127.0.0.1/udp/0/quic-v1"))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s, err := n.Create(t.Context(), "The Last Reel", Ceremony{Threshold: 2, Custodians: []Custodian{
		KeyStoreCustodian(memory.New()), KeyStoreCustodian(memory.New()),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]InviteOptions{
		"manager": {Role: RoleManager}, "no role": {Role: 9}, "for ever": {Expires: maxInviteLife + 1}, "over": {Expires: -1},
		"for all": {Uses: maxInviteUses + 1}, "for none": {Uses: -1}, "nobody to ask": {Approve: true},
	} {
		code, err := s.Invite(t.Context(), o)
		if err == nil || code != "" || !strings.HasPrefix(err.Error(), "collab: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
