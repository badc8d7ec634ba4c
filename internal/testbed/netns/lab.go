//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// lab is two namespaces joined by a cable.
type lab struct{ sides []string } // that exist

// build makes the lab. What exists is in l even if it fails.
func build(drop []string) (l *lab, err error) {
	l = &lab{}
	for _, side := range []string{"a", "b"} {
		name := fmt.Sprintf("collab-%d-%s", os.Getpid(), side)
		if _, err := run("", "ip", "netns", "add", name); err != nil {
			return l, err
		}
		l.sides = append(l.sides, name)
	}
	a, b := l.sides[0], l.sides[1]
	if _, err := run("", "ip", "link", "add", "cable", "netns", a, "type", "veth", "peer", "name", "cable", "netns", b); err != nil {
		return l, err
	}
	for i, name := range l.sides {
		for _, args := range [][]string{
			{"link", "set", "lo", "up"},
			{"addr", "add", fmt.Sprintf("10.77.0.%d/24", i+1), "dev", "cable"},
			{"link", "set", "cable", "up"},
		} {
			if _, err := run("", append([]string{"ip", "-n", name}, args...)...); err != nil {
				return l, err
			}
		}
		if _, err := feed(name, filter(drop), "nft", "-f", "-"); err != nil {
			return l, err
		}
	}
	return l, nil
}

// filter counts what comes over the cable, and drops some of it.
func filter(drop []string) string {
	var rules strings.Builder
	for _, proto := range drop {
		fmt.Fprintf(&rules, "\t\tmeta l4proto %s drop\n", proto)
	}
	return fmt.Sprintf(`table inet lab {
	counter udp_in {}
	counter tcp_in {}
	chain in {
		type filter hook input priority 0; policy accept;
		iifname "lo" accept
%s		meta l4proto udp counter name "udp_in"
		meta l4proto tcp counter name "tcp_in"
	}
}
`, rules.String())
}

// passed counts the packets that came through on both sides. What is dropped must not have, and something must.
func (l *lab) passed(drop []string) (map[string]int, error) {
	sum := map[string]int{}
	for _, name := range l.sides {
		out, err := run(name, "nft", "-j", "list", "counters")
		if err != nil {
			return nil, err
		}
		var listing struct {
			Nftables []struct {
				Counter *struct {
					Name    string
					Packets int
				}
			}
		}
		if err := json.Unmarshal([]byte(out), &listing); err != nil {
			return nil, fmt.Errorf("nft's counters: %w", err)
		}
		for _, e := range listing.Nftables {
			if e.Counter != nil {
				sum[strings.TrimSuffix(e.Counter.Name, "_in")] += e.Counter.Packets
			}
		}
	}
	for _, proto := range drop {
		if sum[proto] != 0 {
			return nil, fmt.Errorf("%d packets of %s came through", sum[proto], proto)
		}
	}
	if sum["udp"]+sum["tcp"] == 0 && !slices.Contains(drop, "tcp") {
		return nil, errors.New("nothing came through the packet filters")
	}
	return sum, nil
}

// remove takes down what was made; the cable goes with its ends.
func (l *lab) remove() error {
	var errs []error
	for _, name := range l.sides {
		_, err := run("", "ip", "netns", "del", name)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
