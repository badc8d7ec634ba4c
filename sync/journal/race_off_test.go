//go:build !race

package journal

// histories is how many TestDocuments makes unless it is told otherwise.
const histories = 300
