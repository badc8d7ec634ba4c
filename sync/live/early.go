package live

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/sync/envelope"
)

// writerKey names a client: a device's chain is one.
type writerKey struct {
	device  identity.DeviceID
	chainNo uint32
}

// orderKey names a sequence of ephemeral records: presence and messages of a chain are ordered each for themselves, as
// they may take different paths.
type orderKey struct {
	writerKey
	kind envelope.EphemeralKind
}

func orderOf(e *envelope.Ephemeral) orderKey { return orderKey{writerKey{e.Device, e.ChainNo}, e.Kind} }

// counter is the place of an ephemeral record: at is the chain's last envelope, n counts since.
type counter struct{ at, n uint64 }

// order remembers the newest record of every sequence. There are as many sequences as chains of live devices, times the
// kinds that are known.
type order struct {
	mu   sync.Mutex
	last map[orderKey]counter
}

func newOrder() *order { return &order{last: map[orderKey]counter{}} }

// newer reports whether a record is newer than the last of its sequence.
func (o *order) newer(e *envelope.Ephemeral) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	last, ok := o.last[orderOf(e)]
	return !ok || e.After(last.at, last.n)
}

// advance remembers a record, if it is newer.
func (o *order) advance(e *envelope.Ephemeral) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := orderOf(e)
	if last, ok := o.last[key]; ok && !e.After(last.at, last.n) {
		return false
	}
	o.last[key] = counter{e.At, e.N}
	return true
}

// sweep forgets the devices that have gone.
func (o *order) sweep(live func(identity.DeviceID) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key := range o.last {
		if !live(key.device) {
			delete(o.last, key)
		}
	}
}

// early keeps, for a short while, ephemeral records whose signature was checked but which cannot be shown yet: their
// chain's introduction or a key is still on its way. Without it a presence that came a moment too soon would be seen
// only when it is renewed.
type early struct {
	wake chan struct{}

	mu    sync.Mutex
	of    map[orderKey][]*earlyRecord
	count int
	bytes int
}

type earlyRecord struct {
	record *envelope.Ephemeral
	since  time.Time
}

func newEarly() *early {
	return &early{wake: make(chan struct{}, 1), of: map[orderKey][]*earlyRecord{}}
}

// add keeps a record; of each sequence the newest few stay.
func (y *early) add(e *envelope.Ephemeral, now time.Time) {
	y.mu.Lock()
	key := orderOf(e)
	size := len(e.Raw)
	if list := y.of[key]; len(list) >= maxEarly || y.count >= maxEarlies || y.bytes+size > earlyBytes {
		if len(list) == 0 {
			y.mu.Unlock()
			return
		}
		y.drop(key, 0)
	}
	if y.bytes+size <= earlyBytes {
		list := append(y.of[key], &earlyRecord{e, now})
		slices.SortFunc(list, func(a, b *earlyRecord) int {
			return cmp.Or(cmp.Compare(a.record.At, b.record.At), cmp.Compare(a.record.N, b.record.N))
		})
		y.of[key], y.count, y.bytes = list, y.count+1, y.bytes+size
	}
	y.mu.Unlock()
	y.signal()
}

// drop removes one record; y.mu is held.
func (y *early) drop(key orderKey, i int) *envelope.Ephemeral {
	list := y.of[key]
	e := list[i].record
	y.count, y.bytes = y.count-1, y.bytes-len(e.Raw)
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(y.of, key)
	} else {
		y.of[key] = list
	}
	return e
}

// take removes and returns the records that are ready, each sequence in order, drops those that have waited too long,
// and says whether any are left.
func (y *early) take(now time.Time, ready func(*envelope.Ephemeral) bool) (out []*envelope.Ephemeral, left bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for key, list := range y.of {
		for i := 0; i < len(list); {
			switch waited := now.Sub(list[i].since); {
			case ready(list[i].record):
				out = append(out, y.drop(key, i))
			case waited >= earlyLife || waited < -earlyLife: // the clock was set back
				y.drop(key, i)
			default:
				i++
			}
			list = y.of[key]
		}
	}
	return out, y.count > 0
}

// signal has the kept records looked at soon.
func (y *early) signal() {
	select {
	case y.wake <- struct{}{}:
	default:
	}
}
