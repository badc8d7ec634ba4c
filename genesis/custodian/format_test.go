package custodian

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/cost"
	"github.com/studio-whip/collab/internal/testbed/goldenfile"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore"
	"github.com/studio-whip/collab/keystore/memory"
)

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenPath = "../../testdata/genesis/custodian.json"

// golden is the content of the vector file. The recovery file's cost is the small one of tests.
type golden struct {
	Comment      string       `json:"comment"`
	Phrase       string       `json:"phrase"`
	Share        string       `json:"share"`
	Record       string       `json:"record"`
	KeyStoreName string       `json:"key_store_name"`
	ShareFiles   []goldenFile `json:"share_files"`
	Recovery     []goldenFile `json:"recovery_files"`
}

type goldenFile struct {
	Name string `json:"name"`
	Want string `json:"want"` // "ok" or the class of failure
	Raw  string `json:"raw"`
}

// classes maps a failure class of a vector to the error that stands for it.
var classes = map[string]error{
	"ok": nil, "damaged": ErrDamaged, "version": wire.ErrVersion, "cost": seal.ErrCost, "too-large": wire.ErrTooLarge,
}

func goldenHeader() phraseHeader {
	return phraseHeader{
		Head: wire.NewHead(), Magic: phraseMagic, Cost: seal.DefaultCost(), Salt: [16]byte{5}, Ceremony: [16]byte{1}, X: 2,
	}
}

// goldenRecovery is a recovery file with one blob whose header was changed.
func goldenRecovery(t testing.TB, change func(*phraseHeader)) *recoveryFile {
	t.Helper()
	h := goldenHeader()
	key := h.Cost.Stretch([]byte(wrongPhrase), h.Salt)
	change(&h)
	b, err := sealBlob(bytes.NewReader(make([]byte, 24)), key, genesis.ProjectID{1}, h,
		phrasePayload{Share: []byte("the share"), Records: [][]byte{[]byte("a root record")}})
	if err != nil {
		t.Fatal(err)
	}
	return &recoveryFile{Blobs: []blob{b}}
}

func goldenShareFile() *shareFile {
	c := &shareFile{Head: wire.NewHead(), Magic: shareFileMagic, Shares: []keptShare{
		{Project: genesis.ProjectID{1}, Ceremony: [16]byte{1}, X: 2, Share: []byte("the share")},
		{Project: genesis.ProjectID{2}, Ceremony: [16]byte{2}, X: 1, Share: []byte("another")},
	}}
	sum := c.checksum()
	c.Check = &sum
	return c
}

func writeGolden(t *testing.T) {
	t.Helper()
	g := golden{
		Comment: "Made by go test ./genesis/custodian -run Golden -update; see genesis/SPEC.md.",
		Phrase:  wrongPhrase, Share: hex.EncodeToString([]byte("the share")), Record: hex.EncodeToString([]byte("a root record")),
		KeyStoreName: shareName(refOf(1, 2)),
	}
	share := func(name, want string, change func(*shareFile)) {
		c := goldenShareFile()
		change(c)
		sum := c.checksum()
		c.Check = &sum
		g.ShareFiles = append(g.ShareFiles, goldenFile{Name: name, Want: want, Raw: hex.EncodeToString(wire.Marshal(c))})
	}
	share("two shares", "ok", func(*shareFile) {})
	share("not sorted", "damaged", func(c *shareFile) { c.Shares[0], c.Shares[1] = c.Shares[1], c.Shares[0] })
	share("one place twice", "damaged", func(c *shareFile) { c.Shares[1] = c.Shares[0] })
	share("empty share", "damaged", func(c *shareFile) { c.Shares[0].Share = nil })
	share("another magic", "damaged", func(c *shareFile) { c.Magic = "clbx" })
	share("version 2", "version", func(c *shareFile) { c.V = 2 })
	recovery := func(name, want string, change func(*phraseHeader)) {
		g.Recovery = append(g.Recovery, goldenFile{Name: name, Want: want, Raw: hex.EncodeToString(goldenRecovery(t, change).encode())})
	}
	recovery("one share", "ok", func(*phraseHeader) {})
	recovery("a tebibyte of memory", "cost", func(h *phraseHeader) { h.Cost.Memory = 1 << 30 })
	recovery("no memory", "cost", func(h *phraseHeader) { h.Cost.Memory = 0 })
	recovery("17 passes", "cost", func(h *phraseHeader) { h.Cost.Passes = 17 })
	recovery("17 threads", "cost", func(h *phraseHeader) { h.Cost.Threads = 17 })
	recovery("x = 0", "damaged", func(h *phraseHeader) { h.X = 0 })
	recovery("version 2", "version", func(h *phraseHeader) { h.V = 2 })
	goldenfile.Write(t, goldenPath, g)
}

