package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What rooms that fetch files ask of a schedule.
var _ interface {
	Urgent() (done func())
	Background(ctx context.Context, n int) (turn context.Context, end func(), err error)
} = (*Tiers)(nil)

// schedule runs a test with a schedule in a bubble of its own time; goroutines that outlive the test fail it.
func schedule(t *testing.T, bytesPerSecond int64, test func(*testing.T, *Tiers)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tiers := NewTiers(bytesPerSecond)
		defer tiers.Close()
		test(t, tiers)
	})
}

// background takes a turn that is to be had at once.
func background(t *testing.T, tiers *Tiers) (context.Context, func()) {
	t.Helper()
	turn, end, err := tiers.Background(t.Context(), 1)
	must(t, err)
	return turn, end
}

// asks takes a turn when there is one, and says so.
func asks(t *testing.T, tiers *Tiers, name string, got chan<- string) (leave func()) {
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		_, end, err := tiers.Background(ctx, 1)
		if err != nil {
			got <- name + ": " + err.Error()
			return
		}
		got <- name
		<-ctx.Done()
		end()
	}()
	synctest.Wait()
	return leave
}

func taken(got <-chan string) (names []string) {
	synctest.Wait()
	for len(got) > 0 {
		names = append(names, <-got)
	}
	return names
}

