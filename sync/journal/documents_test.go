package journal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/governance/epoch"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/testbed/forge"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
)

var (
	documentCases  = flag.Int("cases", histories, "random histories of TestDocuments")
	documentOrders = flag.Int("orders", 5, "orders in which each of them is received")
	documentSeed   = flag.Uint64("seed", 1, "number of the first history")
)

// TestDocuments makes random histories: members edit documents, hear of each other late or never, remove and hold one
// another, cut chains anywhere and take cuts back, end identities, settle content, fork chains and pick branches, and lie
// about what they know. A random part of the envelopes is then
// received in several orders, singly and in runs, with restarts, mutes and quarantines on the way. All must end with the
// documents that a slow model makes of the state and the envelopes that count in it.
func TestDocuments(t *testing.T) {
	c := newCast(t)
	var tally documentTally
	var wg sync.WaitGroup
	next := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range next {
				c.history(t, seed, &tally)
			}
		})
	}
	began := time.Now()
	for i := range uint64(*documentCases) {
		if t.Failed() {
			break
		}
		next <- *documentSeed + i
	}
	close(next)
	wg.Wait()
	t.Logf("%d histories, each in %d orders: %v in %.1f s", *documentCases, *documentOrders, &tally, time.Since(began).Seconds())
	if !t.Failed() && *documentCases >= 100 {
		tally.mustHaveSeenEverything(t)
	}
}

// documentTally is what the histories were made of.
type documentTally struct {
	mu   sync.Mutex
	seen map[string]int
}

func (d *documentTally) add(what string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen == nil {
		d.seen = map[string]int{}
	}
	d.seen[what] += n
}

func (d *documentTally) String() string {
	var out bytes.Buffer
	for _, what := range slices.Sorted(maps.Keys(d.seen)) {
		fmt.Fprintf(&out, "%d %s, ", d.seen[what], what)
	}
	return out.String()
}

func (d *documentTally) mustHaveSeenEverything(t *testing.T) {
	for _, what := range []string{
		"counting", "beyond a cut", "refused", "withheld", "of no chain", "restarts", "quarantines", "held on the way",
		"Revoke", "RoleDrop", "RoleGrant", "DeviceRemove", "Leave", "FrontierExtend", "LiftQuarantine", "ChainOpen",
		"Carry", "Checkpoint", "settled", "EquivocationProof", "forked", "forked and settled", "forked and picked",
	} {
		if d.seen[what] == 0 {
			t.Errorf("no history had any %q", what)
		}
	}
}

// cast is a project whose people act in all histories, so that keys and signatures of its beginning are made once.
type cast struct {
	*team
	people []*person // Ada, who manages and receives it all, two editors, another manager
	kits   []kit     // of one of the editors, and of the other manager
	docs   []DocID
}

func newCast(t *testing.T) *cast {
	w := newTeam(t)
	w.begin()
	c := &cast{team: w, people: []*person{w.ada}}
	ben, bensKit := newPersonWithKit(t, "Ben")
	eve, evesKit := newPersonWithKit(t, "Eve")
	c.people, c.kits = append(c.people, ben, newPerson(t, "Cyd")), []kit{bensKit, evesKit}
	w.admit(governance.Editor, c.people[1:]...)
	w.admit(governance.Manager, eve)
	c.people = append(c.people, eve)
	for _, name := range []string{"script", "notes"} {
		c.docs = append(c.docs, identity.DocumentID([32]byte(w.root.Project), name))
	}
	return c
}

// script is one random history.
type script struct {
	*cast
	t       *testing.T
	rng     *mathrand.Rand
	tally   *documentTally
	log     *governance.Log // of all events
	authors []*author
	events  [][]byte
	twins   []*author // what devices also are that have forked a chain
	all     map[chainKey][]*envelope.Envelope
	other   map[chainKey][]*envelope.Envelope // the other branch of forked chains, with what lies before it
}

// author is a member with what he knows, who writes as he likes.
type author struct {
	*person
	view  []governance.EventID // the events that he knows, in causal order; all that lies before each is among them
	no    uint32
	chain *envelope.Chain
	docs  map[DocID]*crdt.Doc
	has   map[wire.ID]bool
	twin  bool // a copy of its device's store, which only writes documents
}

