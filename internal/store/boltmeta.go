package store

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"os"
)

// A bbolt file begins with two meta pages, written in turn. Each says how many pages the file has (the high-water
// mark), and ends in a checksum. bbolt does not compare that with the size of the file, maps it, and the first
// touch of a page behind its end kills the process; so it is compared here first.
const (
	metaOffset   = 16 // page header
	metaSize     = 64
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	minPageSize  = 1 << 10
	maxPageSize  = 1 << 24
	noFreelist   = ^uint64(0)
	maxPageCount = 1 << 40
)

type meta struct {
	pageSize             uint64
	root, freelist, next uint64 // pages; next is the high-water mark
	txid                 uint64
}

// checkFile verifies that the newest meta page of the file is plausible and that the file is as long as it says.
func checkFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := newestMeta(f)
	if err != nil {
		return err
	}
	switch {
	case m.next > maxPageCount || m.root >= m.next || m.freelist >= m.next && m.freelist != noFreelist:
		return damaged("meta page points outside the file")
	case uint64(info.Size()) < m.next*m.pageSize:
		return damaged("truncated: %d bytes of at least %d", info.Size(), m.next*m.pageSize)
	}
	return nil
}

func newestMeta(f io.ReaderAt) (*meta, error) {
	first, err := readMeta(f, 0)
	if err != nil {
		return nil, err
	}
	var second *meta
	if first != nil {
		second, err = readMeta(f, int64(first.pageSize))
	} else {
		for size := int64(minPageSize); second == nil && err == nil && size <= maxPageSize; size *= 2 {
			second, err = readMeta(f, size)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case first == nil && second == nil:
		return nil, damaged("no valid meta page")
	case first == nil || second != nil && second.txid > first.txid:
		return second, nil
	}
	return first, nil
}

// readMeta returns nil if there is no valid meta page at offset.
func readMeta(f io.ReaderAt, offset int64) (*meta, error) {
	var b [metaSize]byte
	if _, err := f.ReadAt(b[:], offset+metaOffset); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	order := binary.NativeEndian
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	m := &meta{
		pageSize: uint64(order.Uint32(b[8:])),
		root:     order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]),
		next:     order.Uint64(b[40:]),
		txid:     order.Uint64(b[48:]),
	}
	valid := order.Uint32(b[0:]) == metaMagic && order.Uint32(b[4:]) == metaVersion &&
		order.Uint64(b[metaSize-8:]) == sum.Sum64() &&
		m.pageSize >= minPageSize && m.pageSize <= maxPageSize && m.pageSize&(m.pageSize-1) == 0
	if !valid {
		return nil, nil
	}
	return m, nil
}
