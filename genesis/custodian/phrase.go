package custodian

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/wire"
)

// Phrase seals shares under generated phrases of twelve words (128 bits; Argon2id with 256 MiB, about 1.5 s a time,
// then XChaCha20-Poly1305) into the recovery file at path, which belongs on another medium than this machine's disk.
// Whoever holds the file can try phrases, but not through 128 bits. The file also carries the root records: the
// custodian is a [genesis.RecordKeeper].
//
// The folder must exist; the file is made with the first share and removed with the last one. Each share has its own
// phrase. The first Recall after a Keep reads the file back under the key just made, without asking the person again, and
// so does KeepRecords until EndCeremony.
func Phrase(ask PhraseFunc, path string) genesis.Custodian {
	return &phrase{owner: generated{ask}, path: path}
}

// OwnPhrase is [Phrase] under a phrase that the person chooses. It is refused with a [*WeakPhraseError] under a floor of
// strength, which is an estimate and no proof: prefer generated words wherever somebody can be asked to write them down.
func OwnPhrase(ask OwnPhraseFunc, path string) genesis.Custodian {
	return &phrase{owner: own{ask}, path: path}
}

// owner is whose phrase it is. What both methods return is in normal form, and the caller wipes it.
type owner interface {
	agree(ctx context.Context) ([]byte, error)  // on a new phrase
	recall(ctx context.Context) ([]byte, error) // one from before
}

// freshKey is the key of a phrase that a person has just typed.
type freshKey struct {
	key  *secmem.Bytes
	read bool // the share was read back once
}

type phrase struct {
	owner owner
	path  string

	mu    sync.Mutex
	fresh map[genesis.ShareRef]*freshKey // of shares that were just kept, until the ceremony is over
}

func (p *phrase) Label() string { return "recovery phrase, " + p.path }

// Keep is KeepWithRecords without a record.
func (p *phrase) Keep(ctx context.Context, ref genesis.ShareRef, share []byte) error {
	return p.KeepWithRecords(ctx, ref, share, nil)
}

// KeepWithRecords shows the person a new phrase and seals share and records under it.
func (p *phrase) KeepWithRecords(ctx context.Context, ref genesis.ShareRef, share []byte, records [][]byte) error {
	if len(share) == 0 || len(share) > genesis.MaxShare || len(records) > MaxRecords {
		return fmt.Errorf("custodian: a share of %d bytes and %d records, at most %d and %d can be kept",
			len(share), len(records), genesis.MaxShare, MaxRecords)
	}
	if _, err := p.insert(ref, nil); err != nil { // before anybody writes down twelve words for nothing
		return err
	}
	secret, err := p.owner.agree(ctx)
	if err != nil {
		return err
	}
	defer secmem.Wipe(secret)
	header := phraseHeader{
		Head: wire.NewHead(), Magic: phraseMagic, Cost: seal.DefaultCost(), Ceremony: ref.Ceremony, X: ref.X,
	}
	_, _ = rand.Read(header.Salt[:]) // never fails
	key := header.Cost.Stretch(secret, header.Salt)
	defer secmem.Wipe(key[:])
	sealed, err := sealBlob(rand.Reader, key, ref.Project, header, phrasePayload{Share: share, Records: records})
	if err != nil {
		return err
	}
	if err := p.store(ref, sealed); err != nil {
		return err
	}
	if err := p.verify(ref, key, share); err != nil {
		return err
	}
	p.remember(ref, key)
	return nil
}

// insert reads the file and adds b to it unless b is nil. It refuses to replace a share and to overfill the file.
func (p *phrase) insert(ref genesis.ShareRef, b *blob) (*recoveryFile, error) {
	content, err := p.read()
	if errors.Is(err, genesis.ErrNoShare) {
		content, err = &recoveryFile{}, nil
	}
	if err != nil {
		return nil, err
	}
	at, there := content.find(ref)
	if there {
		return nil, ErrOccupied
	}
	if len(content.Blobs) == MaxBlobs {
		return nil, fmt.Errorf("custodian: %s holds %d shares, no more are kept in one file", p.path, MaxBlobs)
	}
	if b != nil {
		content.Blobs = slices.Insert(content.Blobs, at, *b)
	}
	return content, nil
}

