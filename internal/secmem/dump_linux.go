package secmem

import "syscall"

const madviseDontDump = 16 // MADV_DONTDUMP of madvise(2)

func keepOutOfDumps(page []byte) { _ = syscall.Madvise(page, madviseDontDump) }
