package governance

import "testing"

// What a program could have known is told from what others did beside it.
func TestUnlawful(t *testing.T) {
	tm := five(t)
	tm.draw(`
		five -> self -> end
		five -> grant -> end
		five -> out -> end`, map[string]step{
		"self": grantStep("C", "C", Manager), "grant": grantStep("B", "D", Editor), "out": revokeStep("A", "C"), "end": chainStep("A", 2),
	})
	for name, want := range map[string]Reason{"self": ReasonRole, "grant": ReasonNoRaise, "out": ReasonNone, "end": ReasonNone} {
		r, unlawful := tm.log.Unlawful(tm.heads(name)[0])
		if r != want || unlawful != (want != ReasonNone) {
			t.Errorf("%s: %v, %v", name, r, unlawful)
		}
	}
	tm.draw(`five -> fallen -> last`, map[string]step{"fallen": chainStep("C", 1), "last": chainStep("D", 1)})
	if x, err := tm.log.Explain(tm.heads("fallen")[0]); err != nil || x.Counts {
		t.Fatalf("what the removed did beside the removal counts: %v", err)
	}
	if _, unlawful := tm.log.Unlawful(tm.heads("fallen")[0]); unlawful {
		t.Error("what fell to a removal beside it is called unlawful")
	}
	if _, unlawful := tm.log.Unlawful(EventID{1}); unlawful {
		t.Error("an event that is not there is called unlawful")
	}
}
