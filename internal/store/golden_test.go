package store

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/internal/testbed/goldenfile"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenDir = "../../testdata/store"

// golden is the content of the vector file: all that is keyed, under a fixed key, salt and nonce.
type golden struct {
	Comment     string `json:"comment"`
	Key         string `json:"key"`
	Salt        string `json:"salt"`
	Header      string `json:"header"`
	Name        string `json:"name"`
	Bucket      string `json:"bucket"`
	MapKey      string `json:"map_key"`
	MapKeyHash  string `json:"map_key_hash"`
	Record1     string `json:"record_1_key"`
	Nonce       string `json:"nonce"`
	Record      string `json:"record"`
	SealedFirst string `json:"record_sealed_as_1"`
}

func makeGolden() golden {
	salt, nonce := [saltSize]byte{5}, [seal.NonceSize]byte{6}
	k := deriveKeys(testKey, salt)
	bucket := k.hash(hashName, []byte("name"))
	c := &collection{start: k.start(bucket)}
	sealed := seal.Seal(k.seal, nonce, place(bucket, c.recordKey(1)), []byte("record"))
	return golden{
		Comment:     "hex, names and records as text. Written by go test ./internal/store -run Golden -update",
		Key:         hex.EncodeToString(testKey[:]),
		Salt:        hex.EncodeToString(salt[:]),
		Header:      hex.EncodeToString(k.header()),
		Name:        "name",
		Bucket:      hex.EncodeToString(bucket),
		MapKey:      "key",
		MapKeyHash:  hex.EncodeToString(k.hash(hashKey, bucket, []byte("key"))),
		Record1:     hex.EncodeToString(c.recordKey(1)),
		Nonce:       hex.EncodeToString(nonce[:]),
		Record:      "record",
		SealedFirst: hex.EncodeToString(append(nonce[:], sealed...)),
	}
}

func TestGoldenKeys(t *testing.T) {
	path := filepath.Join(goldenDir, "keys.json")
	if *update {
		goldenfile.Write(t, path, makeGolden())
	}
	var want golden
	goldenfile.Read(t, path, &want)
	if got := makeGolden(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	header, err := hex.DecodeString(want.Header)
	must(t, err)
	_, err = openHeader(testKey, header)
	must(t, err)
	_, err = openHeader([32]byte{}, header)
	wantErr(t, err, ErrWrongKey)
	for at := range header {
		_, err := openHeader(testKey, flipped(header, at))
		wantErr(t, err, ErrDamaged)
	}
}

// TestGoldenFile opens a file written by version 1, as every later version must.
func TestGoldenFile(t *testing.T) {
	path := filepath.Join(goldenDir, "v1.db.gz")
	if *update {
		writeGoldenFile(t, path)
	}
	packed, err := os.Open(path)
	must(t, err)
	defer packed.Close()
	r, err := gzip.NewReader(packed)
	must(t, err)
	raw, err := io.ReadAll(r)
	must(t, err)
	copied := filepath.Join(t.TempDir(), "db")
	must(t, os.WriteFile(copied, raw, 0o600))
	must(t, openTest(t, copied).View(func(tx *Tx) error {
		for i := range 20 {
			v, ok, err := tx.Map("map").Get(fmt.Appendf(nil, "key %d", i))
			if err != nil || !ok || !bytes.Equal(v, record(i)) {
				t.Errorf("entry %d: %t %v", i, ok, err)
			}
			rec, err := tx.Log("log").Get(uint64(i + 1))
			if err != nil || !bytes.Equal(rec, record(i)) {
				t.Errorf("record %d: %v", i+1, err)
			}
		}
		names, err := tx.Names("")
		if len(names) != 2 || tx.Log("log").Len() != 20 {
			t.Error(names, tx.Log("log").Len())
		}
		return err
	}))
}

func writeGoldenFile(t *testing.T, path string) {
	plain := filepath.Join(t.TempDir(), "db")
	s := openTest(t, plain)
	must(t, s.Update(func(tx *Tx) error {
		for i := range 20 {
			if _, err := tx.Log("log").Append(record(i)); err != nil {
				return err
			}
			if err := tx.Map("map").Put(fmt.Appendf(nil, "key %d", i), record(i)); err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, s.Close())
	raw, err := os.ReadFile(plain)
	must(t, err)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err = w.Write(raw)
	must(t, err)
	must(t, w.Close())
	must(t, os.WriteFile(path, packed.Bytes(), 0o644))
}