func readGolden(t testing.TB) golden {
	t.Helper()
	var g golden
	goldenfile.Read(t, goldenPath, &g)
	return g
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGoldenFiles(t *testing.T) {
	cost.ForTests(t)
	if *update {
		writeGolden(t)
	}
	g := readGolden(t)
	if got := shareName(refOf(1, 2)); got != g.KeyStoreName || keystore.CheckName(got) != nil {
		t.Errorf("name in a key store: %s", got)
	}
	for _, v := range g.ShareFiles {
		c, err := parseShareFile(unhex(t, v.Raw))
		if want, known := classes[v.Want]; !known || !errors.Is(err, want) || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("share file, %s: got %v, want %s", v.Name, err, v.Want)
		}
		if err == nil && !bytes.Equal(wire.Marshal(c), wire.Marshal(goldenShareFile())) {
			t.Errorf("share file, %s: encoding changed", v.Name)
		}
	}
	for _, v := range g.Recovery {
		raw := unhex(t, v.Raw)
		c, err := parseRecoveryFile(raw)
		if want, known := classes[v.Want]; !known || !errors.Is(err, want) || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("recovery file, %s: got %v, want %s", v.Name, err, v.Want)
		}
		if err != nil {
			continue
		}
		if !bytes.Equal(goldenRecovery(t, func(*phraseHeader) {}).encode(), raw) {
			t.Errorf("recovery file, %s: encoding changed", v.Name)
		}
		b := c.Blobs[0]
		payload, err := b.open(b.header.Cost.Stretch([]byte(g.Phrase), b.header.Salt))
		if err != nil || hex.EncodeToString(payload.Share) != g.Share || hex.EncodeToString(payload.Records[0]) != g.Record {
			t.Errorf("recovery file, %s: opened to %v, %v", v.Name, payload, err)
		}
	}
}

