package foundation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/envelope"
	"github.com/studio-whip/collab/sync/journal"
)

// want is a chain of which the other side has more.
type want struct {
	chainKey
	after  uint64
	upTo   uint64 // what the other side has
	search bool   // the sides disagree: look for where they part, from the beginning
	denied bool   // the other side gave nothing: it may have found meanwhile that the chain is forked
}

// take asks for what is lacking here, by the other side's frontier, until nothing is or nothing more comes of it.
func (f *Foundation) take(ctx context.Context, x *exchange, theirs *frontier) error {
	forked := map[chainKey]uint64{}
	for _, p := range f.forks() {
		forked[p.chain()] = p.Seq
	}
	proofs := f.unproven(theirs.Forks, forked)
	todo := f.lacking(theirs, forked)
	// Another order in each exchange: exchanges with several devices at once bring different chains first.
	rand.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
	for len(todo) > 0 {
		var now []*want
		var a ask
		for len(todo) > 0 && len(now) < maxAsks {
			w := todo[0]
			todo = todo[1:]
			if f.ahead(w) {
				now = append(now, w)
				a.Runs = append(a.Runs, wanted{Device: w.Device, ChainNo: w.ChainNo, After: w.after})
			}
		}
		if len(now) == 0 {
			break
		}
		if err := x.send(wire.Marshal(a)); err != nil {
			return err
		}
		for _, w := range now {
			again, err := f.takeRuns(ctx, x, w)
			if err != nil {
				return err
			}
			if again {
				todo = append(todo, w)
			}
			if w.denied {
				proofs = append(proofs, w.chainKey)
			}
		}
	}
	for _, chain := range proofs {
		if err := f.takeProof(ctx, x, chain); err != nil {
			return err
		}
	}
	return x.send(wire.Marshal(ask{}))
}

// lacking lists the chains of which the other side has what this one lacks and could use: those that governance knows
// here, up to where it and proven forks let them count. Where governance has picked a branch of a forked chain that is not
// held, what the other side lets count may be it.
func (f *Foundation) lacking(theirs *frontier, forked map[chainKey]uint64) (out []*want) {
	state := f.cfg.State()
	for _, p := range theirs.Places {
		held := f.cfg.Journal.HeldTo(p.Device, p.ChainNo)
		c, ok := state.Chain(p.Device, p.ChainNo)
		at, parts := forked[p.chain()]
		cut, ends := state.Cut(p.Device, p.ChainNo)
		after, astray := f.cfg.Journal.Astray(p.head())
		switch {
		case !ok || !c.Owned:
		case astray:
			if p.Seq > after && (held < p.Seq || f.cfg.Journal.After(p.head()) != p.Seq) {
				out = append(out, &want{chainKey: p.chain(), after: after, upTo: p.Seq, search: true})
			}
		case parts && p.Seq >= at:
		case held >= p.Seq && f.cfg.Journal.After(p.head()) != p.Seq: // also up to a cut, which both sides count up to
			out = append(out, &want{chainKey: p.chain(), upTo: p.Seq, search: true})
		case ends && held >= cut.Seq:
		case held < p.Seq:
			out = append(out, &want{chainKey: p.chain(), after: held, upTo: p.Seq})
		}
	}
	return out
}

// ahead reports whether the other side still has more of a chain, as others may have brought it meanwhile.
func (f *Foundation) ahead(w *want) bool {
	if !w.search {
		w.after = max(w.after, f.cfg.Journal.HeldTo(w.Device, w.ChainNo))
	}
	return w.after < w.upTo
}

// takeRuns takes in the answer about one chain. It reports whether to ask for what follows. After a run that is refused
// the rest of the answer is read and dropped: it builds on that run.
func (f *Foundation) takeRuns(ctx context.Context, x *exchange, w *want) (again bool, err error) {
	before := f.cfg.Journal.HeldTo(w.Device, w.ChainNo)
	var last []byte
	var refused error
	err = f.answer(x, answerBytes+MaxRun, func(run []byte) error {
		if refused != nil {
			return nil
		}
		last = run
		refused = f.cfg.Journal.AcceptRun(ctx, run, x.with)
		return f.fatal(ctx, refused)
	})
	if err != nil {
		return false, err
	}
	held := f.cfg.Journal.HeldTo(w.Device, w.ChainNo)
	if held > before {
		x.passed.In(int(held-before), 0)
		f.bring(x.with)
	}
	if refused != nil {
		f.log.Debug("foundation: run refused", "device", x.with.Short(), "err", refused)
		if errors.Is(refused, journal.ErrFork) && !w.search && w.after > 0 {
			w.search, w.after = true, 0
			return true, nil
		}
		return false, nil
	}
	w.denied = last == nil && held <= w.after
	if !w.search {
		return held > w.after, nil
	}
	return f.searched(w, last)
}

// searched notes how far a search has come.
func (f *Foundation) searched(w *want, last []byte) (again bool, err error) {
	if last == nil {
		return false, nil
	}
	run, err := envelope.DecodeRun(last)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	end := run.Envelopes[len(run.Envelopes)-1].Seq
	if end >= w.upTo {
		return false, nil
	}
	again, w.after = end > w.after, end
	return again, nil
}

// unproven lists the chains whose fork the other side can prove and this one has not seen although it holds so much.
func (f *Foundation) unproven(forks []fork, known map[chainKey]uint64) (out []chainKey) {
	for _, fork := range forks {
		at, ok := known[fork.chain()]
		if (!ok || at > fork.Seq) && f.cfg.Journal.HeldTo(fork.Device, fork.ChainNo) >= fork.Seq {
			out = append(out, fork.chain())
		}
	}
	return out
}

// takeProof asks for the proof of a fork.
func (f *Foundation) takeProof(ctx context.Context, x *exchange, chain chainKey) error {
	if err := x.send(wire.Marshal(ask{Proofs: []chainKey{chain}})); err != nil {
		return err
	}
	return f.answer(x, 2*MaxRun, func(run []byte) error {
		err := f.cfg.Journal.AcceptRun(ctx, run, x.with)
		if errors.Is(err, journal.ErrFork) {
			f.bring(x.with)
		}
		return f.fatal(ctx, err)
	})
}

// answer reads frames, at most limit bytes together, until an empty one.
func (f *Foundation) answer(x *exchange, limit int, take func(run []byte) error) error {
	for {
		run, err := x.receive(min(MaxRun, limit), idleTime)
		if err != nil {
			return err
		}
		if len(run) == 0 {
			return nil
		}
		if err := f.permit(x); err != nil {
			return err
		}
		if err := take(run); err != nil {
			return err
		}
		limit -= len(run)
	}
}

// fatal returns an error that ends the exchange. That a run is refused or cannot be judged yet concerns one chain, and so
// does a chain that cannot be read here.
func (f *Foundation) fatal(ctx context.Context, err error) error {
	var refused *journal.RefusedError
	switch {
	case err == nil || errors.As(err, &refused) || errors.Is(err, journal.ErrUnverifiable):
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("foundation: %w", ctx.Err())
	case errors.Is(err, journal.ErrClosed), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrDiskFull):
		return fmt.Errorf("foundation: take in a run: %w", err)
	}
	f.log.Warn("foundation: run could not be taken in", "err", err)
	return nil
}
