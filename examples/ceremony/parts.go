package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/genesis/custodian"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/file"
	"github.com/studio-whip/collab/keystore/memory"
	"github.com/studio-whip/collab/keystore/osring"
	"github.com/studio-whip/collab/keystore/yubikey"
)

// parts are the things in which the parts of the key lie.
type parts struct {
	notes       []string // what is real here and what is not, for the person
	keychain    keystore.Store
	newKeychain keystore.Store    // of the computer that comes after the lost one
	second      genesis.Custodian // a token, or a file on another medium
	spare       genesis.Custodian // what takes the place of second once that is lost
	stick       string            // folder of the recovery file
	elsewhere   string            // empty folder: the disk of the new computer
	closers     []func() error
}

func (p *parts) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

func (p *parts) close() error {
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i]())
	}
	return errors.Join(errs...)
}

// findParts looks for real parts, and takes others in the place of those that are missing.
func findParts(ctx context.Context, demo bool, dir, stick string, who person) (*parts, error) {
	p := &parts{stick: stick, elsewhere: filepath.Join(dir, "new-computer")}
	if demo {
		p.stick = filepath.Join(dir, "stick")
	}
	for _, folder := range []string{p.stick, p.elsewhere, filepath.Join(dir, "second"), filepath.Join(dir, "spare")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, err
		}
	}
	if demo {
		p.demoKeychain(ctx, dir)
	}
	if err := p.keychains(dir); err != nil {
		return nil, errors.Join(err, p.close())
	}
	ask := keystore.Prompt{PIN: who.pin}
	if demo {
		p.note("token: in software; a YubiKey needs a program built with -tags piv, and a person")
		p.second = custodian.Token(memory.NewToken("1001", demoPIN), "1001", ask)
		p.spare = custodian.Token(memory.NewToken("1002", demoPIN), "1002", ask)
		return p, nil
	}
	p.spare = custodian.File(filepath.Join(dir, "spare", "collab-part"))
	if err := p.findToken(ctx, who, ask); err != nil {
		p.note("token: none (%v); a file takes its place", err)
		p.second = custodian.File(filepath.Join(dir, "second", "collab-part"))
	}
	return p, nil
}

// demoKeychain starts a keychain that is thrown away afterwards, if one is installed.
func (p *parts) demoKeychain(ctx context.Context, dir string) {
	stop, err := startKeyring(ctx, filepath.Join(dir, "k"))
	if err != nil {
		p.note("keychain: none of its own could be started (%v)", err)
		return
	}
	p.closers = append(p.closers, stop)
	p.note("keychain: a Secret Service (gnome-keyring) started for this demonstration")
}

// profiles of the keychain; the second one stands for another computer's.
var profiles = [2]string{"rehearsal", "rehearsal-new-computer"}

// keychains opens the operating system's, or sealed files where there is none.
func (p *parts) keychains(dir string) error {
	var stores [2]keystore.Store
	for i, profile := range profiles {
		ring, err := osring.Open(profile)
		if err == nil {
			stores[i] = ring
			continue
		}
		if !errors.Is(err, keystore.ErrUnavailable) && !errors.Is(err, keystore.ErrLocked) {
			return err
		}
		if i == 0 {
			p.note("keychain: %v; a sealed file takes its place, for this rehearsal only", err)
		}
		var key [32]byte
		_, _ = rand.Read(key[:]) // never fails
		vault, err := file.OpenKey(filepath.Join(dir, profile), key)
		if err != nil {
			return err
		}
		p.closers = append(p.closers, vault.Close)
		stores[i] = vault
	}
	p.keychain, p.newKeychain = stores[0], stores[1]
	return nil
}

// findToken takes the token that is plugged in.
func (p *parts) findToken(ctx context.Context, who person, ask keystore.Prompt) error {
	tokens, err := yubikey.Reader{}.Tokens(ctx)
	if errors.Is(err, keystore.ErrNotBuilt) {
		return err
	}
	if len(tokens) == 0 {
		if err := who.ready(ctx, "Plug in your security key, if you have one."); err != nil {
			return err
		}
		if tokens, err = (yubikey.Reader{}).Tokens(ctx); err != nil {
			return err
		}
	}
	if len(tokens) == 0 {
		return keystore.ErrNoToken
	}
	info, err := tokens[0].Info(ctx)
	if err != nil {
		return err
	}
	ask.Touch = func(keystore.TokenInfo) { p.touch() }
	p.note("token: %s, number %s", info.Label, info.Serial)
	p.second = custodian.Token(tokens[0], info.Serial, ask)
	return nil
}

// touch tells the person to touch the token.
func (p *parts) touch() { fmt.Println("Touch the security key when it blinks.") }
