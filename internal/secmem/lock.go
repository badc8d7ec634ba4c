package secmem

import (
	"os"
	"sync"
)

// Lock is [New] for a secret that is kept for long: it moves b, at most a page, into memory that the system does not swap
// out and leaves out of core dumps, as far as it can and lets this program, and overwrites b. Where it cannot, the secret
// lies in ordinary memory. Wipe gives the memory back, so a slice from Bytes must not be used after it; a secret that is
// never wiped keeps its page for the life of the program.
func Lock(b []byte) *Bytes {
	page := pages.take(len(b))
	if page == nil {
		return New(b)
	}
	kept := page[:len(b):len(b)]
	copy(kept, b)
	Wipe(b)
	s := New(kept)
	*s.page.Get() = page
	return s
}

// pages are pages for secrets, one for each. They are never given back to the system.
var pages pool

type pool struct {
	mu   sync.Mutex
	free [][]byte
}

// take returns a page of zeros that the system keeps in memory, or nil.
func (p *pool) take(size int) []byte {
	if size == 0 || size > os.Getpagesize() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		page := p.free[n-1]
		p.free = p.free[:n-1]
		return page
	}
	return lockedPage()
}

// give takes back a page that has been overwritten.
func (p *pool) give(page []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, page)
}
