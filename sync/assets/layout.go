package assets

// blockCount returns how many blocks a file of this size has; an empty one has none.
func blockCount(size int64) int {
	if size <= smallBlocks*smallBlock {
		return int((size + smallBlock - 1) / smallBlock)
	}
	return smallBlocks + int((size-smallBlocks*smallBlock+largeBlock-1)/largeBlock)
}

// blockAt returns the block that holds the byte at an offset.
func blockAt(off int64) int {
	if off < smallBlocks*smallBlock {
		return int(off / smallBlock)
	}
	return smallBlocks + int((off-smallBlocks*smallBlock)/largeBlock)
}

// blockStart returns the offset of a block's first byte.
func blockStart(n int) int64 {
	if n <= smallBlocks {
		return int64(n) * smallBlock
	}
	return smallBlocks*smallBlock + int64(n-smallBlocks)*largeBlock
}

// blockLen returns how many bytes of a file are in a block.
func blockLen(n int, size int64) int {
	return int(min(size, blockStart(n+1)) - blockStart(n))
}
