package governance

import (
	"fmt"
	"testing"
)

// All events of one number are one piece of evidence, whatever their number, and it is judged pair by pair: a lift forgives
// the pairs that it has seen, and no other.
func TestEvidenceIsFiledOnce(t *testing.T) {
	tm := crowd(t, 3)
	tm.fork(30, func(int) string { return "all" })
	z := tm.person("Z").device.ID
	if list := tm.log.h.evidence[z]; len(list) != 1 || len(list[0].events) != 30 {
		t.Fatalf("%d pieces of evidence", len(list))
	}
	suspended := func() bool {
		d, ok := tm.log.State().Device(z)
		return ok && d.Suspended
	}
	if shown, ok := tm.log.Equivocation(z); !ok || shown != tm.ids["fork 1"] || !suspended() {
		t.Errorf("what is shown: %s, %v", tm.names[shown], ok)
	}
	var first, all []string
	for k := range 30 {
		all = append(all, fmt.Sprintf("fork %d", k))
	}
	first = all[:10]
	tm.add("lift some", liftDeviceStep("A", "Z"), first...)
	if shown, ok := tm.log.Equivocation(z); !ok || shown != tm.ids["fork 10"] || !suspended() {
		t.Errorf("after a lift that has seen ten: %s, %v", tm.names[shown], ok)
	}
	tm.add("one", chainStep("A", 1), append([]string{"lift some"}, all[10:20]...)...)
	tm.add("two", chainStep("A", 2), append([]string{"one"}, all[20:]...)...)
	tm.add("lift all", liftDeviceStep("A", "Z"), "two")
	if _, ok := tm.log.Equivocation(z); ok || suspended() {
		t.Error("after a lift that has seen all")
	}
}
