package store

// backend is an ordered-by-nothing table of buckets with transactions: one writer or many readers at a time. It
// sees sealed bytes only. Whatever it returns belongs to the caller.
type backend interface {
	begin(write bool) (rawTx, error)
	close() error
}

// rawTx is a transaction of a backend, used by one goroutine. commit ends it even if it fails.
type rawTx interface {
	// bucket returns nil if there is none of this name and create is false. Writers tell with sequential that keys
	// are added in ascending order.
	bucket(name []byte, create, sequential bool) (rawBucket, error)
	drop(name []byte) error
	commit() error
	rollback() // does nothing after commit
}

type rawBucket interface {
	get(key []byte) ([]byte, error) // nil if absent
	put(key, value []byte) error
	delete(key []byte) error
	keys() ([][]byte, error)
}