// store adds a sealed share to the file.
func (p *phrase) store(ref genesis.ShareRef, b blob) error {
	rewriting.Lock()
	defer rewriting.Unlock()
	content, err := p.insert(ref, &b)
	if err != nil {
		return err
	}
	return p.write(content)
}

// exchange puts a sealed share in place of the one under the same reference.
func (p *phrase) exchange(ref genesis.ShareRef, b blob) error {
	rewriting.Lock()
	defer rewriting.Unlock()
	content, err := p.read()
	if err != nil {
		return err
	}
	at, there := content.find(ref)
	if !there {
		return genesis.ErrNoShare
	}
	content.Blobs[at] = b
	return p.write(content)
}

func (p *phrase) write(content *recoveryFile) error {
	data := content.encode()
	if len(data) > MaxRecoveryFile {
		return fmt.Errorf("custodian: %s would have %d bytes, at most %d are kept in one file", p.path, len(data), MaxRecoveryFile)
	}
	return writeFile(p.path, data)
}

// verify opens the share as it now lies in the file.
func (p *phrase) verify(ref genesis.ShareRef, key [seal.KeySize]byte, share []byte) error {
	b, err := p.find(ref)
	if err != nil {
		return fmt.Errorf("custodian: read the share back: %w", err)
	}
	payload, err := b.open(key)
	if err != nil {
		return fmt.Errorf("custodian: read the share back: %w", err)
	}
	defer secmem.Wipe(payload.Share)
	if subtle.ConstantTimeCompare(payload.Share, share) != 1 {
		return fmt.Errorf("custodian: read the share back: %w: %s", ErrDamaged, p.path)
	}
	return nil
}

// Recall asks for the phrase, unless the share was just kept.
func (p *phrase) Recall(ctx context.Context, ref genesis.ShareRef) ([]byte, error) {
	b, err := p.find(ref)
	if err != nil {
		return nil, err
	}
	key, ok := p.recollect(ref, true)
	if !ok {
		if key, err = p.askKey(ctx, b); err != nil {
			return nil, err
		}
	}
	defer secmem.Wipe(key[:])
	payload, err := b.open(key)
	if err != nil {
		return nil, err
	}
	return payload.Share, nil
}

// askKey makes a sealed share's key of the phrase that the person types.
func (p *phrase) askKey(ctx context.Context, b *blob) (key [seal.KeySize]byte, err error) {
	secret, err := p.owner.recall(ctx)
	if err != nil {
		return key, err
	}
	defer secmem.Wipe(secret)
	return b.header.Cost.Stretch(secret, b.header.Salt), nil
}

// KeepRecords asks for the phrase, unless the share was kept in the ceremony that still goes on.
func (p *phrase) KeepRecords(ctx context.Context, ref genesis.ShareRef, records [][]byte) error {
	if len(records) > MaxRecords {
		return fmt.Errorf("custodian: %d records, at most %d are kept beside a share", len(records), MaxRecords)
	}
	b, err := p.find(ref)
	if err != nil {
		return err
	}
	key, ok := p.recollect(ref, false)
	if !ok {
		if key, err = p.askKey(ctx, b); err != nil {
			return err
		}
	}
	defer secmem.Wipe(key[:])
	payload, err := b.open(key)
	if err != nil {
		return err
	}
	defer secmem.Wipe(payload.Share)
	payload.Records = records
	sealed, err := sealBlob(rand.Reader, key, ref.Project, b.header, *payload)
	if err != nil {
		return err
	}
	if err := p.exchange(ref, sealed); err != nil {
		return err
	}
	return p.verify(ref, key, payload.Share)
}

