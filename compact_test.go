package collab_test

import (
	"bytes"
	"testing"

	"github.com/studio-whip/collab"
)

// A young project has nothing that an old checkpoint attests: its audit stays whole.
func TestCompactYoungProject(t *testing.T) {
	n := openNode(t, "Ada")
	s := create(t, n)
	if events, err := s.Compact(t.Context()); err != nil || events != 0 {
		t.Fatalf("%d events compacted: %v", events, err)
	}
	var file bytes.Buffer
	if err := s.ExportAudit(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	if r, err := collab.VerifyAudit(&file); err != nil || r.Attested != 0 || r.Events == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
}
