package store

import (
	"bytes"
	"sync"
)

// memory is a backend without a file. A write transaction keeps the old values and puts them back on rollback.
type memory struct {
	mu      sync.RWMutex // held for the life of a transaction
	buckets map[string]memoryBucket
}

type memoryBucket map[string][]byte

func newMemory() *memory { return &memory{buckets: map[string]memoryBucket{}} }

func (m *memory) begin(write bool) (rawTx, error) {
	if write {
		m.mu.Lock()
	} else {
		m.mu.RLock()
	}
	return &memoryTx{m: m, write: write}, nil
}

func (m *memory) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.buckets = nil
	return nil
}

type memoryTx struct {
	m     *memory
	write bool
	ended bool
	undo  []func()
}

func (t *memoryTx) bucket(name []byte, create, _ bool) (rawBucket, error) {
	if b, ok := t.m.buckets[string(name)]; ok {
		return memoryView{t, b}, nil
	}
	if !create {
		return nil, nil
	}
	b := memoryBucket{}
	t.m.buckets[string(name)] = b
	t.undo = append(t.undo, func() { delete(t.m.buckets, string(name)) })
	return memoryView{t, b}, nil
}

func (t *memoryTx) drop(name []byte) error {
	b := t.m.buckets[string(name)]
	delete(t.m.buckets, string(name))
	t.undo = append(t.undo, func() { t.m.buckets[string(name)] = b })
	return nil
}

func (t *memoryTx) commit() error {
	t.undo = nil
	t.rollback()
	return nil
}

func (t *memoryTx) rollback() {
	if t.ended {
		return
	}
	t.ended = true
	for i := len(t.undo) - 1; i >= 0; i-- {
		t.undo[i]()
	}
	if t.write {
		t.m.mu.Unlock()
	} else {
		t.m.mu.RUnlock()
	}
}

type memoryView struct {
	t *memoryTx
	b memoryBucket
}

func (v memoryView) get(key []byte) ([]byte, error) { return bytes.Clone(v.b[string(key)]), nil }

func (v memoryView) put(key, value []byte) error {
	v.remember(key)
	v.b[string(key)] = bytes.Clone(value)
	return nil
}

func (v memoryView) delete(key []byte) error {
	v.remember(key)
	delete(v.b, string(key))
	return nil
}

func (v memoryView) remember(key []byte) {
	k := string(key)
	old, had := v.b[k]
	v.t.undo = append(v.t.undo, func() {
		if had {
			v.b[k] = old
		} else {
			delete(v.b, k)
		}
	})
}

func (v memoryView) keys() ([][]byte, error) {
	keys := make([][]byte, 0, len(v.b))
	for k := range v.b {
		keys = append(keys, []byte(k))
	}
	return keys, nil
}
