package keystoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/studio-whip/collab/keystore"
)

// Bench is a token under test, as new but for its PIN and PUK, and the hands that a person has.
type Bench struct {
	Token   keystore.Token // plugged in, with three tries of the PIN
	PIN     string
	Unplug  func()
	Plug    func()
	Unblock func() // gives back all tries of the PIN
	// Replace does what a program does that replaces a part of the token's key without asking.
	Replace func()
	// OnTouch makes fn the person who is asked to touch the token; fn returns when it has touched it (true) or will not
	// (false), at the latest when givenUp closes. Without it the token is touched at once.
	OnTouch func(fn func(givenUp <-chan struct{}) bool)
}

// RunToken runs the suite for tokens, each test on benches that open returns, with another token each time.
func RunToken(t *testing.T, open func(t *testing.T) *Bench) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, b *Bench)
	}{
		{"Unprepared", unprepared},
		{"Prepare", prepareTwice},
		{"StoreAndOpen", storeAndOpen},
		{"Names", tokenNames},
		{"Full", full},
		{"WrongPIN", wrongPIN},
		{"Blocked", blocked},
		{"AskedOnce", askedOnce},
		{"NobodyToAsk", nobodyToAsk},
		{"Damaged", damagedSealed},
		{"Removed", removed},
		{"RemovedWhileAsked", removedWhileAsked},
		{"RemovedWhileTouched", removedWhileTouched},
		{"NotTouched", notTouched},
		{"GivenUpWhileTouched", givenUpWhileTouched},
		{"Replaced", replaced},
		{"Ended", ended},
		{"AtOnce", atOnce},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
	t.Run("WrongToken", func(t *testing.T) { wrongToken(t, open(t), open(t)) })
}

var purpose = []byte("keystoretest")

// asks is a person who types a PIN and counts how often.
type asks struct {
	pin     string
	meet    func() // called while the person is asked; may be nil
	asked   []keystore.PINRequest
	touched int
}

func (a *asks) prompt() keystore.Prompt {
	return keystore.Prompt{
		PIN: func(_ context.Context, r keystore.PINRequest) ([]byte, error) {
			a.asked = append(a.asked, r)
			if a.meet != nil {
				a.meet()
			}
			return []byte(a.pin), nil
		},
		Touch: func(keystore.TokenInfo) { a.touched++ },
	}
}

func (b *Bench) types() keystore.Prompt { return (&asks{pin: b.PIN}).prompt() }

// wrong is a PIN that is not the bench's.
func (b *Bench) wrong() *asks {
	if b.PIN == "000000" {
		return &asks{pin: "000001"}
	}
	return &asks{pin: "000000"}
}

// prepared prepares the token and seals one secret to it.
func (b *Bench) prepared(t *testing.T) (key *keystore.TokenKey, sealed []byte) {
	t.Helper()
	key, err := b.Token.Prepare(t.Context(), b.types())
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	return key, seal(t, key, []byte("secret"))
}

