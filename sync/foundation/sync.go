package foundation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// Sync exchanges with one connected device what either side lacks:
//
//	caller                                device
//	opening {project}, frontier …      ─▶
//	                                   ◀─ frontier …
//	ask for runs after places          ─▶
//	                                   ◀─ for each: run …, empty frame
//	…
//	ask for nothing                    ─▶
//	                                   ◀─ ask …
//	run …, empty frame …               ─▶
//	                                   ◀─ ask for nothing
//
// It returns when both hold what either held when they compared, but for what one refused: content that does not count,
// and content that cannot be judged before more governance events are here. It fails with [ErrRefused], [ErrProtocol],
// [ErrStalled], [ErrClosed], an error of the transport or the context's. What came before an error stays.
func (f *Foundation) Sync(ctx context.Context, device identity.DeviceID) error {
	return f.lead(ctx, device, protocolSync, f.leadSync)
}

func (f *Foundation) leadSync(ctx context.Context, x *exchange) error {
	if err := f.sendFrontier(x); err != nil {
		return refusal(err)
	}
	theirs, err := f.receiveFrontier(x)
	if err != nil {
		return refusal(err)
	}
	if err := f.take(ctx, x, theirs); err != nil {
		return err
	}
	return f.give(ctx, x)
}

// followSync is the side that was asked; the opening has been read and its sender is live.
func (f *Foundation) followSync(ctx context.Context, x *exchange) error {
	theirs, err := f.receiveFrontier(x)
	if err != nil {
		return err
	}
	if err := f.permit(x); err != nil {
		return err
	}
	if err := f.sendFrontier(x); err != nil {
		return err
	}
	if err := f.give(ctx, x); err != nil {
		return err
	}
	return f.take(ctx, x, theirs)
}

// permit fails if the peer is no member, or not any more, or in quarantine.
func (f *Foundation) permit(x *exchange) error {
	if !f.live(x.with) {
		return fmt.Errorf("%w: device %s was removed or is in quarantine", ErrRefused, x.with.Short())
	}
	return nil
}

// sendFrontier says what is held here.
func (f *Foundation) sendFrontier(x *exchange) error {
	heads := f.cfg.Journal.Frontier()
	if len(heads) > MaxChains { // others in each round, so that all have their turn
		rand.Shuffle(len(heads), func(i, j int) { heads[i], heads[j] = heads[j], heads[i] })
		heads = heads[:MaxChains]
	}
	places := make([]place, len(heads))
	for i, h := range heads {
		places[i] = place{Device: h.Device, ChainNo: h.ChainNo, Seq: h.Seq, ID: h.ID}
	}
	slices.SortFunc(places, func(a, b place) int { return a.chain().compare(b.chain()) })
	for len(places) > maxPlaces {
		if err := x.send(wire.Marshal(frontier{Places: places[:maxPlaces], More: true})); err != nil {
			return err
		}
		places = places[maxPlaces:]
	}
	last := frontier{Places: places}
	for _, p := range f.forks() {
		if len(last.Forks) < maxForks {
			last.Forks = append(last.Forks, p)
		}
	}
	return x.send(wire.Marshal(last))
}

// receiveFrontier reads what the other side holds.
func (f *Foundation) receiveFrontier(x *exchange) (*frontier, error) {
	var all frontier
	last := chainKey{}
	for {
		raw, err := x.receive(maxFrontier, answerTime)
		if err != nil {
			return nil, err
		}
		frame, err := decodeFrontier(raw, last)
		if err != nil {
			return nil, err
		}
		all.Places, all.Forks = append(all.Places, frame.Places...), frame.Forks
		if !frame.More {
			return &all, nil
		}
		if len(all.Places) >= MaxChains {
			return nil, fmt.Errorf("%w: more than %d chains", ErrProtocol, MaxChains)
		}
		last = all.Places[len(all.Places)-1].chain()
	}
}

// forks lists the forked chains that the journal can prove, ascending. The runs that show it, which may be large, are read when
// somebody asks for them.
func (f *Foundation) forks() []fork {
	var out []fork
	for _, h := range f.cfg.Journal.Contradictions() {
		out = append(out, fork{Device: h.Device, ChainNo: h.ChainNo, Seq: h.Seq})
	}
	return out
}
