// Package arch holds the floor plan of the module and the test that enforces it.
//
// A package imports only packages on strictly lower floors, or the package of its own parent folder. Test files obey
// the same rule. A package that is not on the plan, an import that goes up or across, and a fenced module outside
// its rooms each fail `go test ./internal/arch`. Change the plan together with ARCHITECTURE.md.
package arch

// module is the path of this module.
const module = "github.com/studio-whip/collab"

// floors says on which floor each package stands, by its path within the module; "" is the root package.
var floors = map[string]int{
	"crdt/lib0":                        0,
	"internal/cost":                    0,
	"internal/disk":                    0,
	"internal/feed":                    0,
	"internal/gate":                    0,
	"internal/secmem":                  0,
	"internal/task":                    0,
	"internal/wire":                    0,
	"internal/words":                   0,
	"internal/traffic":                 0,
	"internal/testbed/netns":           0, // a program
	"internal/testbed/goldenfile":      0, // for tests
	"internal/testbed/mutant":          0, // for tests
	"internal/testbed/pivcard":         0, // for tests
	"internal/testbed/plaintext":       0, // for tests
	"internal/testbed/scenario":        0, // for tests
	"internal/testbed/secretservice":   0, // for tests
	"internal/testbed/traces":          0, // for tests
	"crdt":                             1,
	"crdt/awareness":                   1,
	"crdt/ysync":                       1,
	"crypto/derive":                    1,
	"crypto/kem":                       1,
	"crypto/seal":                      1,
	"crypto/sign":                      1,
	"internal/testbed/crdtbench":       2, // a program
	"internal/testbed/devicekeys":      3, // for tests
	"identity":                         2,
	"internal/store":                   2,
	"keystore":                         2,
	"keystore/file":                    2,
	"keystore/memory":                  2,
	"keystore/osring":                  2,
	"keystore/yubikey":                 2,
	"keystore/keystoretest":            2,
	"genesis":                          3,
	"genesis/custodian":                3,
	"internal/p2p":                     3,
	"governance":                       4,
	"governance/epoch":                 4,
	"internal/testbed/forge":           5, // for tests
	"invite":                           5,
	"sync/boxkeys":                     5,
	"sync/envelope":                    5,
	"sync/membership":                  6,
	"sync/journal":                     7,
	"sync/foundation":                  8,
	"sync/live":                        8,
	"sync/assets":                      8,
	"sync/coordinator":                 9,
	"":                                 10,
	"examples/quickstart":              11,
	"examples/audit":                   11,
	"examples/ceremony":                11,
	"collabtest":                       11,
	"internal/arch":                    testOnly,
	"internal/hygiene":                 testOnly,
	"internal/testbed/scenario/report": testOnly,
}

// testOnly marks a package that nothing may import.
const testOnly = 1 << 10

// alsoImports lists imports on one floor that the plan allows by name: a backend's tests run the suite beside it.
var alsoImports = map[string][]string{
	"keystore/file":    {"keystore/keystoretest"},
	"keystore/memory":  {"keystore/keystoretest"},
	"keystore/osring":  {"keystore/keystoretest"},
	"keystore/yubikey": {"keystore/keystoretest"},
}

// fences says which rooms may import a module of another author. A room is a package path; a trailing "/" admits
// all packages below it. Modules are compared whole, never by prefix of their name.
var fences = map[string][]string{
	"filippo.io/edwards25519":              {"crypto/"},
	"github.com/cloudflare/circl":          {"crypto/"},
	"github.com/fxamacker/cbor/v2":         {"internal/wire"},
	"github.com/hashicorp/vault":           {"genesis"},
	"github.com/ccojocar/zxcvbn-go":        {"genesis/custodian"},
	"github.com/go-piv/piv-go/v2":          {"keystore/yubikey"},
	"github.com/zalando/go-keyring":        {"keystore/osring"},
	"github.com/godbus/dbus/v5":            {"keystore/osring", "internal/testbed/"},
	"go.etcd.io/bbolt":                     {"internal/store"},
	"github.com/ipfs/boxo":                 {"sync/assets"},
	"github.com/ipfs/go-block-format":      {"sync/assets"},
	"github.com/ipfs/go-cid":               {"sync/assets"},
	"github.com/ipfs/go-datastore":         {"sync/assets"},
	"github.com/ipfs/go-ds-flatfs":         {"sync/assets"},
	"github.com/ipfs/go-ipld-format":       {"sync/assets"},
	"github.com/multiformats/go-multihash": {"sync/assets"},
	"github.com/klauspost/compress":        {"internal/testbed/"},
	"github.com/libp2p/go-libp2p":          {"internal/p2p", "sync/", "collabtest"},
	"github.com/libp2p/go-libp2p-pubsub":   {"sync/live"},
	"github.com/marcopolo/simnet":          {"collabtest"},
	"github.com/prometheus/client_golang":  {"", "sync/coordinator"},
	"golang.org/x/term":                    {"examples/"},
}
