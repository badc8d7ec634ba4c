package hygiene

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"

	"github.com/studio-whip/collab/internal/testbed/scenario"
)

// allowed are findings that are no secrets, each with the reason.
var allowed = map[string]string{
	"internal/p2p Peer.Key by fmt":            "the public key of a peer",
	"internal/p2p Peer.Key by json":           "the public key of a peer",
	"keystore/keystoretest Bench.PIN by fmt":  "the PIN of a token under test",
	"keystore/keystoretest Bench.PIN by json": "the PIN of a token under test",
}

// fixture has types that print secrets in every way that this package knows, and others that do not.
const fixture = `package collab

import "fmt"

type PrivateKey []byte

type Hidden struct{ value **[]byte }

type Redacted struct{ secret []byte }

func (Redacted) Format(fmt.State, rune)         {}
func (Redacted) MarshalJSON() ([]byte, error)   { return nil, nil }

type OnlyString struct{ Seed [32]byte }

func (OnlyString) String() string { return "" }

type Open struct{ Password string }
type Inside struct{ a struct{ b []struct{ pin []byte } } }
type OnePointer struct{ r *Redacted }
type ByValue struct{ R Redacted }
type NotAsked struct{ r Redacted }
type TwoPointers struct{ h Hidden; secret **[]byte }
type Named struct{ Peer PrivateKey }
type Published struct{ SecretCommit []byte; PhraseBlob []byte; PassphraseID string; Key string }
type Itself struct{ next *Itself; m map[string]*Itself }
`

func TestLeaks(t *testing.T) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "fixture.go", fixture, 0)
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := (&types.Config{Importer: importer.ForCompiler(set, "source", nil)}).Check(module, set, []*ast.File{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"PrivateKey": {"PrivateKey by fmt", "PrivateKey by json"},
		"OnlyString": {"OnlyString.Seed by fmt", "OnlyString.Seed by json"},
		"Open":       {"Open.Password by fmt", "Open.Password by json"},
		"Inside":     {"Inside.a.b.pin by fmt"},
		"OnePointer": {"OnePointer.r.secret by fmt"}, // package fmt follows one where the verb does not fit
		"NotAsked":   {"NotAsked.r.secret by fmt"},   // nor does it ask methods there
		"Named":      {"Named.Peer by fmt", "Named.Peer by json"},
	}
	for _, named := range Exported(pkg) {
		name := named.Obj().Name()
		if got := Leaks(named); !slices.Equal(got, want[name]) {
			t.Errorf("%s: %q; want %q", name, got, want[name])
		}
	}
}

func TestScenario068NoExportedTypePrintsASecret(t *testing.T) {
	scenario.Run(t, 68, "every exported type of the module, by what it is made of: no way of fmt or JSON to a field named like a secret",
		func(t *testing.T) {
			packages, err := Load(".")
			if err != nil {
				t.Fatal(err)
			}
			seen, unused := 0, map[string]bool{}
			for finding := range allowed {
				unused[finding] = true
			}
			for _, p := range packages {
				for _, named := range Exported(p) {
					seen++
					for _, leak := range Leaks(named) {
						finding := strings.TrimPrefix(strings.TrimPrefix(p.Path(), module), "/") + " " + leak
						delete(unused, finding)
						if allowed[finding] == "" {
							t.Errorf("%s", finding)
						}
					}
				}
			}
			if seen < 100 {
				t.Errorf("only %d types were looked at", seen)
			}
			for finding := range unused {
				t.Errorf("%s is allowed, and does not exist any longer", finding)
			}
		})
}
