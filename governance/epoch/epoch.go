package epoch

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/kem"
	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// KeySize is the size of an epoch's key in bytes.
const KeySize = 32

var (
	// ErrNoBox means that an epoch object holds no key for the device: ask a member for a box.
	ErrNoBox = errors.New("epoch: no key for this device; ask a member for a box")
	// ErrOpen means that a sealed key does not open with the device's key: ask another member for a box.
	ErrOpen = errors.New("epoch: sealed key does not open; ask another member for a box")
	// ErrCommit means that a key is not the one that the epoch's id commits to; it was not used.
	ErrCommit = errors.New("epoch: key is not the one that the epoch commits to")
	// ErrNoPrevious means that an epoch object hands on no earlier keys.
	ErrNoPrevious = errors.New("epoch: no earlier keys are handed on")
)

// ID names an epoch.
type ID = governance.EpochID

// Recipient is a device for which a key is sealed.
type Recipient struct {
	Device identity.DeviceID
	KEM    *kem.PublicKey
	Later  bool // it is of the roster, and gets its key only when it asks for a box
}

// IDKey is an epoch with its key, which must be kept secret; it prints as "[redacted]".
type IDKey struct {
	ID  ID
	Key [KeySize]byte
}

// String shows the epoch only.
func (k IDKey) String() string { return k.ID.Short() + " [redacted]" }

// GoString shows the epoch only.
func (k IDKey) GoString() string { return k.String() }