func (c *cast) history(t *testing.T, seed uint64, tally *documentTally) {
	s := &script{
		cast: c, t: t, tally: tally, rng: mathrand.New(mathrand.NewPCG(seed, 11)), events: slices.Clone(c.events),
		all: map[chainKey][]*envelope.Envelope{}, other: map[chainKey][]*envelope.Envelope{},
	}
	s.log = governance.NewLog(c.root)
	for _, raw := range c.events {
		if _, err := s.log.Add(raw); err != nil {
			t.Error(err)
		}
	}
	for _, p := range c.people {
		a := &author{person: p, has: map[wire.ID]bool{}}
		for e := range s.log.All() {
			a.view = append(a.view, e.ID)
		}
		s.begin(a, 0)
		s.authors = append(s.authors, a)
	}
	for range 20 + s.rng.IntN(30) {
		a := s.authors[s.rng.IntN(len(s.authors))]
		switch n := s.rng.IntN(10); {
		case n < 5 && len(s.twins) > 0 && s.rng.IntN(3) == 0:
			s.edit(s.twins[s.rng.IntN(len(s.twins))])
		case n < 5 && a.person != s.ada:
			s.edit(a)
			if s.rng.IntN(10) == 0 {
				s.fork(a)
			}
		case n < 8:
			s.hear(a, s.authors[s.rng.IntN(len(s.authors))])
		default:
			s.govern(a)
		}
	}
	if s.log.State().Settled().Number > 0 {
		tally.add("settled", 1)
	}
	part := s.part()
	want := s.model(part)
	for range *documentOrders {
		s.receive(seed, part, want)
	}
}

// begin lets an author write on a chain.
func (s *script) begin(a *author, no uint32) {
	a.no, a.chain = no, envelope.NewChain(envelope.Beginning(s.root.Project, a.dev.ID, no))
	old := a.docs
	a.docs = map[DocID]*crdt.Doc{}
	for _, id := range s.docs {
		d := crdt.New(crdt.WithClientID(uint64(identity.ClientID([32]byte(s.root.Project), a.dev.ID, no))))
		if old != nil {
			if state, err := old[id].EncodeUpdate(nil); err == nil {
				_, _ = d.ApplyUpdate(state)
			}
		}
		a.docs[id] = d
	}
}

// fork copies an author's device as it is now: both go on writing on the same chain.
func (s *script) fork(a *author) {
	key := chainKey{a.dev.ID, a.no}
	if s.other[key] != nil {
		return
	}
	twin := &author{person: a.person, view: slices.Clone(a.view), no: a.no, docs: map[DocID]*crdt.Doc{}, has: maps.Clone(a.has), twin: true}
	twin.chain = envelope.NewChain(a.chain.Head())
	for _, id := range s.docs {
		d := crdt.New(crdt.WithClientID(uint64(identity.ClientID([32]byte(s.root.Project), a.dev.ID, a.no))))
		if state, err := a.docs[id].EncodeUpdate(nil); err == nil {
			_, _ = d.ApplyUpdate(state)
		}
		twin.docs[id] = d
	}
	s.twins = append(s.twins, twin)
	s.other[key] = slices.Clone(s.all[key])
}

// parts returns the place from which on the branches of a chain differ, 0 if they do not yet.
func parts(one, other []*envelope.Envelope) uint64 {
	for i := range min(len(one), len(other)) {
		if one[i].ID != other[i].ID {
			return uint64(i + 1)
		}
	}
	return 0
}

// prove lets an author show a fork of which it has both envelopes.
func (s *script) prove(a *author) {
	for _, key := range slices.SortedFunc(maps.Keys(s.other), chainKey.compare) {
		at := parts(s.all[key], s.other[key])
		if c, ok := s.log.State().Chain(key.device, key.no); at == 0 || ok && c.Forked > 0 {
			continue
		}
		x, y := s.all[key][at-1], s.other[key][at-1]
		if bytes.Compare(x.Statement(), y.Statement()) > 0 {
			x, y = y, x
		}
		s.act(a, governance.KindEquivocationProof, &governance.EquivocationProof{
			A: governance.NewProofHalf(x.Statement(), x.Sig), B: governance.NewProofHalf(y.Statement(), y.Sig),
		})
	}
}

