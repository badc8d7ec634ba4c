package secmem

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestOwnsAndWipes(t *testing.T) {
	raw := []byte("hunter2")
	s := New(raw)
	if string(s.Bytes()) != "hunter2" || s.Len() != 7 {
		t.Errorf("Bytes = %q, Len = %d", s.Bytes(), s.Len())
	}
	s.Wipe()
	s.Wipe()
	if !bytes.Equal(raw, make([]byte, 7)) {
		t.Errorf("after Wipe the memory holds %q", raw)
	}
	if s.Bytes() != nil || s.Len() != 0 {
		t.Errorf("after Wipe: %q", s.Bytes())
	}
}

func TestZeroAndNil(t *testing.T) {
	for _, s := range []*Bytes{nil, {}, New(nil)} {
		if s.Bytes() != nil || s.Len() != 0 {
			t.Errorf("%q", s.Bytes())
		}
		s.Wipe()
	}
	Wipe(nil)
}

func TestHidden(t *testing.T) {
	h := Hide(1)
	c := h
	*h.Get() = 2
	if *c.Get() != 2 {
		t.Error("a copy has a value of its own")
	}
	if (Hidden[int]{}).Get() != nil {
		t.Error("the zero value holds something")
	}
}

// A copy of the struct is the same secret, wiped with it.
func TestCopySharesTheSecret(t *testing.T) {
	s := New([]byte("hunter2"))
	c := *s
	s.Wipe()
	if c.Bytes() != nil {
		t.Errorf("the copy still holds %q", c.Bytes())
	}
}

func TestNeverPrints(t *testing.T) {
	s := New([]byte("hunter2"))
	leaks := []string{"hunter2", fmt.Sprintf("%x", "hunter2"), "104 117 110", "0x68, 0x75", "aHVudGVyMg"}
	check := func(how, out string) {
		t.Helper()
		for _, leak := range leaks {
			if strings.Contains(strings.ToLower(out), strings.ToLower(leak)) {
				t.Errorf("%s shows the secret: %s", how, out)
			}
		}
	}
	type exported struct {
		P *Bytes
		V Bytes
	}
	type unexported struct {
		p *Bytes
		v Bytes
		h Hidden[string]
		a *Hidden[[7]byte]
	}
	name, array := Hide("hunter2"), Hide([7]byte([]byte("hunter2")))
	inner := unexported{s, *s, name, &array}
	for _, v := range []any{
		s, *s, []*Bytes{s}, map[string]*Bytes{"k": s}, exported{s, *s}, inner, &inner, []unexported{inner}, name, &array,
	} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U"} {
			check(fmt.Sprintf("%T with %s", v, format), fmt.Sprintf(format, v))
		}
		out, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%T as JSON: %v", v, err)
		}
		check(fmt.Sprintf("%T as JSON", v), string(out))
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", v)
		check(fmt.Sprintf("%T in a log", v), log.String())
	}
	if got := fmt.Sprint(s, *s); got != "[redacted] [redacted]" {
		t.Errorf("prints as %s", got)
	}
	if out, err := json.Marshal(map[*Bytes]int{s: 1}); err != nil || string(out) != `{"[redacted]":1}` {
		t.Errorf("as a JSON key: %s, %v", out, err)
	}
}
