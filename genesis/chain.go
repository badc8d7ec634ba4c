package genesis

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Chain is the root records of one project that have arrived, and which of them are in force. It is a function of the
// records and of what is settled here, whatever the order in which they came. It is not safe for concurrent use.
//
// A record is taken when the one that it follows is held and it verifies by it; until then it is held, within bounds.
// Records that follow one another rightly are in force, unless two follow one: then neither is (a fork), until one is
// settled. What conflicts with a settled record is never in force (a late fork). A record that another one abandons does
// not count, unless it is settled.
type Chain struct {
	first *link
	links map[RootID]*link
	ahead map[RootID]held
	bytes int    // of what is held
	pin   RootID // the newest settled version; may not have come yet
	view  ChainView
}

// link is a verified record in its place.
type link struct {
	root    *Root
	parent  *link
	next    []*link // records that follow it, ascending by id
	upgrade error   // it asks for what this build lacks
}

// held is a record whose predecessor is missing. Nothing about it is proved.
type held struct {
	prev RootID
	n    uint32
	raw  []byte
}

// ChainView is how a root stands. It is immutable.
type ChainView struct {
	Versions []*Root    // in force, from version 1
	Pin      RootID     // the newest version that is settled here
	Settled  uint32     // versions that no later record can displace here, at least 1
	Fork     *Fork      // what follows the last version, if nothing does because two records claim to
	Late     []LateFork // rivals of settled versions, never in force, ascending by version and id
	Awaits   RootID     // the settled version, if its record has not come: until then nothing but version 1 is in force
	Gap      *Gap       // later records are held but one before them is missing
	Upgrade  error      // the next record asks for what this build lacks; wraps ErrUpgradeRequired
}

// Current returns the newest version in force.
func (v *ChainView) Current() *Root { return v.Versions[len(v.Versions)-1] }

// Fork is two or more valid records that follow one, none of them settled. None takes effect, and the root of the version
// that they follow is suspended.
type Fork struct {
	Version uint32   // which version they claim to be
	Records []RootID // ascending
}

// LateFork is a valid record in the place of a settled one.
type LateFork struct {
	Version uint32
	Settled RootID
	Rival   RootID
}

// Gap says that the records of a version are missing. That later ones exist is claimed, not proved.
type Gap struct {
	Have    uint32 // newest version in force
	Missing uint32 // to be fetched next
	Newest  uint32 // newest version held
}

// NewChain returns the chain of a project of which only the founding record is known.
func NewChain(first *Root) *Chain {
	l := &link{root: first}
	c := &Chain{first: l, links: map[RootID]*link{first.ID: l}, ahead: map[RootID]held{}, pin: first.ID}
	c.resolve()
	return c
}

// ChainResult says what became of a record, and of those that had waited for it.
type ChainResult struct {
	Added   []*Root // verified and kept, in force or not, each after what it follows: store these and pass them on
	Held    bool    // the record waits for one before it
	Dropped []error // records that had waited and turned out to be wrong
}

// Add takes a signed record. One that is there already is no error and adds nothing. What is refused fails with
// [ErrForeignRoot], [ErrTooManyRivals] or an error of [ParseNext]. A record that needs a newer program but is signed by
// who may is kept, and stops the chain: see [ChainView.Upgrade].
func (c *Chain) Add(raw []byte) (ChainResult, error) {
	var res ChainResult
	id, prev, n, err := peekRoot(raw)
	if err != nil {
		return res, fmt.Errorf("genesis: root record: %w", err)
	}
	if c.links[id] != nil {
		return res, nil
	}
	if n == 1 {
		return res, fmt.Errorf("%w: %s", ErrForeignRoot, id.Short())
	}
	if c.links[prev] == nil {
		res.Held = c.hold(id, held{prev, n, bytes.Clone(raw)})
		c.resolve()
		return res, nil
	}
	l, err := c.take(prev, raw, false)
	if err != nil {
		return res, err
	}
	res.Added = append(res.Added, l.root)
	c.release(&res)
	c.resolve()
	return res, nil
}

