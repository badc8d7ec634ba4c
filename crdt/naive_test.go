package crdt

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// naiveUnit is one UTF-16 unit (here: one rune of the basic plane) of the reference sequence.
type naiveUnit struct {
	id, origin, right naiveID // origin and right have client 0 if there was no neighbour
	ch                rune
	deleted           bool
}

type naiveID struct{ client, clock uint64 }

// naive is the slow reference: a flat slice of single units, tombstones included, with the order rule of YATA written
// the plain way, with sets. It has no merging, no index, no pending store: callers deliver in causal order.
type naive struct {
	units []naiveUnit
	known map[naiveID]bool
}

func (n *naive) at(id naiveID) int {
	return slices.IndexFunc(n.units, func(u naiveUnit) bool { return u.id == id })
}

func (n *naive) ready(u naiveUnit) bool {
	has := func(id naiveID) bool { return id.client == 0 || n.known[id] }
	return has(u.origin) && has(u.right) && (u.id.clock == 0 || n.known[naiveID{u.id.client, u.id.clock - 1}])
}

func (n *naive) integrate(u naiveUnit) {
	if n.known[u.id] {
		return
	}
	n.known[u.id] = true
	left := -1
	if u.origin.client != 0 {
		left = n.at(u.origin)
	}
	end := len(n.units)
	if u.right.client != 0 {
		end = n.at(u.right)
	}
	before, conflicting := map[naiveID]bool{}, map[naiveID]bool{}
	for i := left + 1; i < end; i++ {
		o := n.units[i]
		before[o.id], conflicting[o.id] = true, true
		if o.origin == u.origin {
			if o.id.client < u.id.client {
				left = i
				clear(conflicting)
			} else if o.right == u.right {
				break
			}
		} else if o.origin.client != 0 && before[o.origin] {
			if !conflicting[o.origin] {
				left = i
				clear(conflicting)
			}
		} else {
			break
		}
	}
	n.units = slices.Insert(n.units, left+1, u)
}

func (n *naive) String() string {
	var sb strings.Builder
	for _, u := range n.units {
		if !u.deleted {
			sb.WriteRune(u.ch)
		}
	}
	return sb.String()
}

// visible returns the index in units of the visible unit p.
func (n *naive) visible(p int) int {
	for i, u := range n.units {
		if u.deleted {
			continue
		}
		if p == 0 {
			return i
		}
		p--
	}
	return len(n.units)
}

// insert makes the units of a local insertion: before the visible unit at p, behind the deleted ones there.
func (n *naive) insert(client, clock uint64, p int, s string) (us []naiveUnit) {
	at := n.visible(p)
	var right naiveID
	if at < len(n.units) {
		right = n.units[at].id
	}
	for _, ch := range s {
		u := naiveUnit{id: naiveID{client, clock}, right: right, ch: ch}
		if at > 0 {
			u.origin = n.units[at-1].id
		}
		n.integrate(u)
		at = n.at(u.id) + 1
		us = append(us, u)
		clock++
	}
	return us
}

func (n *naive) remove(p, count int) (ids []naiveID) {
	for ; count > 0; count-- {
		at := n.visible(p)
		n.units[at].deleted = true
		ids = append(ids, n.units[at].id)
	}
	return ids
}

// naiveOp is a transaction in the terms of the reference.
type naiveOp struct {
	units   []naiveUnit
	deletes []naiveID
}

func (n *naive) apply(op naiveOp) bool {
	for _, u := range op.units {
		if !n.known[u.id] && !n.ready(u) {
			return false
		}
		n.integrate(u)
	}
	for _, id := range op.deletes {
		if !n.known[id] {
			return false
		}
	}
	for _, id := range op.deletes {
		n.units[n.at(id)].deleted = true
	}
	return true
}

// peer is one replica with its reference beside it.
type peer struct {
	id    uint64
	doc   *Doc
	slow  *naive
	clock uint64
	inbox []naiveOp // for the reference, which waits by itself
	out   [][]byte
}

