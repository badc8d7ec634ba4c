package governance

import (
	"slices"
	"testing"
)

// checkInvariants verifies what must hold whatever the steps of replay are.
func checkInvariants(t *testing.T, w *world, seed uint64) {
	t.Helper()
	h := w.h
	heads := h.headsNow()
	o := h.verdict(heads)
	v := view{h, h.closure(heads), o.void, o.base}
	fail := func(e *entry, what string) {
		t.Helper()
		t.Fatalf("seed %d: %s: %s\n%s", seed, e.id.Short(), what, describe(w.acts))
	}
	for _, m := range h.members {
		role := v.role(m)
		for _, i := range h.acts[m] {
			e := h.entries[i]
			if !v.counts(i) || role == None {
				continue
			}
			switch e.kind {
			case KindRevoke, KindLeave:
				back := slices.ContainsFunc(h.acts[m], func(j int) bool {
					return v.counts(j) && h.admitsMember(h.entries[j], m) && h.entries[j].past.has(i)
				})
				if !back {
					fail(e, "somebody removed has a role without a later admission")
				}
			case KindCarry:
				fail(e, "somebody who ended his identity has a role")
			}
		}
	}
	for _, i := range h.removals {
		e := h.entries[i]
		before := view{h, e.past, o.void, e.base}
		alone := v.counts(i) && !e.rootAct && len(e.signers) == 1 && !e.onOwn()
		switch e.kind {
		case KindRevoke, KindRoleDrop, KindDeviceRemove:
			if alone && before.role(e.subject) == Manager {
				fail(e, "one manager alone changes the standing of another")
			}
		case KindCarry:
			if !v.counts(i) && e.own.ok() && (o.base == none || e.past.has(o.base)) {
				fail(e, "the end of an identity was cancelled")
			}
		}
	}
	checkSettled(t, w, seed)
	checkAllowed(t, w, v, seed)
}

// checkSettled verifies that what a settled checkpoint has in its past is, for good, what its past says.
func checkSettled(t *testing.T, w *world, seed uint64) {
	t.Helper()
	h := w.h
	o := h.verdict(h.headsNow())
	if o.base == none {
		return
	}
	c := h.entries[o.base]
	for i := range c.past.members {
		if o.void.has(i) != c.before.void.has(i) {
			t.Fatalf("seed %d: %s was settled otherwise\n%s", seed, h.entries[i].id.Short(), describe(w.acts))
		}
	}
	if o.void.has(o.base) {
		t.Fatalf("seed %d: the settled checkpoint is void\n%s", seed, describe(w.acts))
	}
}

// checkAllowed verifies that what counts outside a cycle is allowed at the end, that no additive act lowers anybody
// and no RoleDrop gives a role.
func checkAllowed(t *testing.T, w *world, v view, seed uint64) {
	t.Helper()
	h := w.h
	for _, e := range h.entries[1:] {
		if !v.counts(e.idx) || v.base != none && h.entries[v.base].past.has(e.idx) || e.idx == v.base || e.kind == KindCarry {
			continue
		}
		if f := h.judge(e, view{h, e.past, v.void, e.base}, false); !f.ok() && !e.reductive() {
			t.Fatalf("seed %d: %s counts and is not allowed: %v\n%s", seed, e.id.Short(), f.reason, describe(w.acts))
		}
		if q := v.held(e); q != none && !e.reductive() {
			t.Fatalf("seed %d: %s counts and is held by %s\n%s", seed, e.id.Short(), h.entries[q].id.Short(), describe(w.acts))
		}
		before := view{h, e.past, v.void, e.base}
		after := view{h, e.past.with(e.idx), v.void, e.base}
		for _, m := range h.subjects(e) {
			was, is := before.role(m), after.role(m)
			if rules[e.kind].class == additive && is < was {
				t.Fatalf("seed %d: %s lowers a member from %v to %v\n%s", seed, e.id.Short(), was, is, describe(w.acts))
			}
			if e.kind == KindRoleDrop && is > was {
				t.Fatalf("seed %d: %s gives a role\n%s", seed, e.id.Short(), describe(w.acts))
			}
		}
	}
}