// Restore is Add for a record that a chain had taken before, from what keeps it: the bounds on rivals, which depend on what
// came first, do not apply, as the caller bounds what it reads. The record before must be held: else it fails with
// [ErrUnknownRoot]. One that is there already is returned as it is.
func (c *Chain) Restore(raw []byte) (*Root, error) {
	id, prev, n, err := peekRoot(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("genesis: root record: %w", err)
	case c.links[id] != nil:
		return c.links[id].root, nil
	case n == 1:
		return nil, fmt.Errorf("%w: %s", ErrForeignRoot, id.Short())
	case c.links[prev] == nil:
		return nil, fmt.Errorf("%w: %s, which version %d follows", ErrUnknownRoot, prev.Short(), n)
	}
	l, err := c.take(prev, raw, true)
	if err != nil {
		return nil, err
	}
	c.resolve()
	return l.root, nil
}

// take verifies a record by the one that it follows and files it; again if it had been taken before.
func (c *Chain) take(prev RootID, raw []byte, again bool) (*link, error) {
	parent := c.links[prev]
	root, err := parseNext(parent.root, raw)
	if err != nil && !errors.Is(err, ErrUpgradeRequired) {
		return nil, fmt.Errorf("genesis: root record after version %d: %w", parent.root.N, err)
	}
	l := &link{root: root, parent: parent, upgrade: err}
	rival := len(parent.next) > 0 || !slices.Contains(c.view.Versions, parent.root)
	if rival && !again && root.ID != c.pin && (len(parent.next) >= maxSiblings || c.rivals() >= c.mostRivals()) {
		return nil, fmt.Errorf("%w: version %d", ErrTooManyRivals, root.N)
	}
	at, _ := slices.BinarySearchFunc(parent.next, root.ID, func(x *link, id RootID) int { return bytes.Compare(x.root.ID[:], id[:]) })
	parent.next = slices.Insert(parent.next, at, l)
	c.links[root.ID] = l
	delete(c.ahead, root.ID)
	return l, nil
}

// rivals is how many records are not in force.
func (c *Chain) rivals() int { return len(c.links) - len(c.view.Versions) }

// mostRivals is how many of them are kept. Until the settled version has come nothing after version 1 is in force, and
// what leads to it is among them.
func (c *Chain) mostRivals() int {
	if c.links[c.pin] == nil {
		return maxAwaited
	}
	return maxRivals
}

// hold keeps a record whose predecessor is missing, if it fits: what is furthest ahead gives way.
func (c *Chain) hold(id RootID, h held) bool {
	if _, there := c.ahead[id]; there {
		return true
	}
	c.ahead[id] = h
	c.bytes += len(h.raw)
	for len(c.ahead) > maxAhead || c.bytes > maxAheadBytes {
		last := id
		for other, x := range c.ahead {
			l := c.ahead[last]
			if x.n > l.n || x.n == l.n && bytes.Compare(other[:], last[:]) > 0 {
				last = other
			}
		}
		c.forget(last)
	}
	_, kept := c.ahead[id]
	return kept
}

func (c *Chain) forget(id RootID) {
	c.bytes -= len(c.ahead[id].raw)
	delete(c.ahead, id)
}

// release takes what had waited for the records just taken, in the order of their numbers.
func (c *Chain) release(res *ChainResult) {
	for i := 0; i < len(res.Added); i++ {
		var ready []RootID
		for id, h := range c.ahead {
			if h.prev == res.Added[i].ID {
				ready = append(ready, id)
			}
		}
		slices.SortFunc(ready, func(a, b RootID) int { return bytes.Compare(a[:], b[:]) })
		c.resolve() // which records are rivals depends on it
		for _, id := range ready {
			h := c.ahead[id]
			c.forget(id)
			l, err := c.take(h.prev, h.raw, false)
			if err != nil {
				res.Dropped = append(res.Dropped, err)
				continue
			}
			res.Added = append(res.Added, l.root)
		}
	}
}

// Settle notes that a version is settled: by a checkpoint, or by the code with which this device was invited. The record
// may not have come yet. It fails with [ErrPinned] if it does not follow the version that is settled already; one that
// lies before it changes nothing.
func (c *Chain) Settle(id RootID) error {
	l, old := c.links[id], c.links[c.pin]
	switch {
	case id == c.pin:
		return nil
	case old == nil, l == nil && c.pin != c.first.root.ID:
		return fmt.Errorf("%w: %s, whose record is missing; fetch it first", ErrUnknownRoot, c.pin.Short())
	case l != nil && l.leadsTo(old):
		return nil
	case l != nil && !old.leadsTo(l):
		return fmt.Errorf("%w: %s of version %d", ErrPinned, c.pin.Short(), old.root.N)
	}
	c.pin = id
	c.resolve()
	return nil
}

