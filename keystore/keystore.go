// Package keystore says how a program keeps the few small secrets that everything else hangs on: seeds and the key of
// its store.
//
// [Store] is all that the library asks for. Built in are the operating system's keychain (package osring), a file
// sealed under a passphrase or a key (package file) and, for tests, plain memory (package memory). There is no silent
// fall-back from one to another: where the keychain cannot be used, the program decides.
//
// [Token] is a small device with a PIN, such as a YubiKey: it opens what was sealed to it and carries a few sealed
// secrets.
//
// A store of your own has about 20 lines; package keystoretest checks that it keeps the promises below.
package keystore

import (
	"context"
	"errors"
	"fmt"
)

// Store keeps secrets by name. It is safe for concurrent use.
//
// Every method checks its arguments with [CheckName] and [CheckSecret] and returns ctx's error if ctx has ended. A
// method that fails leaves the old secret in place, or says in its error that it cannot know.
type Store interface {
	// Get returns a copy of a secret; the caller wipes it after use. It fails with ErrNotFound if there is none.
	Get(ctx context.Context, name string) ([]byte, error)
	// Put stores a copy of secret under name, in place of what was there. When it returns nil the secret survives
	// the end of the program (except in package memory).
	Put(ctx context.Context, name string, secret []byte) error
	// Delete removes a secret. Deleting what is not there is no error.
	Delete(ctx context.Context, name string) error
}

// Errors of finding and storing.
var (
	// ErrNotFound means that no secret has this name.
	ErrNotFound = errors.New("keystore: no such secret")
	// ErrTooBig means that a secret has more than MaxSecret bytes, or that the store is full.
	ErrTooBig = errors.New("keystore: too big")
	// ErrInvalid means that a name or secret cannot be stored anywhere; it is a mistake of the program.
	ErrInvalid = errors.New("keystore: name or secret cannot be stored")
	// ErrClosed means that the store was closed.
	ErrClosed = errors.New("keystore: closed")
)

// Errors of a keychain.
var (
	// ErrLocked means that the keychain is there but locked: unlock it and try again.
	ErrLocked = errors.New("keystore: keychain is locked")
	// ErrUnavailable means that there is no keychain that this program could use.
	ErrUnavailable = errors.New("keystore: no usable keychain")
	// ErrTimeout means that the keychain did not answer in time; perhaps it waits for a person.
	ErrTimeout = errors.New("keystore: keychain did not answer in time")
	// ErrDenied means that the system or a person refused access.
	ErrDenied = errors.New("keystore: access denied")
)

// Errors of opening a file.
var (
	// ErrWrongPassphrase means that the passphrase or key is not the one that the file was sealed under.
	ErrWrongPassphrase = errors.New("keystore: wrong passphrase or key")
	// ErrDamaged means that stored bytes are not what was written: truncated, altered, or another program's.
	ErrDamaged = errors.New("keystore: damaged")
	// ErrInUse means that another program, or another part of this one, has the file open.
	ErrInUse = errors.New("keystore: in use")
	// ErrExposed means that others may read or replace the file.
	ErrExposed = errors.New("keystore: file is open to others")
)

// CheckName fails with [ErrInvalid] unless name has 1 to [MaxName] bytes, all of them printable ASCII and no space.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > MaxName {
		return fmt.Errorf("%w: a name has 1 to %d bytes, not %d", ErrInvalid, MaxName, len(name))
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return fmt.Errorf("%w: byte %d of the name is not printable ASCII", ErrInvalid, i)
		}
	}
	return nil
}

// CheckSecret fails with [ErrInvalid] if secret is empty and with [ErrTooBig] if it has more than [MaxSecret] bytes.
func CheckSecret(secret []byte) error {
	if len(secret) == 0 {
		return fmt.Errorf("%w: the secret is empty", ErrInvalid)
	}
	if len(secret) > MaxSecret {
		return fmt.Errorf("%w: secret of %d bytes, at most %d can be stored; store a key and keep the rest sealed under it",
			ErrTooBig, len(secret), MaxSecret)
	}
	return nil
}
