//go:build race

package journal

// histories is how many TestDocuments makes unless it is told otherwise; the race detector takes ten times as long.
const histories = 30
