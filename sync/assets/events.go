package assets

import (
	"context"
	"time"
)

// events is what has to be told, in order, by one goroutine. It is guarded by the project's lock.
type events struct {
	wake       chan struct{}
	queue      []func()
	progress   map[*asset]struct{} // contents of which more has come
	onChange   []func(Info)
	onProgress []func(string, Progress)
	onDamage   []func(Info, error)
}

func newEvents() events {
	return events{wake: make(chan struct{}, 1), progress: map[*asset]struct{}{}}
}

// OnChange calls fn when a file has come, gone or changed, or is whole on this device. Functions given to this and the
// next two are called one at a time, without a lock; they must not call Close.
func (a *Assets) OnChange(fn func(Info)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events.onChange = append(a.events.onChange, fn)
}

// OnProgress calls fn when more of a file has come, at most four times a second for each.
func (a *Assets) OnProgress(fn func(path string, p Progress)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events.onProgress = append(a.events.onProgress, fn)
}

// OnDamage calls fn when a block of a file was found damaged on this device. It has been removed and is fetched again.
func (a *Assets) OnDamage(fn func(Info, error)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events.onDamage = append(a.events.onDamage, fn)
}

// changed, changedContent and damaged need a.mu.
func (a *Assets) changed(i Info) {
	for _, fn := range a.events.onChange {
		a.events.queue = append(a.events.queue, func() { fn(i) })
	}
	poke(a.events.wake)
}

func (a *Assets) changedContent(x *asset) {
	for _, f := range a.files {
		if f.asset == x {
			a.changed(a.info(f))
		}
	}
}

func (a *Assets) damaged(i Info, err error) {
	for _, fn := range a.events.onDamage {
		a.events.queue = append(a.events.queue, func() { fn(i, err) })
	}
	poke(a.events.wake)
}

// tell calls what is due. Progress is gathered meanwhile.
func (a *Assets) tell(ctx context.Context) error {
	var due <-chan time.Time // when progress is told next; nil: as soon as there is any
	for {
		select {
		case <-a.events.wake:
		case <-due:
			due = nil
		case <-ctx.Done():
			return nil
		}
		a.mu.Lock()
		calls := a.events.queue
		a.events.queue = nil
		if due == nil {
			if progress := a.takeProgress(); len(progress) > 0 {
				calls = append(calls, progress...)
				due = time.After(progressEvery)
			}
		}
		a.mu.Unlock()
		for _, fn := range calls {
			fn()
		}
	}
}

// takeProgress returns the calls that tell of what has come; a.mu is held.
func (a *Assets) takeProgress() (calls []func()) {
	if len(a.events.progress) == 0 {
		return nil
	}
	for _, f := range a.files {
		if _, more := a.events.progress[f.asset]; more {
			p := f.asset.progress()
			for _, fn := range a.events.onProgress {
				calls = append(calls, func() { fn(f.path, p) })
			}
		}
	}
	clear(a.events.progress)
	return calls
}
