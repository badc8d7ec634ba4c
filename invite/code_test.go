package invite

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
)

func TestCodeRoundTrip(t *testing.T) {
	w := newWorld(t)
	compact := *w.code
	compact.KEM = nil
	for _, tc := range []struct {
		name string
		code *Code
		size int // about
	}{{"full", w.code, 2600}, {"compact", &compact, 650}} {
		text := tc.code.Text()
		if len(text) > tc.size {
			t.Errorf("%s: %d characters, at most %d expected", tc.name, len(text), tc.size)
		}
		var spaced strings.Builder
		for i, r := range strings.ToLower(text) {
			if i > 0 && i%40 == 0 {
				spaced.WriteString("-\r\n ")
			}
			spaced.WriteRune(r)
		}
		for _, s := range []string{text, "  " + text + "\n", spaced.String()} {
			got, err := Parse(s)
			if err != nil {
				t.Fatalf("%s: %v", tc.name, err)
			}
			if got.Text() != text || got.Secret != tc.code.Secret || got.Project != tc.code.Project || len(got.Hosts) != 2 {
				t.Errorf("%s: another code came back", tc.name)
			}
		}
	}
}

// Scenario 49: what a person may paste by mistake.
func TestScenario49ParseSaysWhatIsWrong(t *testing.T) {
	scenario.Run(t, 49, "truncated, mistyped, foreign and newer codes: different typed errors that do not quote the code", func(t *testing.T) {
		w := newWorld(t)
		text := w.code.Text()
		newer := encodeRecord(func(r *codeRecord) { r.V = 2 }, w)
		suite := encodeRecord(func(r *codeRecord) { r.Suite = 7 }, w)
		foreignKEM := encodeRecord(func(r *codeRecord) { r.KEM = w.other.device.KEM.Bytes() }, w)
		swap := func(i int) string {
			if text[i] == 'B' {
				return text[:i] + "C" + text[i+1:]
			}
			return text[:i] + "B" + text[i+1:]
		}
		for _, tc := range []struct {
			name, text string
			want       error
		}{
			{"empty", "", ErrNotACode},
			{"a link", "https://example.org/join", ErrNotACode},
			{"another product's code", strings.Repeat("MFRGGZDF", 60), ErrNotACode},
			{"too long", strings.Repeat("V", maxText+1), ErrNotACode},
			{"first half only", text[:len(text)/2], ErrDamaged},
			{"first letters only", text[:5], ErrDamaged},
			{"last character missing", text[:len(text)-1], ErrDamaged},
			{"one character more", text + "A", ErrDamaged},
			{"one letter changed", swap(100), ErrDamaged},
			{"the checksum changed", swap(len(text) - 3), ErrDamaged},
			{"a digit that no code has", text[:50] + "1" + text[51:], ErrDamaged},
			{"two letters swapped", transpose(text), ErrDamaged},
			{"newer version", newer, ErrVersion},
			{"another suite", suite, ErrVersion},
			{"key of another host", foreignKEM, ErrDamaged},
			{"no hosts", encodeRecord(func(r *codeRecord) { r.Hosts = nil }, w), ErrDamaged},
			{"five hosts", encodeRecord(func(r *codeRecord) {
				r.Hosts = append(r.Hosts, r.Hosts[1], r.Hosts[1], r.Hosts[1])
			}, w), ErrDamaged},
			{"five addresses", encodeRecord(func(r *codeRecord) { r.Hosts[1].Addrs = make([]string, 5) }, w), ErrDamaged},
			{"peer key of small order", encodeRecord(func(r *codeRecord) { r.Hosts[1].Peer = [32]byte{1} }, w), ErrDamaged},
			{"no root", encodeRecord(func(r *codeRecord) { r.RootVersion = 0 }, w), ErrDamaged},
		} {
			_, err := Parse(tc.text)
			if !errors.Is(err, tc.want) {
				t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
			}
			if err != nil && len(tc.text) > 20 && strings.Contains(err.Error(), tc.text[:20]) {
				t.Errorf("%s: the error quotes the code", tc.name)
			}
		}
	})
}

func encodeRecord(change func(*codeRecord), w *world) string {
	c := w.code
	r := codeRecord{
		Head: wire.NewHead(), Project: c.Project, RootVersion: c.RootVersion, Root: c.Root, Invite: c.Invite,
		KEM: c.KEM, Secret: c.Secret,
	}
	for _, h := range c.Hosts {
		r.Hosts = append(r.Hosts, codeHost(h))
	}
	change(&r)
	b := wire.Marshal(r)
	return base.EncodeToString(append(b, checksum(b)...))
}

func transpose(s string) string {
	b := []byte(s)
	for i := 200; ; i++ {
		if b[i] != b[i+1] {
			b[i], b[i+1] = b[i+1], b[i]
			return string(b)
		}
	}
}

// Scenario 68: no printer shows the secret.
func TestScenario68SecretsDoNotPrint(t *testing.T) {
	scenario.Run(t, 68, "a code and its keys under every verb and as JSON: no secret is printed", func(t *testing.T) {
		w := newWorld(t)
		hex, mac := fmt.Sprintf("%x", [32]byte(w.code.Secret)), fmt.Sprintf("%x", w.terms.MAC)
		for _, v := range []any{*w.code, w.code, w.code.Secret, &w.code.Secret, struct{ C *Code }{w.code}, []Secret{w.code.Secret}, w.terms, *w.terms, w.guest().Code} {
			js, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			outs := []string{string(js)}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
				outs = append(outs, fmt.Sprintf(verb, v))
			}
			for _, out := range outs {
				if strings.Contains(out, hex) || strings.Contains(out, mac) || strings.Contains(out, w.code.Text()[:40]) || strings.Contains(out, "205 ") {
					t.Errorf("%s prints its secret: %.80s", reflect.TypeOf(v), out)
				}
			}
		}
	})
}

func TestKeysAreSeparate(t *testing.T) {
	w := newWorld(t)
	mac := MACKey(w.code.Secret)
	box, err := SealMAC(newRandom(9), mac, w.code.Invite, w.other.device.ID, w.other.device.KEM)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenMAC(box, w.code.Invite, w.other.device.ID, w.other.keys.KEM)
	if err != nil || got != mac {
		t.Fatalf("the host cannot open its share: %v", err)
	}
	if _, err := OpenMAC(box, [16]byte{9}, w.other.device.ID, w.other.keys.KEM); err == nil {
		t.Error("a share opens for another invite")
	}
	if _, err := OpenMAC(box, w.code.Invite, w.host.device.ID, w.other.keys.KEM); err == nil {
		t.Error("a share opens for another device")
	}
	if _, err := OpenMAC(box, w.code.Invite, w.other.device.ID, w.host.keys.KEM); err == nil {
		t.Error("a share opens with another key")
	}
	// What hosts keep is not enough to be a guest: scenario 98.
	if ProofHash(ProofKey(Secret(mac)).Public()) == w.terms.ProofHash {
		t.Error("s_mac gives the proof key")
	}
}