// edit adds an envelope to an author's chain.
func (s *script) edit(a *author) {
	heads := s.heads(a)
	if s.rng.IntN(25) == 0 { // as if he knew less than he does
		heads = []governance.EventID{a.view[s.rng.IntN(len(a.view))]}
	}
	heads = heads[:min(len(heads), envelope.MaxHeads)]
	state, err := s.log.StateAt(heads)
	if err != nil {
		s.t.Error(err)
		return
	}
	key, all := chainKey{a.dev.ID, a.no}, s.all
	if a.twin {
		all = s.other
	}
	var e *envelope.Envelope
	if len(all[key]) == 0 {
		e, err = a.chain.Introduce(a.keys.DK, a.id.ID, heads)
	} else {
		k, ok := state.SendingEpoch()
		if !ok || s.rng.IntN(25) == 0 {
			all := state.Epochs() // one that he was told not to use any more
			k = all[s.rng.IntN(len(all))]
		}
		s.ring.Lock()
		secret := s.keys[k.ID]
		s.ring.Unlock()
		doc := s.docs[s.rng.IntN(len(s.docs))]
		e, err = a.chain.Next(rand.Reader, a.keys.DK, envelope.Draft{
			Kind: envelope.KindUpdate, Doc: doc, GovHeads: heads, Epoch: &k.ID, Payload: s.change(a, doc),
			Key: epoch.ContentKey(secret, k.ID, a.dev.ID, a.no, doc),
		})
	}
	if err != nil {
		s.t.Error(err)
		return
	}
	a.has[e.ID] = true
	all[key] = append(all[key], e)
}

// change edits an author's document and returns an envelope's payload.
func (s *script) change(a *author, id DocID) []byte {
	d := a.docs[id]
	var update []byte
	stop := d.OnUpdate(func(u []byte, _ crdt.Origin) { update = u })
	defer stop()
	err := d.Update(func(tx *crdt.Txn) error {
		body, meta := d.Text("body"), d.Map("meta")
		switch n := body.Len(tx); {
		case s.rng.IntN(4) == 0:
			return meta.Set(tx, fmt.Sprint(s.rng.IntN(2)), fmt.Sprint(a.name, s.rng.IntN(1000)))
		case n > 4 && s.rng.IntN(4) == 0:
			return body.Delete(tx, s.rng.IntN(n-1), 1)
		default:
			return body.Insert(tx, s.rng.IntN(n+1), fmt.Sprint(a.name[:1], s.rng.IntN(100)))
		}
	})
	if err != nil || update == nil {
		s.t.Errorf("edit: %v", err)
	}
	return (&envelope.Update{Updates: [][]byte{update}}).Encode()
}

// heads returns the events of an author's view that no other there rests on, ascending.
func (s *script) heads(a *author) []governance.EventID {
	below := map[governance.EventID]bool{}
	for _, id := range a.view {
		for _, p := range s.log.Get(id).Parents {
			below[p] = true
		}
	}
	return wire.SortIDs(slices.DeleteFunc(slices.Clone(a.view), func(id governance.EventID) bool { return below[id] }))
}

