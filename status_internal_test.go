package collab

import (
	"errors"
	"testing"

	"github.com/studio-whip/collab/internal/p2p"
)

func TestPathOf(t *testing.T) {
	for p, want := range map[p2p.Path]Path{"": PathNone, p2p.PathQUIC: PathDirect, p2p.PathTCP: PathDirect, p2p.PathRelay: PathRelay} {
		if got := pathOf(p); got != want {
			t.Errorf("%q is %v, want %v", p, got, want)
		}
	}
}

// uncomparable panics when it is compared with ==.
type uncomparable []string

func (e uncomparable) Error() string { return e[0] }

func TestStatusEqual(t *testing.T) {
	x, y := Status{Peers: 1, Err: uncomparable{"a"}}, Status{Peers: 1, Err: uncomparable{"a", "b"}}
	if !x.equal(y) || x.equal(Status{Peers: 1}) || x.equal(Status{Peers: 1, Err: errors.New("b")}) || x.equal(Status{Err: x.Err}) {
		t.Error("equal statuses are not told apart from others")
	}
}
