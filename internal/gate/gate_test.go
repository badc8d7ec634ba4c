package gate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const limit = 10 * time.Second

func drop(string) {}

func quick(context.Context) (string, error) { return "in time", nil }

// until hangs whatever its context says, until answer is closed.
func until(answer chan struct{}) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { <-answer; return "late", nil }
}

func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, answer := New(), make(chan struct{})
		var dropped string
		began := time.Now()
		_, err := Call(t.Context(), g, limit, until(answer), func(s string) { dropped = s })
		if !errors.Is(err, ErrTimeout) || time.Since(began) != limit {
			t.Fatalf("call that hangs: %v after %v; want ErrTimeout after %v", err, time.Since(began), limit)
		}
		began = time.Now()
		if _, err := Call(t.Context(), g, limit, quick, drop); !errors.Is(err, ErrTimeout) || time.Since(began) != 0 {
			t.Fatalf("call behind one that hangs: %v after %v; want ErrTimeout at once", err, time.Since(began))
		}
		close(answer)
		synctest.Wait()
		if dropped != "late" {
			t.Errorf("discard got %q", dropped)
		}
		if got, err := Call(t.Context(), g, limit, quick, drop); err != nil || got != "in time" {
			t.Fatalf("after it returned: %q, %v", got, err)
		}
	})
}

func TestCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, answer := New(), make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := Call(ctx, g, limit, until(answer), drop); !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("deadline: %v; want ErrTimeout and DeadlineExceeded", err)
		}
		// The next call waits for its turn, as the other side may only be slow, and can be given up.
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := Call(ctx, g, limit, until(answer), drop); !errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout) {
			t.Errorf("cancellation: %v; want context.Canceled", err)
		}
		time.AfterFunc(time.Second, func() { close(answer) })
		if got, err := Call(t.Context(), g, limit, quick, drop); err != nil || got != "in time" {
			t.Errorf("call that waited for its turn: %q, %v", got, err)
		}
		if _, err := Call(ctx, g, limit, quick, drop); !errors.Is(err, context.Canceled) {
			t.Errorf("with an ended context: %v", err)
		}
	})
}

// What runs is told when its time is over.
func TestContextOfTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := Call(t.Context(), New(), limit, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}, drop)
		if !errors.Is(err, ErrTimeout) {
			t.Errorf("%v; want ErrTimeout", err)
		}
		mistake := errors.New("mistake")
		if _, err := Call(t.Context(), New(), limit, func(context.Context) (string, error) { return "", mistake }, drop); err != mistake {
			t.Errorf("%v; want the error itself", err)
		}
	})
}
