// Package memory is a key store that forgets everything when the program ends. It is for tests.
package memory

import (
	"bytes"
	"context"
	"sync"

	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/keystore"
)

// Store is a [keystore.Store] in memory.
type Store struct {
	mu      sync.Mutex
	secrets map[string]*secmem.Bytes // nil once closed
}

// New returns an empty store.
func New() *Store { return &Store{secrets: make(map[string]*secmem.Bytes)} }

// Get returns a copy of a secret.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	unlock, err := s.enter(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	secret, ok := s.secrets[name]
	if !ok {
		return nil, keystore.ErrNotFound
	}
	return bytes.Clone(secret.Bytes()), nil
}

// Put stores a copy of secret.
func (s *Store) Put(ctx context.Context, name string, secret []byte) error {
	if err := keystore.CheckSecret(secret); err != nil {
		return err
	}
	unlock, err := s.enter(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	s.secrets[name].Wipe()
	s.secrets[name] = secmem.New(bytes.Clone(secret))
	return nil
}

// Delete wipes a secret.
func (s *Store) Delete(ctx context.Context, name string) error {
	unlock, err := s.enter(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	s.secrets[name].Wipe()
	delete(s.secrets, name)
	return nil
}

// Close wipes every secret. Later calls fail with [keystore.ErrClosed].
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.secrets {
		secret.Wipe()
	}
	s.secrets = nil
	return nil
}

// enter checks a call and takes the lock.
func (s *Store) enter(ctx context.Context, name string) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := keystore.CheckName(name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.secrets == nil {
		s.mu.Unlock()
		return nil, keystore.ErrClosed
	}
	return s.mu.Unlock, nil
}
