package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"strings"
)

//go:embed testdata/scene.txt
var sceneText string

// verb is what a person does in one line of the scene file.
type verb byte

const (
	typeLine   verb = '>'
	deleteLine verb = '-'
	moveLine   verb = '^'
	typeAfter  verb = '@'
)

// action is one thing that a person does while writing.
type action struct {
	who   string
	verb  verb
	text  string // the line, or how it begins, or the words to type after
	other string // the line to move after, or the text to type
}

// scene is the opening block and what each person does after it, by name.
type scene struct {
	opening []action
	parts   map[string][]action
}

// headings divide the script; each person types at the end of the part under theirs.
var headings = map[string]string{"ada": "1. THE BOOTH", "ben": "2. THE FOYER", "cleo": "3. THE ROOF"}

// partEnds names the heading that follows each person's part; "" is the end of the script.
var partEnds = map[string]string{"ada": headings["ben"], "ben": headings["cleo"], "cleo": ""}

func parseScene(text string) (scene, error) {
	sc := scene{parts: map[string][]action{}}
	opening := true
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		if line == "---" {
			opening = false
			continue
		}
		a, err := parseAction(line)
		if err != nil {
			return scene{}, fmt.Errorf("scene line %d: %w", n, err)
		}
		if opening {
			sc.opening = append(sc.opening, a)
		} else {
			sc.parts[a.who] = append(sc.parts[a.who], a)
		}
	}
	return sc, lines.Err()
}

func parseAction(line string) (action, error) {
	at := strings.IndexAny(line, ">-^@")
	if at <= 0 {
		return action{}, fmt.Errorf("no name and verb in %q", line)
	}
	a := action{who: line[:at], verb: verb(line[at]), text: strings.TrimSpace(line[at+1:])}
	if a.verb == moveLine || a.verb == typeAfter {
		var ok bool
		if a.text, a.other, ok = strings.Cut(a.text, " | "); !ok {
			return action{}, fmt.Errorf("needs two parts in %q", line)
		}
	}
	return a, nil
}

// keys turns a typed line into keystrokes: '\b' takes the last character back.
func keys(line string) []rune {
	var out []rune
	for line != "" {
		before, rest, found := strings.Cut(line, "{")
		out = append(out, []rune(before)...)
		if !found {
			break
		}
		wrong, rest, _ := strings.Cut(rest, "|")
		right, rest, _ := strings.Cut(rest, "}")
		out = append(out, []rune(wrong)...)
		for range []rune(wrong) {
			out = append(out, '\b')
		}
		out = append(out, []rune(right)...)
		line = rest
	}
	return out
}