func seal(t *testing.T, key *keystore.TokenKey, secret []byte) []byte {
	t.Helper()
	sealed, err := key.Seal(purpose, secret)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func (b *Bench) wantRetries(t *testing.T, n int) {
	t.Helper()
	if info, err := b.Token.Info(t.Context()); err != nil || info.Retries != n {
		t.Fatalf("Info: %d tries, %v; want %d", info.Retries, err, n)
	}
}

func (b *Bench) wantOpens(t *testing.T, sealed []byte, secret string) {
	t.Helper()
	got, err := b.Token.Open(t.Context(), b.types(), purpose, sealed)
	if err != nil || string(got) != secret {
		t.Fatalf("Open: %d bytes, %v; want the %d that were sealed", len(got), err, len(secret))
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: %v; want %v", what, err, want)
	}
}

func unprepared(t *testing.T, b *Bench) {
	info, err := b.Token.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.Key != nil || info.Serial == "" || info.Label == "" || info.Retries != 3 {
		t.Errorf("Info of a new token: %+v", info)
	}
	_, err = b.Token.Load(t.Context(), name("a"))
	wantError(t, "Load", err, keystore.ErrNotFound)
	wantError(t, "Remove", b.Token.Remove(t.Context(), keystore.Prompt{}, name("a")), nil)
}

func prepareTwice(t *testing.T, b *Bench) {
	person := &asks{pin: b.PIN}
	key, err := b.Token.Prepare(t.Context(), person.prompt())
	if err != nil {
		t.Fatal(err)
	}
	if len(person.asked) != 1 || person.asked[0].Action == "" || person.asked[0].Token.Retries != 3 {
		t.Errorf("asked %+v; want once, with what it is for and three tries", person.asked)
	}
	again, err := b.Token.Prepare(t.Context(), keystore.Prompt{})
	if err != nil || again.ID() != key.ID() {
		t.Errorf("Prepare of a prepared token: %v; want the same key, and nobody asked", err)
	}
	if info, err := b.Token.Info(t.Context()); err != nil || info.Key == nil || info.Key.ID() != key.ID() {
		t.Errorf("Info: %v; want the key", err)
	}
}

func storeAndOpen(t *testing.T, b *Bench) {
	key, _ := b.prepared(t)
	for _, size := range []int{1, 33, 300, keystore.MaxTokenSecret} {
		secret := pattern(size)
		sealed := seal(t, key, secret)
		if err := b.Token.Store(t.Context(), b.types(), name("a"), sealed); err != nil {
			t.Fatalf("Store %d bytes: %v", size, err)
		}
		back, err := b.Token.Load(t.Context(), name("a"))
		if err != nil || !bytes.Equal(back, sealed) {
			t.Fatalf("Load: %d bytes, %v; want the %d stored", len(back), err, len(sealed))
		}
		b.wantOpens(t, back, string(secret))
	}
	_, err := b.Token.Open(t.Context(), b.types(), []byte("another purpose"), seal(t, key, []byte("x")))
	wantError(t, "Open for another purpose", err, keystore.ErrDamaged)
	person := &asks{pin: b.PIN}
	if _, err := b.Token.Open(t.Context(), person.prompt(), purpose, seal(t, key, []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if person.touched != 1 {
		t.Errorf("told to touch %d times; want once", person.touched)
	}
}

func tokenNames(t *testing.T, b *Bench) {
	key, _ := b.prepared(t)
	sealed := map[string][]byte{}
	for i, n := range []string{name("a"), name("A"), longName()} {
		sealed[n] = seal(t, key, []byte{byte(i + 1)})
		if err := b.Token.Store(t.Context(), b.types(), n, sealed[n]); err != nil {
			t.Fatalf("Store: %v", err)
		}
	}
	for n, want := range sealed {
		if got, err := b.Token.Load(t.Context(), n); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("Load(%s): %v; want what was stored there", n, err)
		}
	}
	if err := b.Token.Remove(t.Context(), b.types(), name("a")); err != nil {
		t.Fatal(err)
	}
	_, err := b.Token.Load(t.Context(), name("a"))
	wantError(t, "Load of what was removed", err, keystore.ErrNotFound)
	if got, err := b.Token.Load(t.Context(), name("A")); err != nil || !bytes.Equal(got, sealed[name("A")]) {
		t.Fatalf("Load of another: %v", err)
	}
	for _, bad := range []string{"", "a b", "ä", strings.Repeat("x", keystore.MaxName+1)} {
		_, err := b.Token.Load(t.Context(), bad)
		wantError(t, "Load of a bad name", err, keystore.ErrInvalid)
		wantError(t, "Store under a bad name", b.Token.Store(t.Context(), b.types(), bad, sealed[name("A")]), keystore.ErrInvalid)
		wantError(t, "Remove of a bad name", b.Token.Remove(t.Context(), b.types(), bad), keystore.ErrInvalid)
	}
}

// What does not fit is refused, what lies there stays, and a place that is given back can be used.
func full(t *testing.T, b *Bench) {
	_, sealed := b.prepared(t)
	const most = 64
	n := 0
	for ; n < most; n++ {
		err := b.Token.Store(t.Context(), b.types(), name(fmt.Sprint(n)), sealed)
		if errors.Is(err, keystore.ErrTooBig) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 3 || n == most {
		t.Fatalf("the token took %d secrets", n)
	}
	for i := range n {
		if _, err := b.Token.Load(t.Context(), name(fmt.Sprint(i))); err != nil {
			t.Fatalf("Load of number %d of %d: %v", i, n, err)
		}
	}
	if err := b.Token.Store(t.Context(), b.types(), name("0"), sealed); err != nil {
		t.Errorf("Store in place of another: %v", err)
	}
	if err := b.Token.Remove(t.Context(), b.types(), name("1")); err != nil {
		t.Fatal(err)
	}
	if err := b.Token.Store(t.Context(), b.types(), name("more"), sealed); err != nil {
		t.Errorf("Store after Remove: %v", err)
	}
}

// A wrong PIN costs one try, is told with the number of tries that are left, and changes nothing else.
func wrongPIN(t *testing.T, b *Bench) {
	_, sealed := b.prepared(t)
	for _, left := range []int{2, 1} {
		_, err := b.Token.Open(t.Context(), b.wrong().prompt(), purpose, sealed)
		var pin *keystore.PINError
		if !errors.As(err, &pin) || pin.Retries != left || errors.Is(err, keystore.ErrWrongToken) {
			t.Fatalf("Open: %v; want ErrWrongPIN with %d left", err, left)
		}
		b.wantRetries(t, left)
	}
	b.wantOpens(t, sealed, "secret")
	b.wantRetries(t, 3)
	wantError(t, "Store", b.Token.Store(t.Context(), b.wrong().prompt(), name("a"), sealed), keystore.ErrWrongPIN)
	_, err := b.Token.Load(t.Context(), name("a"))
	wantError(t, "Load after that", err, keystore.ErrNotFound)
}

func blocked(t *testing.T, b *Bench) {
	_, sealed := b.prepared(t)
	var err error
	for range 3 {
		_, err = b.Token.Open(t.Context(), b.wrong().prompt(), purpose, sealed)
		wantError(t, "Open", err, keystore.ErrWrongPIN)
	}
	wantError(t, "the last try", err, keystore.ErrPINBlocked)
	person := &asks{pin: b.PIN}
	_, err = b.Token.Open(t.Context(), person.prompt(), purpose, sealed)
	wantError(t, "Open of a blocked token", err, keystore.ErrPINBlocked)
	wantError(t, "Store on a blocked token", b.Token.Store(t.Context(), person.prompt(), name("a"), sealed), keystore.ErrPINBlocked)
	if len(person.asked) != 0 {
		t.Errorf("asked for the PIN of a blocked token")
	}
	b.wantRetries(t, 0)
	b.Unblock()
	b.wantOpens(t, sealed, "secret")
}

// No call costs more than one try, and each says how many are left before it takes one.
func askedOnce(t *testing.T, b *Bench) {
	_, sealed := b.prepared(t)
	if err := b.Token.Store(t.Context(), b.types(), name("a"), sealed); err != nil {
		t.Fatal(err)
	}
	for what, do := range map[string]func(keystore.Prompt) error{
		"Open": func(p keystore.Prompt) error {
			_, err := b.Token.Open(t.Context(), p, purpose, sealed)
			return err
		},
		"Store":  func(p keystore.Prompt) error { return b.Token.Store(t.Context(), p, name("b"), sealed) },
		"Remove": func(p keystore.Prompt) error { return b.Token.Remove(t.Context(), p, name("a")) },
	} {
		b.Unblock()
		person := b.wrong()
		err := do(person.prompt())
		wantError(t, what, err, keystore.ErrWrongPIN)
		if len(person.asked) != 1 || person.asked[0].Token.Retries != 3 || person.asked[0].Action == "" {
			t.Errorf("%s: asked %+v; want once, with three tries left", what, person.asked)
		}
		if strings.Contains(err.Error(), person.pin) {
			t.Errorf("%s: the error shows the PIN: %v", what, err)
		}
		b.wantRetries(t, 2)
	}
}

func nobodyToAsk(t *testing.T, b *Bench) {
	_, sealed := b.prepared(t)
	_, err := b.Token.Open(t.Context(), keystore.Prompt{}, purpose, sealed)
	wantError(t, "Open", err, keystore.ErrDenied)
	wantError(t, "Store", b.Token.Store(t.Context(), keystore.Prompt{}, name("a"), sealed), keystore.ErrDenied)
	closed := errors.New("window was closed")
	refuses := keystore.Prompt{PIN: func(context.Context, keystore.PINRequest) ([]byte, error) { return nil, closed }}
	_, err = b.Token.Open(t.Context(), refuses, purpose, sealed)
	wantError(t, "Open when the person refuses", err, closed)
	b.wantRetries(t, 3)
}

func damagedSealed(t *testing.T, b *Bench) {
	_, sealed := b.prepared(t)
	person := &asks{pin: b.PIN}
	for _, bad := range [][]byte{nil, {0}, sealed[:len(sealed)-1], append(bytes.Clone(sealed), 0)} {
		_, err := b.Token.Open(t.Context(), person.prompt(), purpose, bad)
		wantError(t, "Open", err, keystore.ErrDamaged)
		wantError(t, "Store", b.Token.Store(t.Context(), person.prompt(), name("a"), bad), keystore.ErrDamaged)
	}
	if len(person.asked) != 0 {
		t.Error("asked for the PIN before that was known")
	}
	altered := bytes.Clone(sealed)
	altered[len(altered)-1] ^= 1
	_, err := b.Token.Open(t.Context(), b.types(), purpose, altered)
	wantError(t, "Open of what was altered", err, keystore.ErrDamaged)
}

func removed(t *testing.T, b *Bench) {
	_, sealed := b.prepared(t)
	if err := b.Token.Store(t.Context(), b.types(), name("a"), sealed); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b.Unplug()
		person := &asks{pin: b.PIN}
		_, err := b.Token.Info(t.Context())
		wantError(t, "Info", err, keystore.ErrNoToken)
		_, err = b.Token.Prepare(t.Context(), person.prompt())
		wantError(t, "Prepare", err, keystore.ErrNoToken)
		_, err = b.Token.Load(t.Context(), name("a"))
		wantError(t, "Load", err, keystore.ErrNoToken)
		_, err = b.Token.Open(t.Context(), person.prompt(), purpose, sealed)
		wantError(t, "Open", err, keystore.ErrNoToken)
		wantError(t, "Store", b.Token.Store(t.Context(), person.prompt(), name("a"), sealed), keystore.ErrNoToken)
		wantError(t, "Remove", b.Token.Remove(t.Context(), person.prompt(), name("a")), keystore.ErrNoToken)
		if len(person.asked) != 0 {
			t.Error("asked for the PIN of a token that is not there")
		}
		b.Plug()
		back, err := b.Token.Load(t.Context(), name("a"))
		if err != nil {
			t.Fatalf("Load after it was plugged in again: %v", err)
		}
		b.wantOpens(t, back, "secret")
	}
}

func removedWhileAsked(t *testing.T, b *Bench) {
	_, sealed := b.prepared(t)
	person := &asks{pin: b.PIN, meet: b.Unplug}
	_, err := b.Token.Open(t.Context(), person.prompt(), purpose, sealed)
	wantError(t, "Open", err, keystore.ErrNoToken)
	b.Plug()
	b.wantRetries(t, 3)
	b.wantOpens(t, sealed, "secret")
}

func removedWhileTouched(t *testing.T, b *Bench) {
	_, sealed := b.prepared(t)
	b.OnTouch(func(givenUp <-chan struct{}) bool {
		b.Unplug()
		return true // too late
	})
	_, err := b.Token.Open(t.Context(), b.types(), purpose, sealed)
	wantError(t, "Open", err, keystore.ErrNoToken)
	b.OnTouch(func(<-chan struct{}) bool { return true })
	b.Plug()
	b.wantOpens(t, sealed, "secret")
}

func notTouched(t *testing.T, b *Bench) {
	_, sealed := b.prepared(t)
	b.OnTouch(func(<-chan struct{}) bool { return false })
	_, err := b.Token.Open(t.Context(), b.types(), purpose, sealed)
	wantError(t, "Open", err, keystore.ErrNotTouched)
	if errors.Is(err, keystore.ErrWrongPIN) {
		t.Errorf("Open: %v; the PIN was right", err)
	}
	if err := b.Token.Store(t.Context(), b.types(), name("a"), sealed); err != nil {
		t.Errorf("Store needs no touch: %v", err)
	}
	b.OnTouch(func(<-chan struct{}) bool { return true })
	b.wantOpens(t, sealed, "secret")
}

// A caller that gives up does not wait for the person, and the token can be used again once that is over.
func givenUpWhileTouched(t *testing.T, b *Bench) {
	_, sealed := b.prepared(t)
	over := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	b.OnTouch(func(givenUp <-chan struct{}) bool {
		cancel()
		select {
		case <-over:
		case <-givenUp:
		}
		return false
	})
	_, err := b.Token.Open(ctx, b.types(), purpose, sealed)
	wantError(t, "Open", err, context.Canceled)
	close(over)
	b.OnTouch(func(<-chan struct{}) bool { return true })
	b.wantOpens(t, sealed, "secret")
}

func replaced(t *testing.T, b *Bench) {
	_, sealed := b.prepared(t)
	b.Replace()
	_, err := b.Token.Open(t.Context(), b.types(), purpose, sealed)
	wantError(t, "Open", err, keystore.ErrTokenChanged)
	wantError(t, "Store", b.Token.Store(t.Context(), b.types(), name("a"), sealed), keystore.ErrTokenChanged)
}

func ended(t *testing.T, b *Bench) {
	_, sealed := b.prepared(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	person := &asks{pin: b.PIN}
	_, err := b.Token.Info(ctx)
	wantError(t, "Info", err, context.Canceled)
	_, err = b.Token.Prepare(ctx, person.prompt())
	wantError(t, "Prepare", err, context.Canceled)
	_, err = b.Token.Load(ctx, name("a"))
	wantError(t, "Load", err, context.Canceled)
	_, err = b.Token.Open(ctx, person.prompt(), purpose, sealed)
	wantError(t, "Open", err, context.Canceled)
	wantError(t, "Store", b.Token.Store(ctx, person.prompt(), name("a"), sealed), context.Canceled)
	wantError(t, "Remove", b.Token.Remove(ctx, person.prompt(), name("a")), context.Canceled)
	if len(person.asked) != 0 {
		t.Error("asked for the PIN after the context had ended")
	}
	ctx, cancel = context.WithCancel(t.Context())
	person.meet = cancel
	_, err = b.Token.Open(ctx, person.prompt(), purpose, sealed)
	wantError(t, "Open that ends while the person types", err, context.Canceled)
	b.wantRetries(t, 3)
}

func atOnce(t *testing.T, b *Bench) {
	key, _ := b.prepared(t)
	var wg sync.WaitGroup
	errs := make(chan error, writers)
	for i := range 4 {
		wg.Go(func() {
			n, secret := name(fmt.Sprint(i)), fmt.Sprintf("secret %d", i)
			sealed, err := key.Seal(purpose, []byte(secret))
			if err == nil {
				err = b.Token.Store(t.Context(), b.types(), n, sealed)
			}
			if err == nil {
				sealed, err = b.Token.Load(t.Context(), n)
			}
			var got []byte
			if err == nil {
				got, err = b.Token.Open(t.Context(), b.types(), purpose, sealed)
			}
			if err == nil && string(got) != secret {
				err = fmt.Errorf("%s holds another's secret", n)
			}
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

// What was sealed to one token is told apart from a wrong PIN by another, before anybody is asked.
func wrongToken(t *testing.T, b, other *Bench) {
	person := &asks{pin: other.PIN}
	_, sealed := b.prepared(t)
	_, err := other.Token.Open(t.Context(), person.prompt(), purpose, sealed)
	wantError(t, "Open with a token that is not prepared", err, keystore.ErrNotPrepared)
	wantError(t, "Store on it", other.Token.Store(t.Context(), person.prompt(), name("a"), sealed), keystore.ErrNotPrepared)
	other.prepared(t)
	_, err = other.Token.Open(t.Context(), person.prompt(), purpose, sealed)
	wantError(t, "Open with another token", err, keystore.ErrWrongToken)
	if errors.Is(err, keystore.ErrWrongPIN) {
		t.Errorf("%v is taken for a wrong PIN", err)
	}
	wantError(t, "Store on another token", other.Token.Store(t.Context(), person.prompt(), name("a"), sealed), keystore.ErrWrongToken)
	if len(person.asked) != 0 {
		t.Error("asked for the PIN of the wrong token")
	}
	other.wantRetries(t, 3)
}
