package foundation

import (
	"context"
)

// give answers the other side's asks until it asks for nothing.
func (f *Foundation) give(ctx context.Context, x *exchange) error {
	for {
		raw, err := x.receive(maxAsk, idleTime)
		if err != nil {
			return err
		}
		a, err := decodeAsk(raw)
		if err != nil || a.empty() {
			return err
		}
		// What this device has signed must never be known to others and forgotten here.
		if err := f.cfg.Journal.WaitSaved(ctx); err != nil {
			f.log.Debug("foundation: before an answer", "err", err)
		}
		for _, w := range a.Runs {
			if err := f.giveRuns(x, w); err != nil {
				return err
			}
		}
		for _, chain := range a.Proofs {
			if err := f.giveProof(x, chain); err != nil {
				return err
			}
		}
	}
}

// giveRuns sends runs that follow one another, about answerBytes together, and an empty frame.
func (f *Foundation) giveRuns(x *exchange, w wanted) error {
	for size := 0; size < answerBytes; {
		if err := f.permit(x); err != nil {
			return err
		}
		run, last, err := f.cfg.Journal.Run(w.Device, w.ChainNo, w.After)
		if err != nil { // other chains may be well
			f.log.Warn("foundation: chain cannot be served", "device", w.Device.Short(), "chain", w.ChainNo, "err", err)
			break
		}
		if len(run) == 0 || last <= w.After {
			break
		}
		if err := x.send(run); err != nil {
			return err
		}
		x.passed.Out(int(last-w.After), 0)
		size, w.After = size+len(run), last
	}
	return x.send(nil)
}

// giveProof sends the two runs that show that a chain was forked, if they are here, and an empty frame.
func (f *Foundation) giveProof(x *exchange, chain chainKey) error {
	if err := f.permit(x); err != nil {
		return err
	}
	runs, err := f.cfg.Journal.EvidenceOf(chain.Device, chain.ChainNo)
	if err != nil { // other chains may be well
		f.log.Warn("foundation: evidence cannot be read", "err", err)
	}
	for _, run := range runs {
		if err := x.send(run); err != nil {
			return err
		}
	}
	return x.send(nil)
}