// hear lets an author learn from another: events, most often all, and some envelopes.
func (s *script) hear(a, from *author) {
	stop := s.rng.IntN(4) == 0
	for _, id := range from.view {
		if stop && s.rng.IntN(8) == 0 {
			break
		}
		if !slices.Contains(a.view, id) {
			a.view = append(a.view, id)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(s.all), chainKey.compare) {
		list := s.branch(key)
		upTo := s.rng.IntN(2*len(list) + 1)
		for i, e := range list {
			if i >= upTo || !from.has[e.ID] {
				break
			}
			if !a.has[e.ID] && e.Kind == envelope.KindUpdate {
				for _, u := range s.updates(e) {
					if _, err := a.docs[e.Doc].ApplyUpdate(u); err != nil {
						s.t.Error(err)
					}
				}
			}
			a.has[e.ID] = true
		}
	}
}

// branch returns one of the branches of a chain.
func (s *script) branch(key chainKey) []*envelope.Envelope {
	if other := s.other[key]; other != nil && s.rng.IntN(2) == 0 {
		return other
	}
	return s.all[key]
}

func (s *script) updates(e *envelope.Envelope) [][]byte {
	s.ring.Lock()
	key := s.keys[*e.Epoch]
	s.ring.Unlock()
	payload, err := e.Open(contentKey(key, e))
	if err != nil {
		s.t.Error(err)
		return nil
	}
	u, err := envelope.ParseUpdate(payload)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	return u.Updates
}

// govern lets an author try an act of governance.
func (s *script) govern(a *author) {
	target := s.authors[s.rng.IntN(len(s.authors))]
	who := target.id.Member()
	if len(s.twins) > 0 && s.rng.IntN(2) == 0 {
		s.dispute()
		return
	}
	switch s.rng.IntN(16) {
	case 0, 1:
		m := s.mint(a, func(d *governance.Device) bool { return d.Member == who })
		s.act(a, governance.KindRevoke, &governance.Revoke{Member: who, Cuts: s.cuts(target), Epoch: m})
	case 2:
		s.act(a, governance.KindRoleDrop, &governance.RoleDrop{Member: who, Role: governance.Viewer, Cuts: s.cuts(target)})
	case 3:
		if s.log.State().Role(who) == governance.Editor { // most grants need a drop before
			s.act(a, governance.KindRoleDrop, &governance.RoleDrop{Member: who, Role: governance.Viewer, Cuts: s.cuts(target)})
		}
		s.act(a, governance.KindRoleGrant, &governance.RoleGrant{Member: who, Role: governance.Editor})
	case 4, 5:
		s.act(a, governance.KindFrontierExtend, &governance.FrontierExtend{Cuts: s.cuts(target)})
	case 6:
		m := s.mint(a, func(d *governance.Device) bool { return d.ID == target.dev.ID })
		s.act(a, governance.KindDeviceRemove, &governance.DeviceRemove{Device: target.dev.ID, Cuts: s.cuts(target), Epoch: m})
	case 7:
		if s.rng.IntN(3) == 0 {
			s.act(a, governance.KindLeave, &governance.Leave{Cuts: s.cuts(a)})
		}
	case 8:
		s.act(a, governance.KindQuarantinePropose, &governance.QuarantinePropose{
			Member: who, Expires: uint64(testTime.Add(time.Hour).Unix()), Heads: s.cuts(target),
		})
	case 9:
		for _, id := range slices.Clone(a.view) {
			if s.log.Get(id).Kind == governance.KindQuarantinePropose {
				s.act(a, governance.KindQuarantineVote, &governance.QuarantineVote{Proposal: id, Heads: s.cuts(target)})
			}
		}
	case 10:
		if held := s.log.State().Quarantines(); len(held) > 0 {
			who, a = held[s.rng.IntN(len(held))].Member, s.authors[s.rng.IntN(2)*3] // a manager
		}
		s.act(a, governance.KindLiftQuarantine, &governance.LiftQuarantine{Member: &who})
	case 11:
		if s.act(a, governance.KindChainOpen, &governance.ChainOpen{ChainNo: a.no + 1}) {
			s.begin(a, a.no+1)
		}
	case 12:
		if k := s.kits[s.rng.IntN(len(s.kits))]; s.rng.IntN(3) == 0 { // a kit was found; whoever brings it names what he has
			i := slices.IndexFunc(s.authors, func(o *author) bool { return o.id.Member() == k.of })
			s.act(a, governance.KindCarry, &governance.Carry{SelfRevoke: k.record, Cuts: s.cuts(s.authors[i])})
		}
	case 13, 14, 15:
		s.settle(a)
	}
}

// dispute lets somebody deal with what was forked: show it, pick a branch, or settle one.
func (s *script) dispute() {
	a := s.authors[[]int{0, 0, 1, 3}[s.rng.IntN(4)]] // the managers, mostly
	switch s.rng.IntN(4) {
	case 0:
		s.prove(a)
	case 1, 2:
		if s.rng.IntN(2) == 0 {
			s.prove(a)
		}
		s.act(a, governance.KindFrontierExtend, &governance.FrontierExtend{Cuts: s.cuts(s.twins[s.rng.IntN(len(s.twins))])})
	case 3:
		s.hear(a, s.twins[s.rng.IntN(len(s.twins))])
		s.settle(a)
	}
}

// settle lets the managers make a checkpoint of what one of them knows, which settles random parts of what he has.
func (s *script) settle(a *author) {
	heads := s.heads(a)
	past, err := s.log.StateAt(heads)
	if err != nil {
		s.t.Error(err)
		return
	}
	b := governance.Checkpoint{Number: 1, State: past.Digest(), Time: uint64(testTime.Unix())}
	if c := past.Settled(); c.Number > 0 {
		b.Number, b.Prev = c.Number+1, []governance.EventID{c.Event}
	}
	for _, key := range slices.SortedFunc(maps.Keys(s.all), chainKey.compare) {
		if e := s.had(a, past, key); e != nil && s.rng.IntN(3) > 0 {
			b.Content = append(b.Content, governance.Cut{Device: key.device, ChainNo: key.no, Seq: e.Seq, Envelope: e.ID})
		}
	}
	var with []governance.Author
	for _, o := range s.authors {
		if o != a && past.Role(o.id.Member()) == governance.Manager {
			with = append(with, o.author())
		}
	}
	s.act(a, governance.KindCheckpoint, &b, with...)
}

// had returns an envelope of a chain that an author has and that counts for him, nil if there is none.
func (s *script) had(a *author, past *governance.State, key chainKey) *envelope.Envelope {
	n, list := 0, s.branch(key)
	for _, e := range list {
		if cut, ends := past.Cut(key.device, key.no); !a.has[e.ID] || ends && e.Seq > cut.Seq {
			break
		}
		n++
	}
	if n == 0 {
		return nil
	}
	return list[s.rng.IntN(n)]
}

// act makes an event on what its author knows, whether he may or not, and reports whether it counts there.
func (s *script) act(a *author, kind governance.Kind, body any, with ...governance.Author) bool {
	raw, id := forge.Act{On: s.log, Author: a.author(), With: with, Kind: kind, Body: body, Parents: s.heads(a)}.Sign()
	if _, err := s.log.Add(raw); err != nil {
		s.t.Errorf("%v: %v", kind, err)
		return false
	}
	s.events, a.view = append(s.events, raw), append(a.view, id)
	x, err := s.log.Explain(id)
	if counts := err == nil && x.Counts; counts {
		s.tally.add(kind.String(), 1)
		return true
	}
	s.tally.add("void", 1)
	return false
}

// mint makes a key for the devices that stay.
func (s *script) mint(a *author, gone func(*governance.Device) bool) *governance.KeyEpoch {
	if s.rng.IntN(5) == 0 {
		return nil
	}
	var to []epoch.Recipient
	state, err := s.log.StateAt(s.heads(a))
	if err != nil {
		s.t.Error(err)
		return nil
	}
	aseq := uint64(1)
	for _, id := range a.view {
		if s.log.Get(id).Device == a.dev.ID {
			aseq++
		}
	}
	for _, d := range state.Devices() {
		if !gone(d) {
			to = append(to, epoch.Recipient{Device: d.ID, KEM: d.KEM, Later: true}) // all have all keys, from the ring
		}
	}
	m, err := epoch.Mint(rand.Reader, s.root.Project, a.dev.ID, aseq, to, nil)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	s.ring.Lock()
	defer s.ring.Unlock()
	s.keys[m.ID] = m.Key
	return &m.Object
}

// cuts names random places of an author's chains, whoever has seen them.
func (s *script) cuts(of *author) []governance.Cut {
	var out []governance.Cut
	for _, key := range slices.SortedFunc(maps.Keys(s.all), chainKey.compare) {
		list := s.branch(key)
		if n := len(list); key.device == of.dev.ID && n > 0 && s.rng.IntN(5) > 0 {
			e := list[s.rng.IntN(n)]
			out = append(out, governance.Cut{Device: key.device, ChainNo: key.no, Seq: e.Seq, Envelope: e.ID})
		}
	}
	return out
}

// part chooses what is received: of some chains only the beginning.
func (s *script) part() received {
	out := received{}
	for _, key := range slices.SortedFunc(maps.Keys(s.all), chainKey.compare) {
		for _, list := range [][]*envelope.Envelope{s.all[key], s.other[key]} {
			whole := len(list)
			if whole > 0 && s.rng.IntN(4) == 0 {
				list = list[:s.rng.IntN(whole+1)]
			}
			s.tally.add("withheld", whole-len(list))
			if len(list) > 0 {
				out[key] = append(out[key], list)
			}
		}
	}
	return out
}

// received is what arrives of each chain: of one branch, or of two.
type received map[chainKey][][]*envelope.Envelope

// model makes the documents by the rules of the protocol, and nothing else: which envelopes count in the state of all
// events, applied to an empty document in a random order.
func (s *script) model(part received) map[DocID]wire.ID {
	var counting []*envelope.Envelope
	for _, key := range slices.SortedFunc(maps.Keys(part), chainKey.compare) {
		counting = append(counting, s.counting(key, part[key])...)
	}
	s.rng.Shuffle(len(counting), func(i, k int) { counting[i], counting[k] = counting[k], counting[i] })
	out := map[DocID]wire.ID{}
	for _, id := range s.docs {
		d := crdt.New()
		for _, e := range counting {
			if e.Kind != envelope.KindUpdate || e.Doc != id {
				continue
			}
			for _, u := range s.updates(e) {
				if _, err := d.ApplyUpdate(u); err != nil {
					s.t.Error(err)
				}
			}
		}
		out[id] = wire.ID(d.Digest())
	}
	return out
}

// counting returns the envelopes of a chain that count, all events being known.
func (s *script) counting(key chainKey, branches [][]*envelope.Envelope) (out []*envelope.Envelope) {
	now := s.log.State()
	chain, ok := now.Chain(key.device, key.no)
	if !ok || !chain.Owned {
		s.tally.add("of no chain", len(branches[0]))
		return nil
	}
	lawful := make([][]*envelope.Envelope, len(branches))
	for i, list := range branches {
		lawful[i] = s.lawful(chain, list)
	}
	cut, ends := now.Cut(key.device, key.no)
	at := chain.Forked // as somebody has proven,
	if len(branches) > 1 {
		if seen := parts(branches[0], branches[1]); seen > 0 { // or as two envelopes of one place say that have arrived
			at = seen
		}
	}
	if at == 0 {
		for _, e := range longest(lawful) {
			if ends && e.Seq > cut.Seq {
				s.tally.add("beyond a cut", 1)
				continue
			}
			out = append(out, e)
		}
		s.tally.add("counting", len(out))
		return out
	}
	return s.countingOfFork(chain, lawful, at)
}

func longest(lists [][]*envelope.Envelope) []*envelope.Envelope {
	return slices.MaxFunc(lists, func(a, b []*envelope.Envelope) int { return len(a) - len(b) })
}

// countingOfFork is counting for a chain that parts at a place: what lies before it, then what was settled, which names the
// branch, then what managers have picked beyond.
func (s *script) countingOfFork(chain governance.Chain, lawful [][]*envelope.Envelope, at uint64) (out []*envelope.Envelope) {
	now := s.log.State()
	cut, ends := now.Cut(chain.Device, chain.No)
	for _, e := range longest(lawful) {
		if e.Seq < at && (!ends || e.Seq <= cut.Seq) {
			out = append(out, e)
		}
	}
	through := func(c governance.Cut) (whole []*envelope.Envelope) { // the branch that leads to an envelope, up to it
		for _, list := range lawful {
			if n := uint64(len(list)); c.Seq <= n && list[c.Seq-1].ID == c.Envelope {
				return list[:c.Seq]
			}
		}
		return nil
	}
	settled, ok := now.SettledContent(chain.Device, chain.No)
	if ok = ok && settled.Seq >= at; ok {
		if whole := through(settled); whole != nil {
			s.tally.add("forked and settled", 1)
			out = whole
		} else {
			return out
		}
	}
	if chain.Forked > 0 && ends && cut.Seq >= at && (!ok || cut.Seq > settled.Seq) {
		if whole := through(cut); whole != nil && (!ok || whole[settled.Seq-1].ID == settled.Envelope) {
			s.tally.add("forked and picked", 1)
			out = whole
		}
	}
	s.tally.add("forked", 1)
	s.tally.add("counting", len(out))
	return out
}

// lawful returns the envelopes of a branch whose authors might do what they do, up to the first that might not.
func (s *script) lawful(chain governance.Chain, list []*envelope.Envelope) (out []*envelope.Envelope) {
	var before []governance.EventID
	for i, e := range list {
		then, err := s.log.StateAt(e.GovHeads)
		if err != nil {
			s.t.Error(err)
			return nil
		}
		knows := func(ids []governance.EventID) bool {
			ok, err := s.log.Includes(e.GovHeads, ids)
			return ok && err == nil
		}
		opened := slices.ContainsFunc(chain.Openings, func(id governance.EventID) bool { return knows([]governance.EventID{id}) })
		may := then.May(e.Device, governance.ActPresence)
		if e.Kind == envelope.KindUpdate {
			may = then.May(e.Device, governance.ActWrite) && then.Usable(*e.Epoch)
		}
		if !opened || !may || !knows(before) {
			s.tally.add("refused", len(list)-i)
			break
		}
		before = e.GovHeads
		out = append(out, e)
	}
	return out
}

// parcel is something that arrives: an event, an envelope, or a run.
type parcel struct {
	event []byte
	env   *envelope.Envelope
	run   []byte
}

// receive gives a history to a journal in one random order and compares.
func (s *script) receive(seed uint64, part received, want map[DocID]wire.ID) {
	parcels := s.parcels(part)
	n := s.openReader()
	defer func() { n.close() }()
	muted := s.people[s.rng.IntN(len(s.people))].id.Member()
	for _, p := range parcels {
		switch s.rng.IntN(40) {
		case 0:
			n.restart()
			s.tally.add("restarts", 1)
		case 1:
			_ = n.Mute(muted, s.rng.IntN(2) == 0)
		case 2:
			if _, err := n.DocByID(s.docs[s.rng.IntN(len(s.docs))]); err != nil && !errors.Is(err, ErrUnknownDoc) {
				s.t.Errorf("seed %d: %v", seed, err)
			}
		}
		n.deliver(p)
		if s.rng.IntN(3) == 0 {
			n.deliver(parcels[s.rng.IntN(len(parcels))]) // also twice, or before its time
		}
	}
	for _, p := range s.people {
		if held, _ := n.HeldBack(p.id.Member()); held > 0 {
			s.tally.add("held on the way", held)
		}
	}
	s.tally.add("quarantines", len(n.Holds()))
	n.catchUp(part)
	_ = n.Mute(muted, false)
	n.pass(48 * time.Hour) // no quarantine lasts so long
	n.Changed()
	if err := n.Settled(s.t.Context()); err != nil {
		s.t.Error(err)
	}
	for _, id := range s.docs {
		got := wire.ID(crdt.New().Digest())
		if r, err := n.DocByID(id); err == nil {
			got = r.Digest()
		} else if !errors.Is(err, ErrUnknownDoc) {
			s.t.Errorf("seed %d: %v", seed, err)
		}
		if got != want[id] {
			s.t.Errorf("seed %d: document %x is not what the model makes of it; again with -run TestDocuments -cases 1 -seed %d", seed, id[:2], seed)
		}
	}
}

// parcels shuffles all that arrives; runs take the place of some envelopes.
func (s *script) parcels(part received) (out []parcel) {
	for _, raw := range s.events {
		out = append(out, parcel{event: raw})
	}
	for _, key := range slices.SortedFunc(maps.Keys(part), chainKey.compare) {
		for _, list := range part[key] {
			if s.rng.IntN(3) == 0 {
				from := s.rng.IntN(len(list))
				if run, err := envelope.EncodeRun(list[from:]); err == nil {
					out, list = append(out, parcel{run: run}), list[:from]
				}
			}
			for _, e := range list {
				out = append(out, parcel{env: e})
			}
		}
	}
	if s.rng.IntN(2) == 0 { // nearly in order, as most of life is
		for i := range out {
			k := min(len(out)-1, i+s.rng.IntN(6))
			out[i], out[k] = out[k], out[i]
		}
		return out
	}
	s.rng.Shuffle(len(out), func(i, k int) { out[i], out[k] = out[k], out[i] })
	return out
}

// reader is a journal that only receives.
type reader struct {
	*Journal
	s     *script
	gov   *gov
	store *store.Store
	mu    sync.Mutex
	time  time.Time
}

func (s *script) openReader() *reader {
	n := &reader{s: s, time: testTime, gov: &gov{team: s.team, person: s.ada, log: governance.NewLog(s.root), blind: map[governance.EpochID]bool{}}}
	for _, raw := range s.cast.events {
		if _, err := n.gov.log.Add(raw); err != nil {
			s.t.Error(err)
		}
	}
	var err error
	if n.store, err = store.Open("", store.Options{Key: storeKey, Memory: true}); err != nil {
		s.t.Error(err)
	}
	n.open()
	return n
}

func (n *reader) open() {
	var err error
	n.Journal, err = Open(n.s.t.Context(), Config{
		Store: n.store, Governance: n.gov, Random: rand.Reader, Now: n.now,
		Self: Self{Identity: n.s.ada.id.ID, Device: n.s.ada.dev.ID, Keys: n.s.ada.keys},
	})
	if err != nil {
		n.s.t.Error(err)
	}
}

func (n *reader) now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.time
}