// Repin settles a version against what was settled here before. It is for people who have compared safety numbers with
// somebody they trust. It fails with [ErrUnknownRoot].
func (c *Chain) Repin(id RootID) error {
	if c.links[id] == nil {
		return fmt.Errorf("%w: %s", ErrUnknownRoot, id.Short())
	}
	c.pin = id
	c.resolve()
	return nil
}

// Pin returns the newest version that is settled here.
func (c *Chain) Pin() RootID { return c.pin }

// View returns how the root stands.
func (c *Chain) View() ChainView { return c.view }

// Get returns a verified record, in force or not, nil if it is not held.
func (c *Chain) Get(id RootID) *Root {
	if l := c.links[id]; l != nil {
		return l.root
	}
	return nil
}

// Records returns all verified records, in force or not, each after what it follows.
func (c *Chain) Records() []*Root {
	out := make([]*Root, 0, len(c.links))
	for l := range maps.Values(c.links) {
		out = append(out, l.root)
	}
	slices.SortFunc(out, func(a, b *Root) int {
		if a.N != b.N {
			return int(a.N) - int(b.N)
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	return out
}

// Includes reports whether a record is another one or lies before it.
func (c *Chain) Includes(later, earlier RootID) bool {
	l, e := c.links[later], c.links[earlier]
	return l != nil && e != nil && e.leadsTo(l)
}

// leadsTo reports whether x is l or follows it.
func (l *link) leadsTo(x *link) bool {
	for ; x != nil && x.root.N >= l.root.N; x = x.parent {
		if x == l {
			return true
		}
	}
	return false
}

// resolve walks the chain from version 1 and says which records are in force.
func (c *Chain) resolve() {
	v := ChainView{Versions: []*Root{c.first.root}, Pin: c.pin, Settled: 1}
	pin := c.links[c.pin]
	if pin != nil {
		v.Settled = pin.root.N
	} else {
		v.Awaits = c.pin
	}
	at := c.first
	for len(at.next) > 0 && pin != nil {
		next := at.settledNext(pin, &v)
		if next == nil {
			next = at.onlyNext(&v)
		}
		if next == nil {
			break
		}
		if next.upgrade != nil {
			v.Upgrade = next.upgrade
			break
		}
		v.Versions = append(v.Versions, next.root)
		at = next
	}
	v.Gap = c.gap(at.root.N)
	c.view = v
}

// settledNext returns the record after l that is settled, nil if none is, and notes its rivals.
func (l *link) settledNext(pin *link, v *ChainView) *link {
	for _, x := range l.next {
		if pin == nil || !x.leadsTo(pin) {
			continue
		}
		for _, rival := range l.next {
			if rival != x {
				v.Late = append(v.Late, LateFork{Version: x.root.N, Settled: x.root.ID, Rival: rival.root.ID})
			}
		}
		return x
	}
	return nil
}

// onlyNext returns the record after l, if but one is left that no other abandons, and notes a fork if several are.
func (l *link) onlyNext(v *ChainView) *link {
	var left []*link
	for _, x := range l.next {
		abandoned := slices.ContainsFunc(l.next, func(y *link) bool { return slices.Contains(y.root.Abandons, x.root.ID) })
		if !abandoned {
			left = append(left, x)
		}
	}
	if len(left) == 1 {
		return left[0]
	}
	f := &Fork{Version: l.root.N + 1}
	for _, x := range left {
		f.Records = append(f.Records, x.root.ID)
	}
	v.Fork = f
	return nil
}

// gap says which version is missing before the records held.
func (c *Chain) gap(have uint32) *Gap {
	var g *Gap
	for _, h := range c.ahead {
		if h.n <= have {
			continue // of no branch that is in force here
		}
		if g == nil {
			g = &Gap{Have: have, Missing: h.n - 1}
		}
		g.Newest = max(g.Newest, h.n)
		if _, waits := c.ahead[h.prev]; !waits {
			g.Missing = min(g.Missing, h.n-1)
		}
	}
	return g
}
