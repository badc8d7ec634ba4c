package assets

import (
	"math"
	"time"
)

// meter averages a rate over about meterSpan, the recent weighing most.
type meter struct {
	rate float64 // bytes per second, as of at
	at   time.Time
}

// add counts n bytes.
func (m *meter) add(n int, now time.Time) {
	m.rate = m.read(now) + float64(n)/meterSpan.Seconds()
	m.at = now
}

// read returns bytes per second.
func (m *meter) read(now time.Time) float64 {
	if m.at.IsZero() {
		return 0
	}
	return m.rate * math.Exp(-now.Sub(m.at).Seconds()/meterSpan.Seconds())
}