func (n *reader) pass(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.time = n.time.Add(d)
}

func (n *reader) restart() {
	if err := n.Journal.Close(); err != nil {
		n.s.t.Error(err)
	}
	n.open()
}

func (n *reader) close() {
	if err := errors.Join(n.Journal.Close(), n.store.Close()); err != nil {
		n.s.t.Error(err)
	}
}

func (n *reader) deliver(p parcel) {
	switch {
	case p.event != nil:
		n.gov.mu.Lock()
		_, err := n.gov.log.Add(p.event)
		n.gov.mu.Unlock()
		if err != nil {
			n.s.t.Error(err)
		}
		n.Changed()
	case p.env != nil:
		_, _ = n.Accept(n.s.t.Context(), p.env, p.env.Device)
	case p.run != nil:
		_ = n.AcceptRun(n.s.t.Context(), p.run, n.s.people[1].dev.ID)
	}
}

// catchUp brings what is missing, as anti-entropy does, until nothing more is taken.
func (n *reader) catchUp(part received) {
	for again := true; again; {
		again = false
		for _, key := range slices.SortedFunc(maps.Keys(part), chainKey.compare) {
			for _, list := range part[key] {
				for held := n.HeldTo(key.device, key.no); held < uint64(len(list)); held++ {
					if v, _ := n.Accept(n.s.t.Context(), list[held], key.device); v != Accepted {
						break
					}
					again = true
				}
			}
		}
	}
	for range 2 { // what devices hold that have another branch, in the runs that they would send
		for _, key := range slices.SortedFunc(maps.Keys(part), chainKey.compare) {
			for _, list := range part[key] {
				from := 0
				if len(part[key]) > 1 {
					from = max(0, int(parts(part[key][0], part[key][1]))-1)
				}
				for to := from + 1; len(part[key]) > 1 && to <= len(list); to++ {
					run, err := envelope.EncodeRun(list[from:to])
					if err != nil {
						n.s.t.Error(err)
					}
					_ = n.AcceptRun(n.s.t.Context(), run, n.s.people[1].dev.ID)
				}
			}
		}
	}
}