// What is urgent cuts what runs in the background and holds up what comes, until the last of it ends.
func TestUrgentBeforeBackground(t *testing.T) {
	schedule(t, 0, func(t *testing.T, tiers *Tiers) {
		turn, end := background(t, tiers)
		first, second := tiers.Urgent(), tiers.Urgent()
		if turn.Err() == nil || !errors.Is(context.Cause(turn), ErrUrgent) {
			t.Errorf("the turn goes on: %v", context.Cause(turn))
		}
		got := make(chan string, 10)
		leave := asks(t, tiers, "later", got)
		first()
		first() // counts once
		if names := taken(got); names != nil {
			t.Errorf("%v has a turn while something urgent runs", names)
		}
		second()
		if names := taken(got); !slices.Equal(names, []string{"later"}) {
			t.Errorf("after the urgent transfers: %v", names)
		}
		end()
		end() // gives nothing back twice
		if s := tiers.Stats(); s.Urgent != 0 || s.Background != 1 || s.Waiting != 0 || s.Urgents != 2 || s.Backgrounds != 2 || s.Cut != 1 {
			t.Errorf("stats %+v", s)
		}
		leave()
		synctest.Wait()
		if s := tiers.Stats(); s.Background != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// Turns are given in the order of the calls, a few at once; who leaves the queue holds nobody up.
func TestBackgroundOrder(t *testing.T) {
	schedule(t, 0, func(t *testing.T, tiers *Tiers) {
		got := make(chan string, 20)
		leave := map[string]func(){}
		var names []string
		for i := range MaxTurns + 4 {
			name := fmt.Sprint("turn ", i)
			names = append(names, name)
			leave[name] = asks(t, tiers, name, got)
			defer func() { leave[name]() }()
		}
		if first := taken(got); !slices.Equal(first, names[:MaxTurns]) {
			t.Fatalf("at first: %v", first)
		}
		if s := tiers.Stats(); s.Background != MaxTurns || s.Waiting != 4 {
			t.Errorf("stats %+v", s)
		}
		leave[names[MaxTurns+1]]() // it does not want it any more
		if left := taken(got); len(left) != 1 || !strings.Contains(left[0], context.Canceled.Error()) {
			t.Errorf("who left: %v", left)
		}
		var next []string
		for _, name := range names[:3] {
			leave[name]()
			next = append(next, taken(got)...)
		}
		if want := []string{names[MaxTurns], names[MaxTurns+2], names[MaxTurns+3]}; !slices.Equal(next, want) {
			t.Errorf("then: %v, want %v", next, want)
		}
	})
}

// What is cut again and again still gets on: each pause between urgent things gives it a turn.
func TestBackgroundIsNotStarved(t *testing.T) {
	schedule(t, 0, func(t *testing.T, tiers *Tiers) {
		const pieces = 20
		left := pieces
		done := make(chan struct{})
		go func() {
			defer close(done)
			for left > 0 {
				turn, end, err := tiers.Background(t.Context(), 1)
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case <-time.After(time.Second):
					left--
				case <-turn.Done():
				}
				end()
			}
		}()
		for range 3 * pieces {
			over := tiers.Urgent()
			time.Sleep(time.Second)
			over()
			time.Sleep(1500 * time.Millisecond)
		}
		<-done
		if s := tiers.Stats(); s.Backgrounds < 2*pieces-1 || s.Cut < pieces-1 {
			t.Errorf("stats %+v", s)
		}
	})
}

// A round disturbs the background only while it lasts longer than one that finds nothing, and not for ever.
func TestExchangeGivesWay(t *testing.T) {
	for _, c := range []struct {
		name  string
		lasts time.Duration
		cut   bool
		free  time.Duration // when a new turn is to be had
	}{
		{"nothing new", exchangeCounts / 2, false, 0},
		{"much", 10 * time.Second, true, 10 * time.Second},
		{"slow on purpose", time.Hour, true, slowRound},
	} {
		t.Run(c.name, func(t *testing.T) {
			schedule(t, 0, func(t *testing.T, tiers *Tiers) {
				turn, end := background(t, tiers)
				defer end()
				done := tiers.Exchange()
				time.AfterFunc(c.lasts, done)
				time.Sleep(exchangeCounts)
				synctest.Wait()
				if (turn.Err() != nil) != c.cut {
					t.Errorf("the turn: %v", turn.Err())
				}
				began := time.Now()
				_, next := background(t, tiers)
				next()
				if free := time.Since(began); c.cut && free != c.free-exchangeCounts || !c.cut && free != 0 {
					t.Errorf("a new turn after %v", free)
				}
				time.Sleep(c.lasts)
				done()
				if s := tiers.Stats(); s.Urgent != 0 {
					t.Errorf("stats %+v", s)
				}
			})
		})
	}
}

// The limit holds over all turns together, whatever their size, and does not count what is urgent.
func TestBandwidth(t *testing.T) {
	const limit = 1000
	schedule(t, limit, func(t *testing.T, tiers *Tiers) {
		start, total := time.Now(), 0
		for _, n := range []int{1, 0, -5, 999, 1, 5000, 250, 250, 10_000} {
			_, end, err := tiers.Background(t.Context(), n)
			must(t, err)
			end()
			total += max(n, 0)
			took := time.Since(start)
			least := time.Duration(max(total-limit, 0)) * time.Second / limit
			if took < least || took > least+10*time.Millisecond {
				t.Errorf("%d bytes were granted after %v, want %v", total, took, least)
			}
		}
		began := time.Now()
		tiers.Urgent()()
		if time.Since(began) != 0 {
			t.Error("something urgent waited")
		}
		if s := tiers.Stats(); s.Granted != uint64(total) {
			t.Errorf("stats %+v, want %d bytes", s, total)
		}
	})
}

// Callers who wait, for bandwidth, in the queue or for calm, learn why they get no turn.
func TestWaitingEnds(t *testing.T) {
	type wait struct {
		name string
		ask  func(context.Context, *Tiers) error
	}
	ask := func(n int) func(context.Context, *Tiers) error {
		return func(ctx context.Context, tiers *Tiers) error {
			_, end, err := tiers.Background(ctx, n)
			if err == nil {
				end()
			}
			return err
		}
	}
	for _, w := range []wait{
		{"for bandwidth", ask(1 << 30)},
		{"in the queue", func(ctx context.Context, tiers *Tiers) error {
			go func() { _ = ask(1<<30)(ctx, tiers) }()
			synctest.Wait()
			return ask(1)(ctx, tiers)
		}},
		{"for calm", func(ctx context.Context, tiers *Tiers) error {
			defer tiers.Urgent()()
			return ask(1)(ctx, tiers)
		}},
	} {
		for name, end := range map[string]struct {
			do   func(cancel context.CancelFunc, tiers *Tiers)
			want error
		}{
			"cancel": {func(cancel context.CancelFunc, _ *Tiers) { cancel() }, context.Canceled},
			"close":  {func(_ context.CancelFunc, tiers *Tiers) { tiers.Close(); tiers.Close() }, ErrStopped},
		} {
			t.Run(w.name+"/"+name, func(t *testing.T) {
				schedule(t, 1000, func(t *testing.T, tiers *Tiers) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					time.AfterFunc(time.Second, func() { end.do(cancel, tiers) })
					if err := w.ask(ctx, tiers); !errors.Is(err, end.want) {
						t.Errorf("%v; want %v", err, end.want)
					}
					if waited := tiers.Stats().Waiting; w.name != "in the queue" && waited != 0 {
						t.Errorf("%d still wait", waited)
					}
				})
			})
		}
	}
	schedule(t, 1000, func(t *testing.T, tiers *Tiers) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := ask(1<<30)(ctx, tiers); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at the deadline: %v", err)
		}
	})
}

