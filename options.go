package collab

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/sync/membership"
)

// KeyStore keeps small secrets, at most 2,000 bytes, by name. Packages keystore/osring (the operating system's
// keychain), keystore/file (a file under a passphrase) and keystore/memory have built-in ones.
type KeyStore = keystore.Store

// JoinPolicy decides on a person who holds a valid invite; an error refuses them. It may block on a question to a
// person; ctx ends with the request, after two minutes at most, and the newcomer is then told to come again
// ([ErrPending]).
type JoinPolicy func(ctx context.Context, r JoinRequest) error

// Network is where a node's datagrams go instead of the operating system. The methods are called from several
// goroutines at once.
type Network interface {
	// ListenPacket opens a datagram socket. network is "udp4" or "udp6"; the port may be 0 and the address unspecified.
	// The connection's LocalAddr must be a *net.UDPAddr.
	ListenPacket(network string, addr *net.UDPAddr) (net.PacketConn, error)
	// SourceAddress returns the local address from which packets to remote leave.
	SourceAddress(remote *net.UDPAddr) (net.IP, error)
}

// Option changes one default of [Open].
type Option func(*config) error

type config struct {
	dir        string
	memory     bool
	name       string
	keys       KeyStore
	listen     []string
	network    Network
	logger     *slog.Logger
	joinPolicy JoinPolicy
	bandwidth  int64
	metrics    prometheus.Registerer

	checkpoints membership.CheckpointPolicy // zero: the defaults
	provisional time.Duration               // of a manager's proposal; see WithoutProvisionalHold

	random io.Reader
	now    func() time.Time
	tap    p2p.Tap // tests
}

// maxDisplayName is the cap of a display name in bytes of UTF-8.
const maxDisplayName = 64

func newConfig(opts []Option) (*config, error) {
	c := &config{logger: slog.New(slog.DiscardHandler), random: rand.Reader, now: time.Now}
	for _, o := range opts {
		if o == nil {
			return nil, errors.New("collab: an option is nil; leave it out")
		}
		if err := o(c); err != nil {
			return nil, err
		}
	}
	if c.memory && c.dir != "" {
		return nil, errors.New("collab: WithMemory and WithDir exclude each other; leave one out")
	}
	if c.dir == "" && !c.memory {
		base, err := os.UserConfigDir()
		if err != nil {
			return nil, fmt.Errorf("collab: no place for the state: %w; name one with WithDir", err)
		}
		c.dir = filepath.Join(base, "collab")
	}
	if c.dir != "" {
		dir, err := filepath.Abs(c.dir) // the program may change its working directory
		if err != nil {
			return nil, fmt.Errorf("collab: WithDir: %w; name the whole path", err)
		}
		c.dir = dir
	}
	if c.name == "" {
		c.name = osUserName()
	}
	return c, nil
}

// osUserName is the name of the operating system's user, shortened to what a certificate holds.
func osUserName() string {
	name := "someone"
	if u, err := user.Current(); err == nil {
		switch {
		case u.Name != "":
			name = u.Name
		case u.Username != "":
			name = u.Username
		}
	}
	if wire.CheckText(wire.NFC(name), maxDisplayName) != nil {
		return "someone"
	}
	return wire.NFC(name)
}

// WithDir keeps all state under path, which is created with mode 0700; one process has it open at a time. Default: "collab" under os.UserConfigDir.
func WithDir(path string) Option {
	return func(c *config) error {
		if path == "" {
			return errors.New("collab: WithDir needs a path")
		}
		c.dir = path
		return nil
	}
}

// WithMemory keeps everything in memory and nothing on disk; for tests. Keys are kept in memory too unless
// [WithKeyStore] is given.
func WithMemory() Option {
	return func(c *config) error {
		c.memory = true
		return nil
	}
}

// WithName sets the display name that a new identity is made with, at most 64 bytes of UTF-8 without control
// characters. It has no effect on a device that has an identity. Default: the operating system's user.
func WithName(display string) Option {
	return func(c *config) error {
		c.name = wire.NFC(display)
		if c.name == "" {
			return errors.New("collab: WithName needs a name")
		}
		if err := wire.CheckText(c.name, maxDisplayName); err != nil {
			return fmt.Errorf("collab: display name: %w", err)
		}
		return nil
	}
}

// WithKeyStore keeps the device's key in ks. Default: the operating system's keychain; there is no silent fall-back
// where that is unusable. It is asked while Open runs and not after; closing it stays the caller's.
func WithKeyStore(ks KeyStore) Option {
	return func(c *config) error {
		if ks == nil {
			return errors.New("collab: WithKeyStore needs a key store")
		}
		c.keys = ks
		return nil
	}
}

// WithListen sets the addresses to listen on, in multiaddr form such as "/ip4/127.0.0.1/udp/0/quic-v1" and
// "/ip4/127.0.0.1/tcp/0". Default: QUIC and TCP on all interfaces, on ports that the system picks.
func WithListen(multiaddrs ...string) Option {
	return func(c *config) error {
		if len(multiaddrs) == 0 {
			return errors.New("collab: WithListen needs at least one address")
		}
		c.listen = slices.Clone(multiaddrs)
		return nil
	}
}

// WithBandwidth limits what background transfers of files take, in bytes per second, over all projects together. What
// somebody waits for, documents and presence are never limited. Default, and 0: no limit.
func WithBandwidth(bytesPerSecond int64) Option {
	return func(c *config) error {
		if bytesPerSecond < 0 {
			return fmt.Errorf("collab: WithBandwidth(%d); give bytes per second, or 0 for no limit", bytesPerSecond)
		}
		c.bandwidth = bytesPerSecond
		return nil
	}
}

// WithNetwork replaces the operating system's UDP by n, for simulations: package collabtest has one that is made for
// tests. TCP is off then, and [WithListen] takes QUIC addresses only; without it the node listens on 0.0.0.0. Nothing
// else changes: the same post-quantum TLS and proofs run over it.
func WithNetwork(n Network) Option {
	return func(c *config) error {
		if n == nil {
			return errors.New("collab: WithNetwork needs a network")
		}
		c.network = n
		return nil
	}
}

// WithLogger sends the log to l: at debug what passes and what is refused, at info the life of the node and its projects,
// at warn what a person may have to look at, at error what this device cannot go on with. Each message begins with its
// room; "project", "device" and "member" are the first eight digits of an identifier, "err" is what went wrong. Network
// addresses may be in it; keys, codes, names and content never are. Default: discard.
func WithLogger(l *slog.Logger) Option {
	return func(c *config) error {
		if l != nil {
			c.logger = l
		}
		return nil
	}
}

// WithMetrics reports to r: peers, rounds, dials, traffic by tier, queues, refusals, missed events and store errors, under
// names that begin with "collab_". No label names a person, a device or a project. [Node.Close] takes them away again.
//
// A registerer takes one node; [Open] fails with the second. Where a process has several, give each its own, or a label:
//
//	collab.WithMetrics(prometheus.WrapRegistererWith(prometheus.Labels{"node": "a"}, prometheus.DefaultRegisterer))
//
// Default, and nil: nothing is counted or registered.
func WithMetrics(r prometheus.Registerer) Option {
	return func(c *config) error {
		c.metrics = r
		return nil
	}
}

// WithJoinPolicy asks fn about everybody who comes with a valid invite, also from several goroutines at once. Default:
// accept.
func WithJoinPolicy(fn JoinPolicy) Option {
	return func(c *config) error {
		c.joinPolicy = fn
		return nil
	}
}
