//go:build piv

package yubikey

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-piv/piv-go/v2/piv"

	"github.com/studio-whip/collab/internal/gate"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/keystore"
)

// card is a connection to a token. Nobody else reaches the token until it is closed, so it lasts for one call and never
// while a person types.
type card struct {
	yk     *piv.YubiKey
	serial uint32
}

// service is the one way to the card reader service, which knows no deadlines.
var service = gate.New()

// use connects to the token with this serial number and runs fn, for no longer than limit.
func use[T any](ctx context.Context, serial uint32, limit time.Duration, fn func(*card) (T, error)) (T, error) {
	return call(ctx, limit, func(ctx context.Context) (none T, err error) {
		c, err := connect(ctx, serial)
		if err != nil {
			return none, err
		}
		defer c.yk.Close()
		return fn(c)
	})
}

func call[T any](ctx context.Context, limit time.Duration, fn func(context.Context) (T, error)) (T, error) {
	value, err := gate.Call(ctx, service, limit, func(ctx context.Context) (value T, err error) {
		defer func() {
			if p := recover(); p != nil { // piv-go indexes short answers
				err = fmt.Errorf("%w: the token gave an answer that cannot be read", keystore.ErrDamaged)
			}
		}()
		value, err = fn(ctx)
		return value, translate(err)
	}, discard)
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, keystore.ErrTimeout) {
		err = fmt.Errorf("%w: the token or its reader: %w", keystore.ErrTimeout, err)
	}
	return value, err
}

func discard[T any](value T) {
	if secret, ok := any(value).([]byte); ok {
		secmem.Wipe(secret)
	}
}

// connect finds a token by its serial number. While another program holds a reader, it waits for that one.
func connect(ctx context.Context, serial uint32) (*card, error) {
	for {
		var found *card
		passed, err := each(func(c *card) bool {
			if c.serial == serial {
				found = c
			}
			return found == nil
		})
		switch {
		case found != nil:
			return found, nil
		case err != nil:
			return nil, err
		case passed == nil:
			return nil, fmt.Errorf("%w: insert the YubiKey with serial number %d", keystore.ErrNoToken, serial)
		case !errors.Is(passed, keystore.ErrInUse):
			return nil, fmt.Errorf("%w; insert the YubiKey with serial number %d", passed, serial)
		}
		if err := wait(ctx); err != nil {
			return nil, held(err)
		}
	}
}

// held is for a token that could not be had in time. It may also be this program that holds it: piv-go forgets a
// connection on which its first command failed.
func held(err error) error {
	return fmt.Errorf("%w: a program holds the YubiKey; close it, or take the token out and insert it again: %w", keystore.ErrInUse, err)
}

// list returns the serial numbers of the tokens that are plugged in.
func list(ctx context.Context) ([]uint32, error) {
	return call(ctx, callTimeout, func(ctx context.Context) ([]uint32, error) {
		for {
			var serials []uint32
			passed, err := each(func(c *card) bool {
				serials = append(serials, c.serial)
				return true
			})
			if err != nil || len(serials) > 0 || !errors.Is(passed, keystore.ErrInUse) {
				return serials, err
			}
			if err := wait(ctx); err != nil {
				return nil, held(err)
			}
		}
	})
}

// wait lets a moment pass. Half of what is left of the time stays for work.
func wait(ctx context.Context) error {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < callTimeout/2 {
		return context.DeadlineExceeded
	}
	select {
	case <-time.After(retryEvery):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// each connects to one token after another until fn returns false, which keeps the connection. passed tells why a reader
// was passed by: with ErrInUse if another program holds it, else because it is empty.
func each(fn func(*card) bool) (passed, err error) {
	readers, err := piv.Cards()
	if err != nil {
		return nil, err
	}
	for _, name := range readers {
		// Other readers are left alone: a card that is no PIV card would stay connected, as piv-go forgets it.
		if !strings.Contains(strings.ToLower(name), "yubi") {
			continue
		}
		yk, err := piv.Open(name)
		if err != nil {
			why := translate(err)
			if errors.Is(why, piv.ErrNotFound) { // PIV is switched off
				why = fmt.Errorf("%w: its PIV application: %w", keystore.ErrNoToken, err)
			}
			if !errors.Is(why, keystore.ErrInUse) && !errors.Is(why, keystore.ErrNoToken) {
				return passed, err
			}
			if !errors.Is(passed, keystore.ErrInUse) {
				passed = why
			}
			continue
		}
		serial, err := yk.Serial()
		if err == nil && !fn(&card{yk, serial}) {
			return passed, nil
		}
		yk.Close()
		if err != nil {
			return passed, err
		}
	}
	return passed, nil
}

// causes says what messages of PC/SC and of the card mean. piv-go has no other way to tell.
var causes = []struct {
	text string
	is   error
}{
	{"other connections outstanding", keystore.ErrInUse},
	{"resource manager is not running", keystore.ErrUnavailable},
	{"resource manager has shut down", keystore.ErrUnavailable},
	{"an internal communications error", keystore.ErrUnavailable},
	{"the supplied handle was invalid", keystore.ErrUnavailable}, // the service was restarted
	{"access was denied because of a security violation", keystore.ErrDenied},
	{"no Smart Card is currently in the device", keystore.ErrNoToken},
	{"reader name is not recognized", keystore.ErrNoToken},
	{"reader is not currently available", keystore.ErrNoToken},
	{"smart card has been removed", keystore.ErrNoToken},
	{"power has been removed", keystore.ErrNoToken},
	{"smart card has been reset", keystore.ErrNoToken},
	{"not responding to a reset", keystore.ErrNoToken},
	{"not ready to accept commands", keystore.ErrNoToken},
	{"attempt was made to end a non-existent transaction", keystore.ErrNoToken}, // an exchange that broke off
	{"communications error with the smart card", keystore.ErrNoToken},
	{"scard response too short", keystore.ErrNoToken},
	{"smart card error 6a84", keystore.ErrTooBig},
	{"smart card error 6983", keystore.ErrPINBlocked},
}

// translate makes an error of piv-go one of package keystore's. None of them holds a PIN or a key: they are numbers and
// what they mean.
func translate(err error) error {
	if err == nil {
		return nil
	}
	var auth piv.AuthErr
	if errors.As(err, &auth) && !isKeystore(err) {
		return &keystore.PINError{Retries: auth.Retries}
	}
	text := err.Error()
	for _, c := range causes {
		if strings.Contains(text, c.text) && !errors.Is(err, c.is) {
			return fmt.Errorf("%w: %w", c.is, err)
		}
	}
	return err
}

// isKeystore tells an error that has been given its meaning already.
func isKeystore(err error) bool {
	return errors.Is(err, keystore.ErrWrongPIN) || errors.Is(err, keystore.ErrFactoryPIN)
}

// refused tells whether the card refused for want of security: PIN, management key or touch.
func refused(err error) bool {
	var answer interface{ Status() uint16 }
	return errors.As(err, &answer) && answer.Status() == 0x6982
}
