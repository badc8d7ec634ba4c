package cost

import "testing"

func TestForTests(t *testing.T) {
	if Passphrase() != full || MinMemory() != fullMinimum {
		t.Fatalf("without a test that asks: %+v, at least %d KiB", Passphrase(), MinMemory())
	}
	t.Run("group", func(t *testing.T) {
		for range 3 {
			t.Run("parallel", func(t *testing.T) {
				t.Parallel()
				ForTests(t)
				if c := Passphrase(); c != small || MinMemory() != small.Memory {
					t.Errorf("within: %+v, at least %d KiB", c, MinMemory())
				}
			})
		}
	})
	if Passphrase() != full || MinMemory() != fullMinimum {
		t.Fatalf("afterwards: %+v, at least %d KiB", Passphrase(), MinMemory())
	}
}