// Format shows the epoch only, whatever the verb.
func (k IDKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalJSON shows the epoch only.
func (k IDKey) MarshalJSON() ([]byte, error) { return []byte(`"` + k.String() + `"`), nil }

// Minted is a new epoch. Key must be kept secret.
type Minted struct {
	IDKey
	Object governance.KeyEpoch // goes into the event
	Blob   []byte              // boxes of the devices beyond [governance.MaxInlineBoxes], nil if there are none
}

// Mint draws a key for the devices in recipients and seals it to each but those that get it later. device and aseq are those of the event that
// will carry the object; recipients must be exactly the devices live after that event's own act, or the epoch will
// not count. prev are the earlier epochs whose keys it hands on, at most [governance.MaxPrevEpochs].
func Mint(random io.Reader, project genesis.ProjectID, device identity.DeviceID, aseq uint64, recipients []Recipient, prev []IDKey) (*Minted, error) {
	if len(prev) > governance.MaxPrevEpochs {
		return nil, fmt.Errorf("epoch: mint: %d earlier epochs, at most %d", len(prev), governance.MaxPrevEpochs)
	}
	prev = slices.Clone(prev)
	slices.SortFunc(prev, func(a, b IDKey) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	m := &Minted{}
	core := governance.EpochCore{Head: wire.NewHead(), Project: project, Device: device, Aseq: aseq, Roster: roster(recipients)}
	if _, err := io.ReadFull(random, m.Key[:]); err != nil {
		return nil, fmt.Errorf("epoch: mint: %w", err)
	}
	if _, err := io.ReadFull(random, core.Salt[:]); err != nil {
		return nil, fmt.Errorf("epoch: mint: %w", err)
	}
	for _, p := range prev {
		core.Prev = append(core.Prev, p.ID)
	}
	core.SecretCommit = commit(project, core.Salt, m.Key)
	m.Object.Core = wire.Marshal(core)
	m.ID = m.Object.ID()
	if err := m.handOn(random, prev); err != nil {
		return nil, fmt.Errorf("epoch: mint: %w", err)
	}
	if err := m.box(random, recipients); err != nil {
		return nil, fmt.Errorf("epoch: mint: %w", err)
	}
	return m, nil
}

func roster(recipients []Recipient) wire.ID {
	entries := make([]governance.RosterEntry, 0, len(recipients))
	for _, r := range recipients {
		entries = append(entries, governance.RosterEntry{Device: r.Device, KemID: identity.KemID(r.KEM)})
	}
	return governance.RosterHash(entries)
}

// commit is H("epoch-commit", project, salt, key).
func commit(project genesis.ProjectID, salt [16]byte, key [KeySize]byte) wire.ID {
	return derive.ListID("epoch-commit", project, salt, key)
}

// prevKey is one element of what an epoch hands on.
type prevKey struct {
	_   struct{} `cbor:",toarray"`
	ID  ID
	Key [KeySize]byte
}

// handOn seals the keys of earlier epochs under the new key.
func (m *Minted) handOn(random io.Reader, prev []IDKey) error {
	if len(prev) == 0 {
		return nil
	}
	list := make([]prevKey, 0, len(prev))
	for _, p := range prev {
		list = append(list, prevKey{ID: p.ID, Key: p.Key})
	}
	plain := wire.Marshal(list)
	defer clear(plain)
	sealed, err := seal.Random(random, prevSealKey(m.IDKey), m.ID[:], plain)
	m.Object.EncPrev = sealed
	return err
}

func prevSealKey(k IDKey) [seal.KeySize]byte { return derive.Key(k.Key[:], k.ID[:], "enc-prev") }

// box seals the key to each recipient: the first in ascending order of devices inline, the rest in the blob.
func (m *Minted) box(random io.Reader, recipients []Recipient) error {
	sorted := slices.Clone(recipients)
	slices.SortFunc(sorted, func(a, b Recipient) int { return bytes.Compare(a.Device[:], b.Device[:]) })
	boxes := make([]governance.EpochBox, 0, len(sorted))
	for _, r := range sorted {
		if r.Later {
			continue
		}
		b, err := sealTo(random, m.IDKey, r)
		if err != nil {
			return err
		}
		boxes = append(boxes, b)
	}
	inline := min(len(boxes), governance.MaxInlineBoxes)
	m.Object.Boxes = boxes[:inline]
	if inline == len(boxes) {
		return nil
	}
	m.Blob = wire.Marshal(boxes[inline:])
	if len(m.Blob) > governance.MaxBoxBlob {
		return fmt.Errorf("%w: keys for %d devices", wire.ErrTooLarge, len(boxes))
	}
	hash := blobHash(m.Blob)
	m.Object.BoxesHash = &hash
	return nil
}

func blobHash(blob []byte) wire.ID { return derive.ID("epoch-boxes", blob) }

// sealTo seals an epoch's key to one device.
func sealTo(random io.Reader, k IDKey, to Recipient) (governance.EpochBox, error) {
	kemID := identity.KemID(to.KEM)
	sealed, err := to.KEM.Seal(random, boxInfo(k.ID), boxAAD(to.Device, kemID), k.Key[:])
	return governance.EpochBox{Device: to.Device, KemID: kemID, Box: sealed}, err
}

func boxInfo(id ID) []byte { return append(derive.Domain("epoch"), id[:]...) }

func boxAAD(device identity.DeviceID, kemID wire.ID) []byte { return append(device[:], kemID[:]...) }

// Open takes the key out of an epoch object, for a device and its KEM key, and checks it against the epoch's
// commitment. It fails with [ErrNoBox], [ErrOpen], [ErrCommit], or an error of the object's core.
func Open(object *governance.KeyEpoch, device identity.DeviceID, key *kem.PrivateKey) ([KeySize]byte, error) {
	return openOneOf(object, object.Boxes, device, key)
}

// OpenBlob is [Open] for the blob of further boxes that an object names by its hash.
func OpenBlob(object *governance.KeyEpoch, blob []byte, device identity.DeviceID, key *kem.PrivateKey) ([KeySize]byte, error) {
	if object.BoxesHash == nil || blobHash(blob) != *object.BoxesHash {
		return [KeySize]byte{}, fmt.Errorf("epoch: %w: blob is not the one that the object names", wire.ErrMalformed)
	}
	var boxes []governance.EpochBox
	if err := wire.Unmarshal(blob, &boxes, governance.MaxBoxBlob); err != nil {
		return [KeySize]byte{}, fmt.Errorf("epoch: blob: %w", err)
	}
	return openOneOf(object, boxes, device, key)
}

func openOneOf(object *governance.KeyEpoch, boxes []governance.EpochBox, device identity.DeviceID, key *kem.PrivateKey) ([KeySize]byte, error) {
	kemID := identity.KemID(key.Public())
	k := slices.IndexFunc(boxes, func(b governance.EpochBox) bool { return b.Device == device && b.KemID == kemID })
	if k < 0 {
		return [KeySize]byte{}, ErrNoBox
	}
	return openBox(object, boxes[k], key)
}

func openBox(object *governance.KeyEpoch, b governance.EpochBox, key *kem.PrivateKey) (out [KeySize]byte, err error) {
	secret, err := key.Open(boxInfo(object.ID()), boxAAD(b.Device, b.KemID), b.Box)
	if err != nil || len(secret) != KeySize {
		return out, ErrOpen
	}
	defer clear(secret)
	copy(out[:], secret)
	if err := Check(object, out); err != nil {
		clear(out[:])
		return out, err
	}
	return out, nil
}

// Check verifies that key is the one that an epoch object commits to. It fails with [ErrCommit] or an error of the
// object's core.
func Check(object *governance.KeyEpoch, key [KeySize]byte) error {
	core, err := object.Decode()
	if err != nil {
		return fmt.Errorf("epoch: %w", err)
	}
	if want := commit(core.Project, core.Salt, key); subtle.ConstantTimeCompare(want[:], core.SecretCommit[:]) != 1 {
		return ErrCommit
	}
	return nil
}

// OpenPrevious returns the earlier epochs that an object hands on, with their keys, to who holds its own. Each key
// must still be checked against its own epoch's object with [Check]: the minter says what they are. It fails with
// [ErrNoPrevious], [ErrCommit] or [ErrOpen].
func OpenPrevious(object *governance.KeyEpoch, key [KeySize]byte) ([]IDKey, error) {
	if len(object.EncPrev) == 0 {
		return nil, ErrNoPrevious
	}
	if err := Check(object, key); err != nil {
		return nil, err
	}
	id := object.ID()
	plain, err := seal.OpenRandom(prevSealKey(IDKey{id, key}), id[:], object.EncPrev)
	if err != nil {
		return nil, fmt.Errorf("%w: earlier keys", ErrOpen)
	}
	defer clear(plain)
	var list []prevKey
	if err := wire.Unmarshal(plain, &list, maxPrevPlain); err != nil {
		return nil, fmt.Errorf("epoch: earlier keys: %w", err)
	}
	core, err := object.Decode()
	if err != nil {
		return nil, fmt.Errorf("epoch: %w", err)
	}
	out := make([]IDKey, 0, len(list))
	for _, p := range list {
		if !slices.Contains(core.Prev, p.ID) {
			return nil, fmt.Errorf("epoch: earlier keys: %w: epoch %s is not one that the core names", wire.ErrMalformed, p.ID.Short())
		}
		out = append(out, IDKey{p.ID, p.Key})
	}
	return out, nil
}

// SnapshotKey derives the key for the snapshots of one document that one device serves under an epoch.
func SnapshotKey(key [KeySize]byte, id ID, device identity.DeviceID, doc [16]byte) [KeySize]byte {
	return derive.Key(key[:], id[:], "snapshot", device, doc)
}

// ContentKey derives the key for what one chain writes into one document under an epoch.
func ContentKey(key [KeySize]byte, id ID, device identity.DeviceID, chainNo uint32, doc [16]byte) [KeySize]byte {
	return derive.Key(key[:], id[:], "content", device, chainNo, doc)
}
