package collab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/studio-whip/collab/internal/p2p"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/sync/journal"
)

// maxTroubles is how many failures a session remembers.
const maxTroubles = 32

// trouble is a failure, by its kinds: what an error says may hold paths, addresses and names.
type trouble struct {
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Times int       `json:"times"`
	What  string    `json:"what"`
	Kinds []string  `json:"kinds"`
}

// troubles are the last failures. What repeats itself is noted once.
type troubles struct {
	mu   sync.Mutex
	list []trouble
}

func (t *troubles) note(now time.Time, what string, err error) {
	kinds := kindsOf(err)
	t.mu.Lock()
	defer t.mu.Unlock()
	at := slices.IndexFunc(t.list, func(o trouble) bool { return o.What == what && slices.Equal(o.Kinds, kinds) })
	n := trouble{First: now, What: what, Kinds: kinds}
	if at >= 0 {
		n = t.list[at]
		t.list = slices.Delete(t.list, at, at+1)
	}
	n.Last, n.Times = now, n.Times+1
	if t.list = append(t.list, n); len(t.list) > maxTroubles {
		t.list = slices.Delete(t.list, 0, 1)
	}
}

// recent lists them, the latest last.
func (t *troubles) recent() []trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]trouble{}, t.list...)
}

// plainKinds are errors whose text is always the same, beside those that are translated.
var plainKinds = []error{
	context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded, fs.ErrPermission, fs.ErrNotExist,
	store.ErrDamaged, journal.ErrFork, journal.ErrUnverifiable, journal.ErrContent,
	p2p.ErrBadProof, p2p.ErrUnknownGuest, p2p.ErrHalfOpen, p2p.ErrSilent, p2p.ErrConfig,
}

// kindsOf names the kinds of an error by texts that never change, and its type if it is of no known kind. nil has none.
func kindsOf(err error) []string {
	kinds := []string{}
	if err == nil {
		return kinds
	}
	add := func(kind error) {
		if errors.Is(err, kind) && !slices.Contains(kinds, kind.Error()) {
			kinds = append(kinds, kind.Error())
		}
	}
	for _, t := range translations {
		add(t.to)
		add(t.from)
	}
	for _, kind := range plainKinds {
		add(kind)
	}
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		add(errno)
	}
	if len(kinds) == 0 {
		kinds = append(kinds, fmt.Sprintf("%T", innermost(err)))
	}
	slices.Sort(kinds)
	return kinds
}

// innermost follows the first cause to its end.
func innermost(err error) error {
	for {
		switch x := err.(type) {
		case interface{ Unwrap() error }:
			if x.Unwrap() == nil {
				return err
			}
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			causes := x.Unwrap()
			if len(causes) == 0 {
				return err
			}
			err = causes[0]
		default:
			return err
		}
	}
}
