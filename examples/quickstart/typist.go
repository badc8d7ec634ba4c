package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/crdt"
)

// typist plays one person at the keyboard. Every keystroke is an edit of its own, as an editor would make it.
type typist struct {
	doc  *collab.Doc
	text *crdt.Text
	who  string
	rng  *rand.Rand
	keys int // keystrokes so far
}

func newTypist(doc *collab.Doc, who string) *typist {
	seed := uint64(len(who))
	for _, b := range []byte(who) {
		seed = seed*131 + uint64(b)
	}
	return &typist{doc: doc, text: doc.Text("script"), who: who, rng: rand.New(rand.NewPCG(seed, 1))}
}

// pause is the time between two keystrokes: a fast typist at ten times life's pace.
func (t *typist) pause() { time.Sleep(time.Duration(2+t.rng.IntN(6)) * time.Millisecond) }

// play does the actions in order; stop ends it between two keystrokes.
func (t *typist) play(actions []action, partEnd string, stop <-chan struct{}) error {
	for _, a := range actions {
		if err := t.do(a, partEnd, stop); err != nil {
			return fmt.Errorf("%s at %q: %w", t.who, a.text, err)
		}
		select {
		case <-stop:
			return nil
		default:
		}
	}
	return nil
}

func (t *typist) do(a action, partEnd string, stop <-chan struct{}) error {
	switch a.verb {
	case typeLine:
		return t.typeLine(a.text, partEnd, stop)
	case deleteLine:
		return t.deleteLine(a.text)
	case moveLine:
		return t.moveLine(a.text, a.other)
	default:
		return t.typeAfter(a.text, " "+a.other, stop)
	}
}

// typeLine types at the end of the person's part, whatever the others did meanwhile.
func (t *typist) typeLine(line, partEnd string, stop <-chan struct{}) error {
	for _, k := range append(keys(line), '\n') {
		err := t.edit(func(tx *crdt.Txn, script string) error {
			at := len(script)
			if partEnd != "" {
				if at = strings.Index(script, partEnd+"\n"); at < 0 {
					return fmt.Errorf("no heading %q", partEnd)
				}
			}
			if k == '\b' {
				_, size := utf8.DecodeLastRuneInString(script[:at])
				return t.delete(tx, script, at-size, at)
			}
			return t.insert(tx, script, at, string(k))
		})
		if err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		default:
		}
	}
	return nil
}

// typeAfter types in the middle of a line, right after the words given.
func (t *typist) typeAfter(words, text string, stop <-chan struct{}) error {
	typed := ""
	for _, k := range text {
		err := t.edit(func(tx *crdt.Txn, script string) error {
			at := strings.Index(script, words+typed)
			if at < 0 { // somebody typed in the same place at the same moment: go on where one's own text is
				typed = ""
				at = strings.Index(script, words)
			}
			if at < 0 {
				return fmt.Errorf("no %q", words)
			}
			return t.insert(tx, script, at+len(words)+len(typed), string(k))
		})
		if err != nil {
			return err
		}
		typed += string(k)
		select {
		case <-stop:
			return nil
		default:
		}
	}
	return nil
}

// deleteLine deletes the line that begins so. That it is gone already is no error: a person who comes back after a
// crash sees that too.
func (t *typist) deleteLine(begins string) error {
	return t.edit(func(tx *crdt.Txn, script string) error {
		_, err := t.cut(tx, script, begins)
		return err
	})
}

// moveLine cuts a line and pastes it after another, in one transaction.
func (t *typist) moveLine(begins, after string) error {
	return t.edit(func(tx *crdt.Txn, script string) error {
		line, err := t.cut(tx, script, begins)
		if err != nil || line == "" {
			return err
		}
		script = t.text.String(tx)
		at := lineAt(script, after)
		if at < 0 {
			return fmt.Errorf("no line %q", after)
		}
		return t.insert(tx, script, at+strings.IndexByte(script[at:], '\n')+1, line)
	})
}

// cut deletes the line that begins so and returns it; "" if there is none.
func (t *typist) cut(tx *crdt.Txn, script, begins string) (line string, err error) {
	from := lineAt(script, begins)
	if from < 0 {
		return "", nil
	}
	to := from + strings.IndexByte(script[from:], '\n') + 1
	return script[from:to], t.delete(tx, script, from, to)
}

// edit runs one transaction on the script as it is at that moment.
func (t *typist) edit(fn func(tx *crdt.Txn, script string) error) error {
	t.keys++
	t.pause()
	return t.doc.Update(func(tx *crdt.Txn) error { return fn(tx, t.text.String(tx)) })
}

// insert and delete take byte offsets into script; the engine counts UTF-16 code units, as Yjs does.
func (t *typist) insert(tx *crdt.Txn, script string, at int, s string) error {
	return t.text.Insert(tx, crdt.UTF16Len(script[:at]), s)
}

func (t *typist) delete(tx *crdt.Txn, script string, from, to int) error {
	return t.text.Delete(tx, crdt.UTF16Len(script[:from]), crdt.UTF16Len(script[from:to]))
}

// lineAt finds the line that begins so; -1 if there is none.
func lineAt(script, begins string) int {
	if strings.HasPrefix(script, begins) {
		return 0
	}
	if i := strings.Index(script, "\n"+begins); i >= 0 {
		return i + 1
	}
	return -1
}

// takeBackUnfinishedLine deletes what stands between the last line end and the end of the person's part: the rest of
// a line whose typing was interrupted.
func (t *typist) takeBackUnfinishedLine(partEnd string) error {
	return t.edit(func(tx *crdt.Txn, script string) error {
		at := len(script)
		if partEnd != "" {
			at = strings.Index(script, partEnd+"\n")
		}
		if at < 0 {
			return fmt.Errorf("no heading %q", partEnd)
		}
		if from := strings.LastIndexByte(script[:at], '\n') + 1; from < at {
			return t.delete(tx, script, from, at)
		}
		return nil
	})
}
