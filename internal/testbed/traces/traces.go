// Package traces gives benchmarks texts to type: recorded editing histories of one author, read from a folder, and one
// that it makes up, so that a benchmark runs anywhere.
//
// A recorded trace is a gzipped JSON file, as the collection github.com/josephg/editing-traces has them after each
// transaction has been flattened to its patches:
//
//	{"name": "…", "endSha256": "…", "patches": [[position, deleted, "inserted"], …]}
//
// Files without patches (histories of several authors) are left out.
package traces

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"unicode/utf16"
)

// Env names the folder with recorded traces.
const Env = "COLLAB_TRACES"

// Patch is one edit: at a position, take away Del UTF-16 units and put in Ins.
type Patch struct {
	At, Del int
	Ins     string
}

// Trace is a sequence of edits by one author.
type Trace struct {
	Name    string
	File    string // where it was read
	End     string // hex SHA-256 of the text it ends in
	Patches []Patch
}

// Recorded reads the traces of one author in a folder, in the order of their file names.
func Recorded(dir string) ([]Trace, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json.gz"))
	if err != nil {
		return nil, fmt.Errorf("traces: %s: %w", dir, err)
	}
	var out []Trace
	for _, f := range files {
		t, err := read(f)
		if err != nil {
			return nil, fmt.Errorf("traces: %s: %w", f, err)
		}
		if len(t.Patches) > 0 {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("traces: no trace of one author in %s (%s)", dir, Env)
	}
	return out, nil
}

// file is a trace as it is stored.
type file struct {
	Name    string   `json:"name"`
	End     string   `json:"endSha256"`
	Patches [][3]any `json:"patches"`
}

func read(path string) (Trace, error) {
	f, err := os.Open(path)
	if err != nil {
		return Trace{}, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return Trace{}, err
	}
	var raw file
	if err := json.NewDecoder(z).Decode(&raw); err != nil {
		return Trace{}, err
	}
	t := Trace{Name: raw.Name, File: path, End: raw.End, Patches: make([]Patch, len(raw.Patches))}
	for i, p := range raw.Patches {
		at, ok1 := p[0].(float64)
		del, ok2 := p[1].(float64)
		ins, ok3 := p[2].(string)
		if !ok1 || !ok2 || !ok3 {
			return Trace{}, fmt.Errorf("patch %d is not [position, deleted, inserted]", i)
		}
		t.Patches[i] = Patch{int(at), int(del), ins}
	}
	return t, nil
}

// Write stores a trace in the form that Recorded reads.
func (t Trace) Write(path string) error {
	raw := file{Name: t.Name, End: t.End, Patches: make([][3]any, len(t.Patches))}
	for i, p := range t.Patches {
		raw.Patches[i] = [3]any{p.At, p.Del, p.Ins}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	err = json.NewEncoder(z).Encode(raw)
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// Typist makes up a trace of n edits: bursts of typing and backspacing at a place that now and then moves. One seed
// always gives the same trace.
func Typist(seed uint64, n int) Trace {
	r := rand.New(rand.NewPCG(seed, 7))
	t := Trace{Name: "typist"}
	length, at := 0, 0
	for len(t.Patches) < n {
		if r.IntN(5) == 0 && length > 0 {
			at = r.IntN(length + 1)
		}
		for i := 1 + r.IntN(40); i > 0; i-- {
			t.Patches = append(t.Patches, Patch{At: at, Ins: string(rune('a' + r.IntN(26)))})
			at++
			length++
		}
		for i := r.IntN(18); i > 0 && at > 0; i-- {
			at--
			length--
			t.Patches = append(t.Patches, Patch{At: at, Del: 1})
		}
	}
	t.Patches = t.Patches[:n]
	t.End = Hash(t.Text())
	return t
}

// Text plays the edits on plain UTF-16: what every engine must end in.
func (t Trace) Text() string {
	// A gap buffer: the units before the last edit, and those behind it in reverse order.
	var before, behind []uint16
	for _, p := range t.Patches {
		for len(before) > p.At {
			behind = append(behind, before[len(before)-1])
			before = before[:len(before)-1]
		}
		for len(before) < p.At {
			before = append(before, behind[len(behind)-1])
			behind = behind[:len(behind)-1]
		}
		behind = behind[:len(behind)-p.Del]
		before = append(before, utf16.Encode([]rune(p.Ins))...)
	}
	for i := len(behind) - 1; i >= 0; i-- {
		before = append(before, behind[i])
	}
	return string(utf16.Decode(before))
}

// Hash is the form in which traces name texts.
func Hash(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}
