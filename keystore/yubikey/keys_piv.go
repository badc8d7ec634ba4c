//go:build piv

package yubikey

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/mlkem"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/go-piv/piv-go/v2/piv"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/keystore"
)

// info tells which token this is.
func (c *card) info() (keystore.TokenInfo, error) {
	v := c.yk.Version()
	info := keystore.TokenInfo{
		Label:  fmt.Sprintf("YubiKey %d.%d.%d", v.Major, v.Minor, v.Patch),
		Serial: fmt.Sprint(c.serial),
	}
	if v.Major < 5 || v.Major == 5 && v.Minor < 3 {
		return info, fmt.Errorf("%w: firmware %d.%d of the YubiKey, at least 5.3 is needed", keystore.ErrUnavailable, v.Major, v.Minor)
	}
	var err error
	if info.Retries, err = c.yk.Retries(); err != nil {
		return info, fmt.Errorf("tries of the PIN: %w", err)
	}
	info.Key, err = c.key()
	return info, err
}

// key returns the token's key, nil if it was not prepared.
func (c *card) key() (*keystore.TokenKey, error) {
	r, err := c.read(piv.SlotKeyManagement)
	if errors.Is(err, errForeign) || errors.Is(err, piv.ErrNotFound) || err == nil && r.Key == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	key, err := keystore.ParseTokenKey(r.Key)
	if err != nil {
		return nil, err
	}
	slot, err := c.yk.KeyInfo(piv.SlotKeyManagement)
	if err != nil && !errors.Is(err, piv.ErrNotFound) {
		return nil, fmt.Errorf("key in slot 9d: %w", err)
	}
	if half, err := point(slot.PublicKey); err != nil || !bytes.Equal(half.Bytes(), halfOf(key)) {
		return nil, fmt.Errorf("%w: another key lies in slot 9d; to use the token anew, reset its PIV application", keystore.ErrTokenChanged)
	}
	return key, nil
}

// halfOf is the P-256 half of a token's key.
func halfOf(key *keystore.TokenKey) []byte { return key.Bytes()[mlkem.EncapsulationKeySize768:] }

func point(public crypto.PublicKey) (*ecdh.PublicKey, error) {
	key, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("yubikey: the slot's key is not one of P-256")
	}
	return key.ECDH()
}

// quantumHalf derives the ML-KEM half from the management key.
func quantumHalf(management []byte) (*mlkem.DecapsulationKey768, error) {
	seed := derive.Bytes(mlkem.SeedSize, management, nil, "token-mlkem")
	defer secmem.Wipe(seed)
	key, err := mlkem.NewDecapsulationKey768(seed)
	if err != nil {
		return nil, fmt.Errorf("yubikey: ML-KEM key: %w", err)
	}
	return key, nil
}

// guarded reads the management key that lies behind the PIN; nil if there is none. The caller wipes it.
func (c *card) guarded(pin string) ([]byte, error) {
	if len(pin) > 8 {
		retries, err := c.yk.Retries() // the card is not even asked
		if err != nil {
			return nil, err
		}
		return nil, &keystore.PINError{Retries: retries}
	}
	meta, err := c.yk.Metadata(pin)
	if err != nil && strings.Contains(err.Error(), "unmarshal") {
		return nil, fmt.Errorf("%w: what lies behind the PIN is no management key", keystore.ErrTokenOccupied)
	}
	if err != nil {
		return nil, err
	}
	if meta.ManagementKey == nil {
		return nil, nil
	}
	return *meta.ManagementKey, nil
}

// unlock checks the PIN and returns the management key, after making sure that key still belongs to it. The caller wipes
// it.
func (c *card) unlock(pin string, key *keystore.TokenKey) ([]byte, error) {
	management, err := c.guarded(pin)
	if err != nil && !errors.Is(err, keystore.ErrTokenOccupied) {
		return nil, err
	}
	if len(management) > 0 {
		pq, err := quantumHalf(management)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(pq.EncapsulationKey().Bytes(), key.Bytes()[:mlkem.EncapsulationKeySize768]) {
			return management, nil
		}
		secmem.Wipe(management)
	}
	return nil, fmt.Errorf("%w: another program replaced its management key", keystore.ErrTokenChanged)
}

// open opens a sealed secret. touch is called before the card waits for one.
func (c *card) open(pin string, management []byte, touch func(), purpose, sealed []byte) ([]byte, error) {
	pq, err := quantumHalf(management)
	if err != nil {
		return nil, err
	}
	slot, err := c.yk.KeyInfo(piv.SlotKeyManagement)
	if err != nil {
		return nil, fmt.Errorf("key in slot 9d: %w", err)
	}
	half, err := point(slot.PublicKey)
	if err != nil {
		return nil, err
	}
	key, err := c.yk.PrivateKey(piv.SlotKeyManagement, slot.PublicKey, piv.KeyAuth{PIN: pin, PINPolicy: piv.PINPolicyAlways})
	if err != nil {
		return nil, fmt.Errorf("key in slot 9d: %w", err)
	}
	return keystore.OpenSealed(pq, &agreement{half, key.(*piv.ECDSAPrivateKey), touch}, purpose, sealed)
}

// agreement is the P-256 half of the token's key, on the device.
type agreement struct {
	public *ecdh.PublicKey
	key    *piv.ECDSAPrivateKey
	touch  func()
}

func (a *agreement) PublicKey() *ecdh.PublicKey { return a.public }
func (a *agreement) Curve() ecdh.Curve          { return a.public.Curve() }

func (a *agreement) ECDH(peer *ecdh.PublicKey) ([]byte, error) {
	a.touch()
	shared, err := a.key.ECDH(peer)
	if refused(err) {
		return nil, fmt.Errorf("%w: %w", keystore.ErrNotTouched, err)
	}
	return shared, err
}

