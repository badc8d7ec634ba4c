package osring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/studio-whip/collab/keystore"
)

const (
	secrets        = "org.freedesktop.secrets"
	secretsPath    = dbus.ObjectPath("/org/freedesktop/secrets")
	loginPath      = secretsPath + "/collection/login"
	defaultPath    = secretsPath + "/aliases/default"
	propertiesGet  = "org.freedesktop.DBus.Properties.Get"
	serviceIface   = "org.freedesktop.Secret.Service"
	collectionFace = "org.freedesktop.Secret.Collection"
)

// ready asks the Secret Service whether the collection that go-keyring will use is there and unlocked. It launches no
// bus and opens no prompt, both of which go-keyring itself may do.
func ready(ctx context.Context) error {
	// The connection closes when ctx ends, so that a bus that is silent cannot hold Auth and Hello.
	conn, err := dbus.SessionBusPrivateNoAutoStartup(dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("%w: no session bus: %w", unlessLate(ctx), err)
	}
	defer conn.Close()
	if err := conn.Auth(nil); err != nil {
		return fmt.Errorf("%w: session bus: %w", unlessLate(ctx), err)
	}
	if err := conn.Hello(); err != nil {
		return fmt.Errorf("%w: session bus: %w", unlessLate(ctx), err)
	}
	property := func(path dbus.ObjectPath, iface, name string) (v dbus.Variant, err error) {
		err = conn.Object(secrets, path).CallWithContext(ctx, propertiesGet, 0, iface, name).Store(&v)
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		return v, err
	}
	all, err := property(secretsPath, serviceIface, "Collections")
	if err != nil {
		return fmt.Errorf("%w: no Secret Service on the session bus: %w", unlessDenied(ctx, err), err)
	}
	// go-keyring's rule: the collection "login" if there is one, else the default.
	path := defaultPath
	if paths, ok := all.Value().([]dbus.ObjectPath); ok && slices.Contains(paths, loginPath) {
		path = loginPath
	}
	locked, err := property(path, collectionFace, "Locked")
	if err != nil {
		return fmt.Errorf("%w: the Secret Service has no default collection: %w", unlessDenied(ctx, err), err)
	}
	if is, ok := locked.Value().(bool); !ok || is {
		return fmt.Errorf("%w: unlock it (log in) and try again", keystore.ErrLocked)
	}
	return nil
}

// unlessLate is what a failed question means: no keychain, unless time ran out.
func unlessLate(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return keystore.ErrTimeout
	}
	return keystore.ErrUnavailable
}

// unlessDenied is [unlessLate] for a question that the bus may have kept from the keychain.
func unlessDenied(ctx context.Context, err error) error {
	if denied(err) {
		return keystore.ErrDenied
	}
	return unlessLate(ctx)
}

func denied(err error) bool {
	var bus dbus.Error
	return errors.As(err, &bus) && bus.Name == "org.freedesktop.DBus.Error.AccessDenied"
}

// translatePlatform reads the errors of go-keyring's Secret Service client, some of which have no type.
func translatePlatform(err error) error {
	var bus dbus.Error
	switch {
	case denied(err):
		return fmt.Errorf("%w: %w", keystore.ErrDenied, err)
	case errors.As(err, &bus) && bus.Name == "org.freedesktop.Secret.Error.IsLocked",
		strings.HasPrefix(err.Error(), "failed to unlock"):
		return fmt.Errorf("%w: %w", keystore.ErrLocked, err)
	default:
		return fmt.Errorf("%w: %w", keystore.ErrUnavailable, err)
	}
}
