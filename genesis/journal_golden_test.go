package genesis

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
)

const goldenJournalPath = "../testdata/genesis/journal.json"

// goldenJournals are records of a journal and what reading them must give.
type goldenJournals struct {
	Comment string       `json:"comment"`
	Label   string       `json:"label"`
	Place   string       `json:"place"` // of the label
	Records []goldenRoot `json:"records"`
}

func goldenJournal(change func(*journalRecord)) []byte {
	r := &journalRecord{
		Head: wire.NewHead(), Magic: journalMagic, Project: ProjectID{1}, Phase: phasePrepared, Base: RootID{2}, Next: RootID{3},
		Signed: []wire.ID{{4}, {5}},
		Sets: []setRecord{
			{Ceremony: [16]byte{6}, Key: wire.ID{7}, K: 2, Known: 0b101, Places: []placeRecord{{X: 1, Place: placeOf("key store")}, {X: 3, Place: placeOf("file /a")}}},
			{Ceremony: [16]byte{8}, Key: wire.ID{7}, K: 2, Places: []placeRecord{}},
		},
	}
	change(r)
	return wire.Marshal(r)
}

func TestGoldenJournals(t *testing.T) {
	place := placeOf("key store")
	if *update {
		g := goldenJournals{
			Comment: "Made by go test ./genesis -run Golden -update; see genesis/SPEC.md.",
			Label:   "key store", Place: hex.EncodeToString(place[:]),
		}
		for _, v := range []struct {
			name, want string
			change     func(*journalRecord)
		}{
			{"a change in progress, every field used", "ok", func(*journalRecord) {}},
			{"at rest", "ok", func(r *journalRecord) { r.Phase, r.Next, r.Signed = phaseIdle, RootID{}, []wire.ID{} }},
			{"unknown phase", "journal", func(r *journalRecord) { r.Phase = 3 }},
			{"two sets of one ceremony", "journal", func(r *journalRecord) { r.Sets[1].Ceremony = r.Sets[0].Ceremony }},
			{"five sets", "journal", func(r *journalRecord) {
				for i := byte(10); len(r.Sets) < 5; i++ {
					r.Sets = append(r.Sets, setRecord{Ceremony: [16]byte{i}, K: 2, Places: []placeRecord{}})
				}
			}},
			{"places not sorted", "journal", func(r *journalRecord) { r.Sets[0].Places[1].X = 1 }},
			{"x = 0", "journal", func(r *journalRecord) { r.Sets[0].Places[0].X = 0 }},
			{"k = 1", "journal", func(r *journalRecord) { r.Sets[0].K = 1 }},
			{"another magic", "journal", func(r *journalRecord) { r.Magic = "clbx" }},
			{"no project", "journal", func(r *journalRecord) { r.Project = ProjectID{} }},
			{"version 2", "version", func(r *journalRecord) { r.V = 2 }},
		} {
			g.Records = append(g.Records, goldenRoot{Name: v.name, Want: v.want, Raw: hex.EncodeToString(goldenJournal(v.change))})
		}
		goldenfile.Write(t, goldenJournalPath, g)
	}
	var g goldenJournals
	goldenfile.Read(t, goldenJournalPath, &g)
	if hex.EncodeToString(place[:]) != g.Place {
		t.Errorf("place of %q: %x", g.Label, place)
	}
	if raw := goldenJournal(func(*journalRecord) {}); !bytes.Equal(raw, unhex(t, g.Records[0].Raw)) {
		t.Error("the encoding changed")
	}
	for _, v := range g.Records {
		_, err := parseJournal(unhex(t, v.Raw))
		want := map[string]error{"ok": nil, "journal": ErrJournal, "version": wire.ErrVersion}[v.Want]
		if !errors.Is(err, want) || err != nil && !errors.Is(err, ErrJournal) {
			t.Errorf("%s: got %v, want %s", v.Name, err, v.Want)
		}
	}
}

// The fullest record that is ever written fits.
func TestLargestJournal(t *testing.T) {
	raw := goldenJournal(func(r *journalRecord) {
		r.Signed = ids(maxSigned)
		r.Sets = nil
		for i := range maxSets {
			s := setRecord{Ceremony: [16]byte{byte(i + 1)}, K: 16, Known: 1<<16 - 1}
			for x := range MaxShares {
				s.Places = append(s.Places, placeRecord{X: uint8(x + 1), Place: placeOf(string(rune('a' + x)))})
			}
			r.Sets = append(r.Sets, s)
		}
	})
	if len(raw) > MaxJournal {
		t.Fatalf("%d bytes", len(raw))
	}
	if _, err := parseJournal(raw); err != nil {
		t.Fatal(err)
	}
	t.Logf("the largest has %d bytes", len(raw))
}
