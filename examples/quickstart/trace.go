package main

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/crdt"
)

// patch is one edit of a recorded session: at a position in UTF-16 code units so many are deleted, then text is
// inserted.
type patch struct {
	At, Delete int
	Insert     string
}

func (p *patch) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&p.At, &p.Delete, &p.Insert})
}

func (p patch) MarshalJSON() ([]byte, error) { return json.Marshal([]any{p.At, p.Delete, p.Insert}) }

// recording is a recorded editing session.
type recording struct {
	Patches   []patch
	EndSHA256 string // of the final text in UTF-8, hex
}

func loadRecording(path string) (recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return recording{}, err
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return recording{}, fmt.Errorf("%s: %w", path, err)
	}
	var rec recording
	if err := json.NewDecoder(zr).Decode(&rec); err != nil {
		return recording{}, fmt.Errorf("%s: %w", path, err)
	}
	if len(rec.Patches) == 0 || rec.EndSHA256 == "" {
		return recording{}, fmt.Errorf("%s: no patches or no endSha256", path)
	}
	return rec, nil
}

// applyPatches replays edits, one transaction each.
func applyPatches(doc *collab.Doc, patches []patch) error {
	text := doc.Text("script")
	for i, p := range patches {
		err := doc.Update(func(tx *crdt.Txn) error {
			if err := text.Delete(tx, p.At, p.Delete); p.Delete > 0 && err != nil {
				return err
			}
			if p.Insert == "" {
				return nil
			}
			return text.Insert(tx, p.At, p.Insert)
		})
		if err != nil {
			return fmt.Errorf("patch %d: %w", i, err)
		}
	}
	return nil
}

// checkEnd compares the final text with the recording's.
func (rec recording) checkEnd(doc *collab.Doc) error {
	var text string
	if err := doc.View(func(tx *crdt.ReadTxn) error { text = doc.Text("script").String(tx); return nil }); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(text))
	if hex.EncodeToString(sum[:]) != rec.EndSHA256 {
		return errors.New("the final text is not the recording's")
	}
	return nil
}
