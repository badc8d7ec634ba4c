//go:build !unix

package disk

// SyncFolder does nothing: folders cannot be synced here, and the file system orders renames by itself.
func SyncFolder(string) error { return nil }