// Close ends the turns under way and refuses new ones; what is given back afterwards does no harm.
func TestCloseEndsTurns(t *testing.T) {
	schedule(t, 0, func(t *testing.T, tiers *Tiers) {
		turn, end := background(t, tiers)
		done, exchanged := tiers.Urgent(), tiers.Exchange()
		done()
		turn2, end2 := background(t, tiers)
		tiers.Close()
		<-turn2.Done()
		if !errors.Is(context.Cause(turn2), ErrStopped) || !errors.Is(context.Cause(turn), ErrUrgent) {
			t.Errorf("causes %v, %v", context.Cause(turn), context.Cause(turn2))
		}
		if _, _, err := tiers.Background(t.Context(), 1); !errors.Is(err, ErrStopped) {
			t.Errorf("after the end: %v", err)
		}
		end()
		end2()
		exchanged()
		tiers.Urgent()()
	})
}

// Without a schedule everybody passes.
func TestNoSchedule(t *testing.T) {
	var tiers *Tiers
	tiers.Urgent()()
	tiers.Exchange()()
	turn, end := background(t, tiers)
	if turn.Err() != nil || tiers.Stats() != (TierStats{}) {
		t.Error("it holds somebody up")
	}
	end()
}

// Many callers at once: never more turns than allowed, none beside something urgent, and all come to an end.
func TestTiersConcurrently(t *testing.T) {
	schedule(t, 1<<20, func(t *testing.T, tiers *Tiers) {
		var (
			all     sync.WaitGroup
			mu      sync.Mutex
			turns   = map[context.Context]bool{}
			urgents int
		)
		check := func() {
			live := 0
			for turn := range turns {
				if turn.Err() == nil {
					live++
				}
			}
			if live > MaxTurns || live > 0 && urgents > 0 {
				t.Errorf("%d turns beside %d urgent transfers", live, urgents)
			}
		}
		for i := range 20 {
			all.Go(func() {
				for j := range 10 {
					turn, end, err := tiers.Background(t.Context(), 1000*i)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					turns[turn] = true
					check()
					mu.Unlock()
					select {
					case <-time.After(time.Duration(i+j) * time.Millisecond):
					case <-turn.Done():
					}
					mu.Lock()
					delete(turns, turn)
					mu.Unlock()
					end()
				}
			})
			all.Go(func() {
				for j := range 10 {
					time.Sleep(time.Duration(37*i+100*j) * time.Millisecond)
					done := tiers.Urgent()
					mu.Lock()
					urgents++
					check()
					mu.Unlock()
					time.Sleep(5 * time.Millisecond)
					mu.Lock()
					urgents--
					mu.Unlock()
					done()
				}
			})
		}
		all.Wait()
		if s := tiers.Stats(); s.Urgent+s.Background+s.Waiting != 0 || s.Backgrounds != 200 || s.Urgents != 200 {
			t.Errorf("stats %+v", s)
		}
	})
}
