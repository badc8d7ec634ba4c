package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"time"

	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/internal/testbed/traces"
)

// ours is package crdt with what it has made of a trace. Its runs are those of bench.mjs, step by step.
type ours struct {
	patches []traces.Patch
	updates [][]byte
	full    []byte
}

func (o *ours) run(what string, times int) (result, error) {
	switch what {
	case "local":
		return o.local()
	case "each":
		return o.each()
	case "parse":
		return o.parse(times)
	case "encode":
		return o.encode(times)
	case "heap":
		return o.heap()
	}
	return result{}, fmt.Errorf("no run %q", what)
}

func fresh(id uint64) (*crdt.Doc, *crdt.Text) {
	d := crdt.New(crdt.WithClientID(id))
	return d, d.Text("text")
}

func textOf(d *crdt.Doc) (s string) {
	_ = d.View(func(tx *crdt.ReadTxn) error {
		s = d.Text("text").String(tx)
		return nil
	})
	return s
}

// clock measures f, in milliseconds for one time.
func clock(times int, f func() error) (float64, error) {
	runtime.GC()
	start := time.Now()
	for range times {
		if err := f(); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Nanoseconds()) / 1e6 / float64(times), nil
}

func hash(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (o *ours) local() (r result, err error) {
	d, text := fresh(1)
	var out [][]byte
	d.OnUpdate(func(u []byte, _ crdt.Origin) { out = append(out, u) })
	r.MS, err = clock(1, func() error {
		for _, p := range o.patches {
			if err := d.Update(func(tx *crdt.Txn) error { return edit(tx, text, p) }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	o.updates = out
	if o.full, err = d.EncodeUpdate(nil); err != nil {
		return r, err
	}
	r.Text, r.Updates = traces.Hash(textOf(d)), hash(out...)
	return r, nil
}

func edit(tx *crdt.Txn, text *crdt.Text, p traces.Patch) error {
	if p.Del > 0 {
		if err := text.Delete(tx, p.At, p.Del); err != nil {
			return err
		}
	}
	if p.Ins == "" {
		return nil
	}
	return text.Insert(tx, p.At, p.Ins)
}

func (o *ours) each() (r result, err error) {
	d, _ := fresh(2)
	r.MS, err = clock(1, func() error {
		for _, u := range o.updates {
			if _, err := d.ApplyUpdate(u); err != nil {
				return err
			}
		}
		return nil
	})
	r.Text = traces.Hash(textOf(d))
	return r, err
}

func (o *ours) parse(times int) (r result, err error) {
	var s string
	r.MS, err = clock(times, func() error {
		d, _ := fresh(2)
		_, err := d.ApplyUpdate(o.full)
		s = textOf(d)
		return err
	})
	r.Text = traces.Hash(s)
	return r, err
}

func (o *ours) encode(times int) (r result, err error) {
	d, _ := fresh(2)
	if _, err := d.ApplyUpdate(o.full); err != nil {
		return r, err
	}
	var u []byte
	r.MS, err = clock(times, func() (err error) {
		u, err = d.EncodeUpdate(nil)
		return err
	})
	r.Text, r.Updates = traces.Hash(textOf(d)), hash(u)
	return r, err
}

// heap measures what is alive after loading. Pools keep what they hold for one collection, so there are several.
func (o *ours) heap() (r result, err error) {
	live := func() float64 {
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := live()
	d, _ := fresh(2)
	if _, err := d.ApplyUpdate(o.full); err != nil {
		return r, err
	}
	r.Bytes = live() - before
	r.Text = traces.Hash(textOf(d))
	return r, nil
}
