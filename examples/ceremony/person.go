package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/keystore"
)

// person is who holds the ceremony.
type person interface {
	// phrase shows new words and returns what is typed back, or asks for the words.
	phrase(ctx context.Context, generated string) (string, error)
	// pin asks for a token's PIN.
	pin(ctx context.Context, ask keystore.PINRequest) ([]byte, error)
	// ready waits until the person wants to go on.
	ready(ctx context.Context, question string) error
}

// atTerminal is somebody at a terminal.
type atTerminal struct {
	in    io.Reader
	out   io.Writer
	lines *bufio.Scanner
}

func (a *atTerminal) phrase(ctx context.Context, generated string) (string, error) {
	if generated == "" {
		return a.ask(ctx, "Type your twelve words: ")
	}
	fmt.Fprintf(a.out, "\nWrite these twelve words on paper, in this order:\n\n")
	for i, word := range strings.Fields(generated) {
		fmt.Fprintf(a.out, "  %2d %s\n", i+1, word)
	}
	return a.ask(ctx, "\nNow type them from the paper: ")
}

func (a *atTerminal) pin(ctx context.Context, ask keystore.PINRequest) ([]byte, error) {
	question := fmt.Sprintf("PIN of %s (%d tries left), to %s: ", ask.Token.Label, ask.Token.Retries, ask.Action)
	file, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		typed, err := a.ask(ctx, question)
		return []byte(typed), err
	}
	fmt.Fprint(a.out, question)
	pin, err := term.ReadPassword(int(file.Fd()))
	fmt.Fprintln(a.out)
	return pin, err
}

func (a *atTerminal) ready(ctx context.Context, question string) error {
	_, err := a.ask(ctx, question+" Then press Enter. ")
	return err
}

// ask prints a question and returns the line that is typed.
func (a *atTerminal) ask(ctx context.Context, question string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if a.lines == nil {
		a.lines = bufio.NewScanner(a.in)
	}
	fmt.Fprint(a.out, question)
	if !a.lines.Scan() {
		if err := a.lines.Err(); err != nil {
			return "", err
		}
		return "", io.ErrUnexpectedEOF
	}
	return strings.TrimSpace(a.lines.Text()), ctx.Err()
}

// actor plays the person in the demonstration.
type actor struct {
	out   io.Writer
	paper *secmem.Bytes
}

// demoPIN is the PIN of the demonstration's tokens.
const demoPIN = "271828"

func (a *actor) phrase(ctx context.Context, generated string) (string, error) {
	if generated != "" {
		fmt.Fprintln(a.out, "  (twelve words are shown, written down, and typed back from the paper)")
		a.paper.Wipe()
		a.paper = secmem.New([]byte(generated))
	} else {
		fmt.Fprintln(a.out, "  (the twelve words are typed)")
	}
	return string(a.paper.Bytes()), ctx.Err()
}

func (a *actor) pin(ctx context.Context, ask keystore.PINRequest) ([]byte, error) {
	fmt.Fprintf(a.out, "  (the PIN is typed, to %s)\n", ask.Action)
	return []byte(demoPIN), ctx.Err()
}

func (a *actor) ready(ctx context.Context, _ string) error { return ctx.Err() }