func (p *peer) drain() {
	for again := true; again; {
		again = false
		p.inbox = slices.DeleteFunc(p.inbox, func(op naiveOp) bool {
			done := p.slow.apply(op)
			again = again || done
			return done
		})
	}
}

// TestAgainstReference lets several replicas edit at once, delivers their updates late, in any order, more than once
// and partly as merged state, and compares every replica with the reference and, in the end, with each other.
func TestAgainstReference(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { simulate(t, seed) })
	}
}

func simulate(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	var peers []*peer
	type sent struct {
		update []byte
		op     naiveOp
	}
	var all []sent
	for i := range 2 + r.IntN(4) {
		p := &peer{id: uint64(r.Uint32()) + 1, slow: &naive{known: map[naiveID]bool{}}}
		p.doc = New(WithClientID(p.id))
		p.doc.OnUpdate(func(u []byte, o Origin) {
			if o.Local {
				p.out = append(p.out, u)
			}
		})
		_ = i
		peers = append(peers, p)
	}
	queue := make([][]int, len(peers)) // updates each peer has yet to get
	const alphabet = "abcdefghijklmnopqrstuvwxyzäöüß日本語"
	letters := []rune(alphabet)
	for range 40 + r.IntN(120) {
		k := r.IntN(len(peers))
		p := peers[k]
		if r.IntN(2) == 0 && len(queue[k]) > 0 {
			for range 1 + r.IntN(4) {
				if len(queue[k]) == 0 {
					break
				}
				i := r.IntN(len(queue[k]))
				m := all[queue[k][i]]
				if r.IntN(5) > 0 { // otherwise it comes again later
					queue[k] = slices.Delete(queue[k], i, i+1)
				}
				if _, err := p.doc.ApplyUpdate(m.update); err != nil {
					t.Fatal(err)
				}
				p.inbox = append(p.inbox, m.op)
			}
			p.drain()
			p.compare(t)
			continue
		}
		if len(p.doc.Pending())+len(p.doc.PendingDeletes()) > 0 || len(p.inbox) > 0 {
			continue // the reference applies transactions as a whole, the engine what it can of them
		}
		op := p.edit(t, r, letters)
		if len(p.out) == 0 {
			continue
		}
		for i := range queue {
			if i != k {
				queue[i] = append(queue[i], len(all))
			}
		}
		all = append(all, sent{p.out[0], op})
		p.out = nil
		p.compare(t)
	}
	for k, p := range peers {
		if r.IntN(3) == 0 { // some catch up by state
			from := peers[(k+1)%len(peers)].doc
			b, err := from.EncodeUpdate(p.doc.StateVector())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.doc.ApplyUpdate(b); err != nil {
				t.Fatal(err)
			}
		}
		for _, i := range queue[k] {
			if _, err := p.doc.ApplyUpdate(all[i].update); err != nil {
				t.Fatal(err)
			}
			p.inbox = append(p.inbox, all[i].op)
		}
		p.drain()
		p.compare(t)
	}
	full := mustEncode(t, peers[0].doc)
	for _, p := range peers {
		if p.doc.Digest() != peers[0].doc.Digest() {
			t.Fatalf("replica %d has another digest", p.id)
		}
		if p.slow.String() != peers[0].slow.String() {
			t.Fatalf("the references differ")
		}
	}
	fresh := New()
	if _, err := fresh.ApplyUpdate(full); err != nil {
		t.Fatal(err)
	}
	if fresh.Digest() != peers[0].doc.Digest() {
		t.Fatal("a replica loaded from the full state has another digest")
	}
}