// prepare makes the token's key in steps that can be repeated: whatever step the token is taken out after, the next
// attempt goes on from there.
func (c *card) prepare(pin string) (*keystore.TokenKey, error) {
	if key, err := c.key(); err != nil || key != nil {
		return key, err
	}
	begun, err := c.claimed()
	if err != nil {
		return nil, err
	}
	guarded, err := c.guarded(pin)
	if err != nil {
		return nil, err
	}
	defer secmem.Wipe(guarded)
	if !begun {
		if err := c.refuseFactoryCodes(pin); err != nil {
			return nil, err
		}
	}
	management, err := c.manage(guarded)
	if err != nil {
		return nil, err
	}
	defer secmem.Wipe(management)
	// From here on slot 9d is ours, though its key is not made yet.
	if err := c.write(management, piv.SlotKeyManagement, record{}); err != nil {
		return nil, err
	}
	public, err := c.yk.GenerateKey(management, piv.SlotKeyManagement,
		piv.Key{Algorithm: piv.AlgorithmEC256, PINPolicy: piv.PINPolicyAlways, TouchPolicy: piv.TouchPolicyAlways})
	if err != nil {
		return nil, fmt.Errorf("make a key in slot 9d: %w", err)
	}
	half, err := point(public)
	if err != nil {
		return nil, err
	}
	pq, err := quantumHalf(management)
	if err != nil {
		return nil, err
	}
	key, err := keystore.NewTokenKey(pq.Encapsulator(), half)
	if err != nil {
		return nil, err
	}
	return key, c.write(management, piv.SlotKeyManagement, record{Key: key.Bytes()})
}

// claimed tells whether slot 9d was taken by an earlier attempt to prepare the token. It fails with
// [keystore.ErrTokenOccupied] if another program has it.
func (c *card) claimed() (begun bool, err error) {
	switch _, err := c.read(piv.SlotKeyManagement); {
	case err == nil:
		return true, nil
	case errors.Is(err, errForeign):
		return false, fmt.Errorf("%w: slot 9d has a certificate", keystore.ErrTokenOccupied)
	case !errors.Is(err, piv.ErrNotFound):
		return false, err
	}
	switch _, err := c.yk.KeyInfo(piv.SlotKeyManagement); {
	case err == nil:
		return false, fmt.Errorf("%w: slot 9d has a key", keystore.ErrTokenOccupied)
	case !errors.Is(err, piv.ErrNotFound):
		return false, fmt.Errorf("key in slot 9d: %w", err)
	}
	return false, nil
}

// refuseFactoryCodes makes sure that whoever finds the token knows neither PIN nor PUK. The PUK can only be tried: if it
// is not the factory's, one of its tries is gone until it is typed rightly, which is why this is the last of the checks.
func (c *card) refuseFactoryCodes(pin string) error {
	if pin == piv.DefaultPIN {
		return fmt.Errorf("%w: change the PIN (ykman piv access change-pin)", keystore.ErrFactoryPIN)
	}
	err := c.yk.SetPUK(piv.DefaultPUK, piv.DefaultPUK)
	var auth piv.AuthErr
	switch {
	case err == nil:
		return fmt.Errorf("%w: change the PUK (ykman piv access change-puk)", keystore.ErrFactoryPIN)
	case errors.As(err, &auth):
		return nil
	}
	return fmt.Errorf("try the factory's PUK: %w", err)
}

// manage returns a management key that is random and lies behind the PIN, making it if need be. The key is put behind the
// PIN before it is put to use, because a management key that nobody knows cannot be replaced.
func (c *card) manage(guarded []byte) ([]byte, error) {
	random := len(guarded) >= keySecret && !bytes.Equal(guarded, piv.DefaultManagementKey)
	if random {
		if known, err := c.knows(guarded); err != nil || known {
			return bytes.Clone(guarded), err
		}
	}
	if factory, err := c.knows(piv.DefaultManagementKey); err != nil {
		return nil, err
	} else if !factory {
		return nil, fmt.Errorf("%w: its management key is neither the factory's nor one of %d bytes behind the PIN "+
			"(ykman piv access change-management-key --generate --protect)", keystore.ErrTokenOccupied, keySecret)
	}
	key := bytes.Clone(guarded) // of an attempt that was cut short
	if len(key) != keySecret || !random {
		key = make([]byte, keySecret)
		if _, err := rand.Read(key); err != nil {
			return nil, fmt.Errorf("yubikey: management key: %w", err)
		}
		if err := c.yk.SetMetadata(piv.DefaultManagementKey, &piv.Metadata{ManagementKey: &key}); err != nil {
			return nil, fmt.Errorf("put a management key behind the PIN: %w", err)
		}
	}
	if err := c.yk.SetManagementKey(piv.DefaultManagementKey, key); err != nil {
		return nil, fmt.Errorf("set the management key: %w", err)
	}
	return key, nil
}

// knows tells whether key is the token's management key. piv-go proves that before it looks at what it shall make, and a
// key of no algorithm is never made.
func (c *card) knows(key []byte) (bool, error) {
	_, err := c.yk.GenerateKey(key, piv.SlotKeyManagement, piv.Key{})
	if err == nil {
		return false, fmt.Errorf("%w: it made a key of no algorithm", keystore.ErrDamaged)
	}
	text := err.Error()
	switch {
	case !strings.Contains(text, "authenticating with management key"):
		return true, nil
	case refused(err), strings.Contains(text, "challenge failed"), strings.Contains(text, "invalid management key length"):
		return false, nil
	}
	return false, err
}
