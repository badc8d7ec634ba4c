package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCloseWaitsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(t.Context())
		var ended atomic.Int32
		for range 10 {
			if !g.Go("worker", func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Second) // fake time: an end that takes a while
				ended.Add(1)
				return ctx.Err()
			}) {
				t.Fatal("Go refused")
			}
		}
		synctest.Wait()
		if ended.Load() != 0 {
			t.Fatal("ended before Close")
		}
		if err := g.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if ended.Load() != 10 {
			t.Errorf("%d of 10 had ended when Close returned", ended.Load())
		}
	})
}

func TestClosedGroupRefuses(t *testing.T) {
	for name, stop := range map[string]func(g *Group, cancel func()){
		"Close":          func(g *Group, _ func()) { _ = g.Close() },
		"Stop":           func(g *Group, _ func()) { g.Stop() },
		"parent's end":   func(_ *Group, cancel func()) { cancel() },
		"Close and Stop": func(g *Group, _ func()) { _ = g.Close(); g.Stop() },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		g := New(ctx)
		stop(g, cancel)
		if g.Context().Err() == nil {
			t.Errorf("after %s the context lives", name)
		}
		if g.Go("late", func(context.Context) error { t.Errorf("ran after %s", name); return nil }) {
			t.Errorf("Go after %s reports true", name)
		}
		if err := g.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}

func TestErrors(t *testing.T) {
	broken := errors.New("disk trouble")
	g := New(t.Context())
	g.Go("writer", func(context.Context) error { return broken })
	if err := g.Wait(); !errors.Is(err, broken) || err.Error() != "writer: disk trouble" {
		t.Errorf("Wait: %v", err)
	}
	if g.Context().Err() != nil {
		t.Error("an error stopped the others")
	}
	g.Go("reader", func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("read: %w", ctx.Err()) // only says that the group was stopped
	})
	for range 2 {
		if err := g.Close(); !errors.Is(err, broken) || errors.Is(err, context.Canceled) {
			t.Errorf("Close: %v", err)
		}
	}
}

// The end of a context that is not the group's is an error like any other.
func TestForeignContextError(t *testing.T) {
	g := New(t.Context())
	g.Go("dialer", func(context.Context) error { return context.Canceled })
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v", err)
	}
	if err := g.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	g := New(t.Context())
	for i := range 10 * maxErrors {
		g.Go("worker", func(context.Context) error { return fmt.Errorf("trouble %d", i) })
	}
	if n := strings.Count(g.Close().Error(), "trouble"); n != maxErrors {
		t.Errorf("%d errors are kept; want %d", n, maxErrors)
	}
}

func TestGoexit(t *testing.T) {
	g := New(t.Context())
	g.Go("worker", func(context.Context) error { runtime.Goexit(); return nil })
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

func TestGoFromWithin(t *testing.T) {
	g := New(t.Context())
	var ran atomic.Bool
	g.Go("outer", func(context.Context) error {
		g.Go("inner", func(context.Context) error { ran.Store(true); return nil })
		return nil
	})
	if err := g.Wait(); err != nil || !ran.Load() {
		t.Errorf("Wait returned before the inner one had run: %v", err)
	}
	_ = g.Close()
}

// Close and Go race: what Go accepted has ended when Close returns.
func TestCloseAgainstGo(t *testing.T) {
	for range 50 {
		g := New(t.Context())
		var accepted, ended atomic.Int32
		starter := make(chan struct{})
		go func() {
			defer close(starter)
			for g.Go("worker", func(context.Context) error { ended.Add(1); return nil }) {
				accepted.Add(1)
			}
		}()
		runtime.Gosched()
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		after := ended.Load()
		<-starter
		if accepted.Load() != ended.Load() || ended.Load() != after {
			t.Fatalf("%d accepted, %d ended, %d of them before Close returned", accepted.Load(), ended.Load(), after)
		}
	}
}

// A panic must end the program and show itself, not hang Close or vanish.
func TestPanicEndsTheProgram(t *testing.T) {
	if os.Getenv("COLLAB_TEST_PANIC") != "" {
		g := New(context.Background())
		g.Go("worker", func(context.Context) error { panic("out of order") })
		_ = g.Close()
		select {}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPanicEndsTheProgram$")
	cmd.Env = append(os.Environ(), "COLLAB_TEST_PANIC=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "panic: out of order") {
		t.Errorf("the program ended with %v and said: %s", err, out)
	}
}
