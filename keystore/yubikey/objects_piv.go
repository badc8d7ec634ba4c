//go:build piv

package yubikey

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/go-piv/piv-go/v2/piv"

	"github.com/studio-whip/collab/keystore"
)

// places are where sealed secrets lie: the slots for retired keys, from the last, as other programs begin with the first.
func places() []piv.Slot {
	out := make([]piv.Slot, 0, MaxStored)
	for key := uint32(0x95); key >= 0x82; key-- {
		slot, _ := piv.RetiredKeyManagementSlot(key)
		out = append(out, slot)
	}
	return out
}

// read reads the record in a slot's certificate. It fails with errForeign, or with piv.ErrNotFound if there is none.
func (c *card) read(slot piv.Slot) (record, error) {
	cert, err := c.yk.Certificate(slot)
	if err != nil {
		if strings.Contains(err.Error(), "parsing certificate") || strings.Contains(err.Error(), "unmarshaling") {
			return record{}, errForeign // another program's, perhaps compressed
		}
		return record{}, fmt.Errorf("certificate of slot %02x: %w", slot.Key, err)
	}
	return parseCertificate(cert)
}

// write writes a record into a slot's certificate and reads it back.
func (c *card) write(management []byte, slot piv.Slot, r record) error {
	cert, err := r.certificate()
	if err != nil {
		return err
	}
	if err := c.yk.SetCertificate(management, slot, cert); err != nil {
		return fmt.Errorf("write the certificate of slot %02x: %w", slot.Key, err)
	}
	back, err := c.yk.Certificate(slot)
	if err != nil {
		return fmt.Errorf("read back the certificate of slot %02x: %w", slot.Key, err)
	}
	if !bytes.Equal(back.Raw, cert.Raw) {
		return fmt.Errorf("%w: the token did not keep what it was given in slot %02x", keystore.ErrDamaged, slot.Key)
	}
	return nil
}

// find looks for a sealed secret. It fails with [keystore.ErrNotFound].
func (c *card) find(name string) (piv.Slot, record, error) {
	for _, slot := range places() {
		r, err := c.read(slot)
		switch {
		case err == nil && r.Name == name:
			return slot, r, nil
		case err != nil && !skipped(err):
			return slot, record{}, err
		}
	}
	return piv.Slot{}, record{}, keystore.ErrNotFound
}

// skipped tells what does not keep a search from going on: nothing there, another program's, or damaged.
func skipped(err error) bool {
	return errors.Is(err, errForeign) || errors.Is(err, piv.ErrNotFound) || errors.Is(err, keystore.ErrDamaged)
}

// store writes a sealed secret in place of what lies under its name, or into a slot that nobody uses.
func (c *card) store(management []byte, name string, sealed []byte) error {
	slot, _, err := c.find(name)
	if errors.Is(err, keystore.ErrNotFound) {
		slot, err = c.free()
	}
	if err != nil {
		return err
	}
	return c.write(management, slot, record{Name: name, Sealed: sealed})
}

// free finds a slot without a certificate of others and without a key.
func (c *card) free() (piv.Slot, error) {
	for _, slot := range places() {
		r, err := c.read(slot)
		switch {
		case err == nil && r.Name == "":
			return slot, nil
		case err == nil || errors.Is(err, errForeign) || errors.Is(err, keystore.ErrDamaged):
			continue
		case !errors.Is(err, piv.ErrNotFound):
			return slot, err
		}
		if _, err := c.yk.KeyInfo(slot); errors.Is(err, piv.ErrNotFound) {
			return slot, nil
		} else if err != nil {
			return slot, fmt.Errorf("key in slot %02x: %w", slot.Key, err)
		}
	}
	return piv.Slot{}, fmt.Errorf("%w: no slot of the token is free; remove a secret that is no longer needed", keystore.ErrTooBig)
}

// erase puts an empty record in place of a sealed secret; piv-go cannot take a certificate away.
func (c *card) erase(management []byte, name string) error {
	slot, _, err := c.find(name)
	if errors.Is(err, keystore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.write(management, slot, record{})
}
