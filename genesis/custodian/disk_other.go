//go:build !unix

package custodian

// syncFolder does nothing: a folder cannot be synced here, the file system's journal keeps the order.
func syncFolder(string) error { return nil }
