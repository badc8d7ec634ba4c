package traffic

import (
	"sync"
	"testing"
)

func TestCounter(t *testing.T) {
	var c Counter
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				c.In(1, 10)
				c.Out(2, 30)
			}
		})
	}
	all.Wait()
	c.In(-1, -1)
	if want := (Totals{In: Flow{8000, 80_000}, Out: Flow{16_000, 240_000}}); c.Totals() != want {
		t.Errorf("%+v, want %+v", c.Totals(), want)
	}
	var none *Counter
	none.In(1, 1)
	none.Out(1, 1)
	if none.Totals() != (Totals{}) {
		t.Error("a nil counter counts")
	}
}
