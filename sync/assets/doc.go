// Package assets is tiers 3 and 4: a project's large files, as sealed blocks that devices fetch from one another over
// bitswap.
//
// Make one [Server] for a node before its host listens, and [Server.Join] it for each open project. [Assets.Add] brings
// a file in, [Assets.Open] reads one at once, however much of it has arrived, and [Assets.FS] shows them all as an
// [io/fs.FS]. What stands in the project's index is fetched in the background too, so that it is there offline;
// [Assets.Pin] and [Assets.Unpin] change that for this device.
//
// What is promised. A reader gets the bytes that were added or an error, never others: every block is compared with its
// hash and opened under the file's key before a byte of it is returned. A file is announced when all of it is durable
// here. What somebody waits for is fetched first, and the background stands still meanwhile. A peer that lies, stalls or
// leaves costs time and nothing else, as long as another has the block. A block is asked of and served to live devices
// of its project only, which is looked up at each request and again when it is sent; a block that is not here and one
// that the peer may not have get the same answer. On disk there is ciphertext under the names of its hashes.
//
// What is not: that anybody who is connected has a file, so a read may wait until its context ends; that a removed
// member forgets what was fetched before; or that the number of blocks and their sizes are hidden from who reads the disk.
//
// SPEC.md beside this file gives the format.
package assets
