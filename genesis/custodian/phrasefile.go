package custodian

import (
	"fmt"
	"io"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/internal/secmem"
	"github.com/studio-whip/collab/internal/wire"
)

const (
	recoveryMagic = "clbr"
	phraseMagic   = "clbp"
)

// recoveryFile is the content of a Phrase custodian's file.
type recoveryFile struct {
	wire.Head
	Magic string   `cbor:"3,keyasint"`
	Blobs []blob   `cbor:"4,keyasint"`
	Check *wire.ID `cbor:"5,keyasint,omitempty"`
}

// blob is one sealed share. The project stands outside of the header, which is all that binds the ciphertext: a root
// record may carry header and ciphertext, and cannot name itself.
type blob struct {
	Project genesis.ProjectID `cbor:"1,keyasint"`
	Header  []byte            `cbor:"2,keyasint"`
	Sealed  []byte            `cbor:"3,keyasint"` // nonce and ciphertext of a phrasePayload; AAD is the header

	header phraseHeader
}

// phraseHeader says how to make the key of a phrase, and which share it opens.
type phraseHeader struct {
	wire.Head
	Magic    string              `cbor:"3,keyasint"`
	Cost     seal.Cost           `cbor:"4,keyasint"`
	Salt     [seal.SaltSize]byte `cbor:"5,keyasint"`
	Ceremony [16]byte            `cbor:"6,keyasint"`
	X        uint8               `cbor:"7,keyasint"`
}

// phrasePayload is what the phrase opens.
type phrasePayload struct {
	Share   []byte   `cbor:"1,keyasint"`
	Records [][]byte `cbor:"2,keyasint"` // signed root records, oldest first
}

func (b *blob) ref() genesis.ShareRef {
	return genesis.ShareRef{Project: b.Project, Ceremony: b.header.Ceremony, X: b.header.X}
}

// sealBlob seals a payload under a phrase's key.
func sealBlob(random io.Reader, key [seal.KeySize]byte, project genesis.ProjectID, h phraseHeader, p phrasePayload) (blob, error) {
	header := wire.Marshal(h)
	plain := wire.Marshal(p)
	defer secmem.Wipe(plain)
	sealed, err := seal.Random(random, key, header, plain)
	if err != nil {
		return blob{}, fmt.Errorf("custodian: seal a share: %w", err)
	}
	return blob{Project: project, Header: header, Sealed: sealed, header: h}, nil
}

// open returns the payload. It fails with [ErrWrongPhrase]; the file's checksum has shown that it is undamaged.
func (b *blob) open(key [seal.KeySize]byte) (*phrasePayload, error) {
	plain, err := seal.OpenRandom(key, b.Header, b.Sealed)
	if err != nil {
		return nil, ErrWrongPhrase
	}
	defer secmem.Wipe(plain)
	p := new(phrasePayload)
	if err := wire.Unmarshal(plain, p, MaxRecoveryFile); err != nil {
		secmem.Wipe(p.Share)
		return nil, fmt.Errorf("%w: what the phrase opens is no share", ErrDamaged)
	}
	if len(p.Share) == 0 || len(p.Share) > genesis.MaxShare || len(p.Records) > MaxRecords {
		secmem.Wipe(p.Share)
		return nil, fmt.Errorf("%w: what the phrase opens is no share", ErrDamaged)
	}
	return p, nil
}

// parseRecoveryFile reads a file's content: caps, order, and the bounds of every cost, before anybody is asked and
// any memory is taken for it. It fails with [ErrDamaged], which may wrap [seal.ErrCost] or [wire.ErrVersion] too.
func parseRecoveryFile(data []byte) (*recoveryFile, error) {
	c := new(recoveryFile)
	if err := wire.Unmarshal(data, c, MaxRecoveryFile); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := c.Head.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if c.Magic != recoveryMagic || len(c.Blobs) > MaxBlobs {
		return nil, ErrDamaged
	}
	if c.Check == nil || *c.Check != c.checksum() {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	for i := range c.Blobs {
		if err := c.Blobs[i].parseHeader(); err != nil {
			return nil, fmt.Errorf("%w: sealed share %d: %w", ErrDamaged, i+1, err)
		}
		if i > 0 && compareRefs(c.Blobs[i-1].ref(), c.Blobs[i].ref()) >= 0 {
			return nil, fmt.Errorf("%w: sealed shares are not sorted", ErrDamaged)
		}
	}
	return c, nil
}

func (b *blob) parseHeader() error {
	if err := wire.Unmarshal(b.Header, &b.header, MaxHeader); err != nil {
		return err
	}
	if err := b.header.Head.Check(); err != nil {
		return err
	}
	if b.header.Magic != phraseMagic || b.header.X == 0 {
		return wire.ErrMalformed
	}
	return b.header.Cost.Check()
}

// encode completes the content with its checksum.
func (c *recoveryFile) encode() []byte {
	c.Head, c.Magic = wire.NewHead(), recoveryMagic
	sum := c.checksum()
	c.Check = &sum
	return wire.Marshal(c)
}

// checksum is over the content without it: against damage, not against forgers.
func (c *recoveryFile) checksum() wire.ID {
	bare := *c
	bare.Check = nil
	return derive.ID("recovery-file-check", wire.Marshal(&bare))
}