// edit makes one transaction of a few edits on the engine and on the reference.
func (p *peer) edit(t *testing.T, r *rand.Rand, letters []rune) (op naiveOp) {
	text := p.doc.Text("t")
	err := p.doc.Update(func(tx *Txn) error {
		for range 1 + r.IntN(3) {
			n := text.Len(tx)
			at := r.IntN(n + 1)
			if r.IntN(3) == 0 && at < n {
				count := 1 + r.IntN(min(n-at, 6))
				op.deletes = append(op.deletes, p.slow.remove(at, count)...)
				if err := text.Delete(tx, at, count); err != nil {
					return err
				}
				continue
			}
			s := ""
			for range 1 + r.IntN(8) {
				s += string(letters[r.IntN(len(letters))])
			}
			us := p.slow.insert(p.id, p.clock, at, s)
			p.clock += uint64(len(us))
			op.units = append(op.units, us...)
			if err := text.Insert(tx, at, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func (p *peer) compare(t *testing.T) {
	t.Helper()
	if err := p.doc.selfCheck(); err != nil {
		t.Fatal(err)
	}
	if len(p.inbox) > 0 || len(p.doc.Pending())+len(p.doc.PendingDeletes()) > 0 {
		return // the engine may have applied part of a transaction that the reference still holds back
	}
	if got, want := textOf(p.doc, "t"), p.slow.String(); got != want {
		t.Fatalf("replica %d:\n got %q\nwant %q", p.id, got, want)
	}
}

// TestEventsRebuild keeps a copy of a text by its events alone, through local and remote edits, and compares.
func TestEventsRebuild(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		a, b := New(WithClientID(1)), New(WithClientID(2))
		var mirrorA, mirrorB mirror
		a.Text("t").Observe(mirrorA.apply)
		b.Text("t").Observe(mirrorB.apply)
		var toA, toB [][]byte
		a.OnUpdate(func(u []byte, o Origin) { toB = collectLocal(toB, u, o) })
		b.OnUpdate(func(u []byte, o Origin) { toA = collectLocal(toA, u, o) })
		for range 150 {
			randomEdit(t, r, []*Doc{a, b}[r.IntN(2)])
			if r.IntN(4) == 0 {
				toB = deliverSome(t, r, b, toB)
			}
			if r.IntN(4) == 0 {
				toA = deliverSome(t, r, a, toA)
			}
			if got, want := string(mirrorA), textOf(a, "t"); got != want {
				t.Fatalf("seed %d: events give %q, text is %q", seed, got, want)
			}
			if got, want := string(mirrorB), textOf(b, "t"); got != want {
				t.Fatalf("seed %d: events give %q, text is %q", seed, got, want)
			}
		}
	}
}

// mirror is a text kept up to date by events.
type mirror []rune

func (m *mirror) apply(e TextEvent) {
	at := 0
	for _, d := range e.Delta {
		switch {
		case d.Retain > 0:
			at += d.Retain
		case d.Erase > 0:
			*m = slices.Delete(*m, at, at+d.Erase)
		default:
			*m = slices.Insert(*m, at, []rune(d.Insert)...)
			at += len([]rune(d.Insert))
		}
	}
}

func collectLocal(to [][]byte, u []byte, o Origin) [][]byte {
	if o.Local {
		to = append(to, u)
	}
	return to
}

func deliverSome(t *testing.T, r *rand.Rand, d *Doc, us [][]byte) [][]byte {
	t.Helper()
	r.Shuffle(len(us), func(i, j int) { us[i], us[j] = us[j], us[i] })
	n := r.IntN(len(us) + 1)
	for _, u := range us[:n] {
		if _, err := d.ApplyUpdate(u); err != nil {
			t.Fatal(err)
		}
	}
	return us[n:]
}

func randomEdit(t *testing.T, r *rand.Rand, d *Doc) {
	t.Helper()
	text := d.Text("t")
	err := d.Update(func(tx *Txn) error {
		for range 1 + r.IntN(4) {
			n := text.Len(tx)
			at := r.IntN(n + 1)
			if r.IntN(3) == 0 && n > at {
				if err := text.Delete(tx, at, 1+r.IntN(min(n-at, 8))); err != nil {
					return err
				}
			} else if err := text.Insert(tx, at, strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(6))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
