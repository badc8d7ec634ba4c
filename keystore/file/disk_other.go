//go:build !unix

package file

import "io/fs"

// Who may touch a file is not written in its mode here.
func checkFile(string, fs.FileInfo) error { return nil }

func checkFolder(string) error { return nil }

// A folder cannot be synced here; the file system's journal orders the rename after the file's content.
func syncFolder(string) error { return nil }