// Records asks for the phrase once and returns the records beside every share that it opens.
func (p *phrase) Records(ctx context.Context) ([][]byte, error) {
	content, err := p.read()
	if err != nil {
		return nil, err
	}
	secret, err := p.owner.recall(ctx)
	if err != nil {
		return nil, err
	}
	defer secmem.Wipe(secret)
	var records [][]byte
	failure := ErrWrongPhrase
	for i := range content.Blobs {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("custodian: read root records: %w", err)
		}
		b := &content.Blobs[i]
		key := b.header.Cost.Stretch(secret, b.header.Salt)
		payload, err := b.open(key)
		secmem.Wipe(key[:])
		if err == nil {
			secmem.Wipe(payload.Share)
			records, failure = append(records, payload.Records...), nil
		}
	}
	return records, failure
}

// Holds reports whether a sealed share lies in the file.
func (p *phrase) Holds(_ context.Context, ref genesis.ShareRef) (bool, error) {
	_, err := p.find(ref)
	return there(err)
}

// Forget removes a share from the file.
func (p *phrase) Forget(ctx context.Context, ref genesis.ShareRef) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("custodian: forget a share: %w", err)
	}
	p.disremember(ref)
	rewriting.Lock()
	defer rewriting.Unlock()
	content, err := p.read()
	if errors.Is(err, genesis.ErrNoShare) {
		return nil
	}
	if err != nil {
		return err
	}
	at, there := content.find(ref)
	if !there {
		return nil
	}
	content.Blobs = slices.Delete(content.Blobs, at, at+1)
	if len(content.Blobs) == 0 {
		return removeFile(p.path)
	}
	return writeFile(p.path, content.encode())
}

func (p *phrase) read() (*recoveryFile, error) {
	data, err := readFile(p.path, MaxRecoveryFile)
	if err != nil {
		return nil, err
	}
	content, err := parseRecoveryFile(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, p.path)
	}
	return content, nil
}

// find returns the sealed share under ref. It fails with an error that wraps genesis.ErrNoShare.
func (p *phrase) find(ref genesis.ShareRef) (*blob, error) {
	content, err := p.read()
	if err != nil {
		return nil, err
	}
	if at, there := content.find(ref); there {
		return &content.Blobs[at], nil
	}
	refs := make([]genesis.ShareRef, len(content.Blobs))
	for i := range content.Blobs {
		refs[i] = content.Blobs[i].ref()
	}
	return nil, noShare(ref, refs)
}

// find returns the place of a sealed share, or where it would be inserted.
func (c *recoveryFile) find(ref genesis.ShareRef) (int, bool) {
	return slices.BinarySearchFunc(c.Blobs, ref, func(b blob, ref genesis.ShareRef) int {
		return compareRefs(b.ref(), ref)
	})
}

// remember holds the key of a share that was just kept.
func (p *phrase) remember(ref genesis.ShareRef, key [seal.KeySize]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fresh == nil {
		p.fresh = make(map[genesis.ShareRef]*freshKey)
	}
	p.fresh[ref] = &freshKey{key: secmem.New(bytes.Clone(key[:]))}
	secmem.Wipe(key[:])
}

// recollect returns a remembered key; for reading a share back it does so once, so that a drill asks the person.
func (p *phrase) recollect(ref genesis.ShareRef, reading bool) (key [seal.KeySize]byte, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held, ok := p.fresh[ref]
	if !ok || reading && held.read {
		return key, false
	}
	held.read = held.read || reading
	copy(key[:], held.key.Bytes())
	return key, true
}

func (p *phrase) disremember(ref genesis.ShareRef) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held, ok := p.fresh[ref]; ok {
		held.key.Wipe()
		delete(p.fresh, ref)
	}
}

// EndCeremony wipes the keys that were remembered.
func (p *phrase) EndCeremony() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, held := range p.fresh {
		held.key.Wipe()
	}
	p.fresh = nil
}
