package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/keystore/file"
)

// host founds a project, prints a code and talks.
func host(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("host", flag.ContinueOnError)
	ip := flags.String("listen", "0.0.0.0", "`IP` address to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return talk(ctx, "Host", *ip, func(node *collab.Node, dir string) (*collab.Session, error) {
		shares, err := file.Open(filepath.Join(dir, "shares"), func(bool) ([]byte, error) { return []byte(rand.Text()), nil })
		if err != nil {
			return nil, err
		}
		s, err := node.Create(ctx, "Two terminals", collab.Ceremony{Threshold: 2, Custodians: []collab.Custodian{
			collab.FileCustodian(filepath.Join(dir, "share-1")), collab.KeyStoreCustodian(shares),
		}})
		if err != nil {
			return nil, err
		}
		code, err := s.Invite(ctx, collab.InviteOptions{})
		if err != nil {
			return nil, err
		}
		fmt.Printf("On the other side, run:\n\n  quickstart join %s\n\n", code)
		return s, nil
	})
}

// join redeems a code and talks.
func join(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: quickstart join CODE")
	}
	return talk(ctx, "Guest", "0.0.0.0", func(node *collab.Node, _ string) (*collab.Session, error) {
		return node.Join(ctx, args[0])
	})
}

// talk opens a node in a temporary folder, gets a session and shares lines: what is typed here is appended to a
// document, what others append is printed.
func talk(ctx context.Context, name, ip string, start func(*collab.Node, string) (*collab.Session, error)) error {
	dir, err := os.MkdirTemp("", "collab-talk-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	keys, err := file.Open(filepath.Join(dir, "keys"), func(bool) ([]byte, error) { return []byte(rand.Text()), nil })
	if err != nil {
		return err
	}
	node, err := collab.Open(ctx, collab.WithDir(filepath.Join(dir, "state")), collab.WithName(name), collab.WithKeyStore(keys),
		collab.WithListen("/ip4/"+ip+"/udp/0/quic-v1", "/ip4/"+ip+"/tcp/0"))
	if err != nil {
		return err
	}
	defer node.Close()
	s, err := start(node, dir)
	if err != nil {
		return err
	}
	doc, err := s.Doc(ctx, "lines")
	if err != nil {
		return err
	}
	text := doc.Text("lines")
	defer text.Observe(func(e crdt.TextEvent) {
		for _, d := range e.Delta {
			if !e.Origin.Local && d.Insert != "" {
				fmt.Print(d.Insert)
			}
		}
	})()
	go announce(ctx, s)
	fmt.Println("Connected. Type lines; end with Ctrl-D.")

	lines := readLines()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				return errors.Join(doc.WaitSaved(ctx), node.Close())
			}
			err := doc.Update(func(tx *crdt.Txn) error {
				return text.Insert(tx, text.Len(tx), fmt.Sprintf("%s: %s\n", name, strings.TrimRight(line, "\r")))
			})
			if err != nil {
				return err
			}
		case <-s.Done():
			return s.Err()
		case <-ctx.Done():
			return nil
		}
	}
}

// announce prints who comes and goes.
func announce(ctx context.Context, s *collab.Session) {
	for e := range collab.Subscribe[collab.PeerChanged](ctx, s) {
		for m := range s.Members() {
			if m.ID == e.Who && e.Online {
				fmt.Printf("[%s is here]\n", m.Name)
			} else if m.ID == e.Who {
				fmt.Printf("[%s has gone]\n", m.Name)
			}
		}
	}
}

func readLines() <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- in.Text()
		}
	}()
	return lines
}