// The header is bound to what it seals: moved to another place or given another cost, nothing opens.
func TestPhraseHeaderIsBound(t *testing.T) {
	cost.ForTests(t)
	good := goldenHeader()
	key := good.Cost.Stretch([]byte(wrongPhrase), good.Salt)
	for name, change := range map[string]func(*phraseHeader){
		"x":        func(h *phraseHeader) { h.X = 3 },
		"ceremony": func(h *phraseHeader) { h.Ceremony[0]++ },
		"salt":     func(h *phraseHeader) { h.Salt[0]++ },
		"cost":     func(h *phraseHeader) { h.Cost.Passes++ },
	} {
		b := goldenRecovery(t, func(*phraseHeader) {}).Blobs[0]
		h := goldenHeader()
		change(&h)
		b.Header = wire.Marshal(h)
		if _, err := b.open(key); !errors.Is(err, ErrWrongPhrase) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A cost from outside is checked before a person is asked and before any memory is taken.
func TestHostileCostAsksNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recovery")
	hostile := goldenRecovery(t, func(h *phraseHeader) { h.Cost.Memory = 1 << 31 })
	if err := os.WriteFile(path, hostile.encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	p := new(person)
	c := Phrase(p.ask, path)
	if _, err := c.Recall(t.Context(), refOf(1, 2)); !errors.Is(err, seal.ErrCost) || !errors.Is(err, ErrDamaged) {
		t.Errorf("recall: %v", err)
	}
	if _, err := c.(genesis.RecordKeeper).Records(t.Context()); !errors.Is(err, seal.ErrCost) {
		t.Errorf("records: %v", err)
	}
	if p.asked != 0 {
		t.Error("somebody was asked for a phrase")
	}
}

func TestRecoveryFileCaps(t *testing.T) {
	cost.ForTests(t)
	path := filepath.Join(t.TempDir(), "recovery")
	full := goldenRecovery(t, func(*phraseHeader) {})
	for i := 1; i < MaxBlobs; i++ {
		b := full.Blobs[0]
		b.Project = genesis.ProjectID{1, byte(i)}
		full.Blobs = append(full.Blobs, b)
	}
	if err := os.WriteFile(path, full.encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	p := new(person)
	c := Phrase(p.ask, path).(genesis.RecordKeeper)
	if err := c.Keep(t.Context(), refOf(9, 1), []byte("share")); err == nil || p.shown != 0 {
		t.Errorf("a share too many: %v, %d questions", err, p.shown)
	}
	full.Blobs = append(full.Blobs, full.Blobs[0])
	if _, err := parseRecoveryFile(full.encode()); !errors.Is(err, ErrDamaged) {
		t.Errorf("file over the cap: %v", err)
	}
	if err := c.KeepWithRecords(t.Context(), refOf(9, 1), []byte("share"), make([][]byte, MaxRecords+1)); err == nil {
		t.Error("too many records were kept")
	}
	if err := c.Keep(t.Context(), refOf(9, 1), make([]byte, genesis.MaxShare+1)); err == nil {
		t.Error("too big a share was kept")
	}
	other := Phrase(p.ask, filepath.Join(t.TempDir(), "other")).(genesis.RecordKeeper)
	if err := other.KeepWithRecords(t.Context(), refOf(9, 1), []byte("share"), [][]byte{make([]byte, MaxRecoveryFile)}); err == nil {
		t.Error("a file was written that cannot be read again")
	}
	if _, err := os.Lstat(pathOf(other)); err == nil {
		t.Error("a file was left")
	}
}

// New phrases cost what the documentation says: 256 MiB, three passes, four lanes.
func TestPhraseCost(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 256 MiB and some seconds: not with -short")
	}
	p := new(person)
	c := Phrase(p.ask, filepath.Join(t.TempDir(), "recovery")).(*phrase)
	if err := c.Keep(t.Context(), refOf(1, 1), []byte("share")); err != nil {
		t.Fatal(err)
	}
	b, err := c.find(refOf(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	if b.header.Cost.Memory != 256<<10 || b.header.Cost.Passes != 3 || b.header.Cost.Threads != 4 {
		t.Fatalf("cost %+v", b.header.Cost)
	}
	if len(c.fresh) != 1 {
		t.Fatal("the key of the new share is not remembered")
	}
	if share, err := c.Recall(t.Context(), refOf(1, 1)); err != nil || string(share) != "share" || p.asked != 0 {
		t.Fatalf("first recall: %v, %d questions", err, p.asked)
	}
	if c.EndCeremony(); len(c.fresh) != 0 {
		t.Fatal("a key outlives its ceremony")
	}
}

// Many shares kept at once through several objects over one file: none is lost.
func TestFileKeepsConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shares")
	const n = 16
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			errs[i] = File(path).Keep(context.Background(), refOf(byte(i), 1), fmt.Append(nil, "share ", i))
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if got, err := File(path).Recall(t.Context(), refOf(byte(i), 1)); err != nil || string(got) != fmt.Sprint("share ", i) {
			t.Errorf("share %d: %q, %v", i, got, err)
		}
	}
}

// forgetful is a key store that does not keep what it is given.
type forgetful struct {
	keystore.Store
	change func([]byte) ([]byte, error)
}

func (f forgetful) Get(ctx context.Context, name string) ([]byte, error) {
	b, err := f.Store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return f.change(b)
}

func TestKeyStoreReadsBack(t *testing.T) {
	locked := keystore.ErrLocked
	for _, tt := range []struct {
		name   string
		change func([]byte) ([]byte, error)
		want   error
	}{
		{"truncates", func(b []byte) ([]byte, error) { return b[:len(b)-1], nil }, ErrDamaged},
		{"forgets", func([]byte) ([]byte, error) { return nil, keystore.ErrNotFound }, genesis.ErrNoShare},
		{"locks", func([]byte) ([]byte, error) { return nil, locked }, locked},
	} {
		c := KeyStore(forgetful{memory.New(), tt.change})
		if err := c.Keep(t.Context(), refOf(1, 1), []byte("share")); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	closed := memory.New()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := KeyStore(closed).Keep(t.Context(), refOf(1, 1), []byte("share")); !errors.Is(err, keystore.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// Every share of every ceremony fits into a key store.
func TestShareFitsKeyStore(t *testing.T) {
	if genesis.MaxShare > keystore.MaxSecret {
		t.Fatalf("a share of %d bytes does not fit into %d", genesis.MaxShare, keystore.MaxSecret)
	}
}

// No error, label or printed custodian shows a share or a phrase.
func TestNothingSecretIsPrinted(t *testing.T) {
	for _, k := range kinds(t) {
		c := k.open()
		if err := c.Keep(t.Context(), refOf(1, 1), []byte("very secret share")); err != nil {
			t.Fatal(err)
		}
		_, notThere := c.Recall(t.Context(), refOf(2, 1))
		occupied := c.Keep(t.Context(), refOf(1, 1), []byte("other secret share"))
		for _, v := range []any{c, c.Label(), notThere, occupied} {
			for _, verb := range []string{"%v", "%+v", "%#v"} {
				if out := fmt.Sprintf(verb, v); strings.Contains(out, "secret share") {
					t.Errorf("%s: %s prints %q", k.name, verb, out)
				}
			}
		}
	}
}

func FuzzParseRecoveryFile(f *testing.F) {
	cost.ForTests(f)
	for _, v := range readGolden(f).Recovery {
		f.Add(unhex(f, v.Raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseRecoveryFile(raw)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if len(c.Blobs) > MaxBlobs || !bytes.Equal(c.encode(), raw) {
			t.Fatal("accepted what it would not write")
		}
		for _, b := range c.Blobs {
			if b.header.Cost.Check() != nil || b.header.X == 0 {
				t.Fatal("accepted a blob that cannot be")
			}
		}
	})
}

func FuzzOpenBlob(f *testing.F) {
	cost.ForTests(f)
	key := [seal.KeySize]byte{1}
	header := wire.Marshal(goldenHeader())
	f.Add(wire.Marshal(phrasePayload{Share: []byte("share"), Records: [][]byte{{1}}}))
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, plain []byte) {
		sealed, err := seal.Random(bytes.NewReader(make([]byte, 24)), key, header, plain)
		if err != nil {
			t.Fatal(err)
		}
		p, err := (&blob{Header: header, Sealed: sealed}).open(key)
		if err == nil && (len(p.Share) == 0 || len(p.Share) > genesis.MaxShare || len(p.Records) > MaxRecords) {
			t.Fatal("accepted a payload that cannot be")
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("untyped error %v", err)
		}
	})
}

func FuzzParseShareFile(f *testing.F) {
	for _, v := range readGolden(f).ShareFiles {
		f.Add(unhex(f, v.Raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseShareFile(raw)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if len(c.Shares) > MaxShares || !bytes.Equal(wire.Marshal(c), raw) {
			t.Fatal("accepted what it would not write")
		}
	})
}
