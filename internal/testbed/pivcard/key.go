package pivcard

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/subtle"
)

const slotManagement = 0x9b

// Algorithms of keys.
const (
	algTripleDES = 0x03
	algAES128    = 0x08
	algAES192    = 0x0a
	algAES256    = 0x0c
	algP256      = 0x11
	algP384      = 0x14
)

var managementSizes = map[byte]int{algTripleDES: 24, algAES128: 16, algAES192: 24, algAES256: 32}

// Policies of keys.
const (
	pinOnce    = 2
	pinAlways  = 3
	touchNever = 1
)

// managementCipher is the management key as its cipher.
func (c *Card) managementCipher() (cipher.Block, error) {
	if c.managementAlg == algTripleDES {
		return des.NewTripleDESCipher(c.management)
	}
	return aes.NewCipher(c.management)
}

// factoryAlgorithm is the algorithm of a new card's management key.
func (c *Card) factoryAlgorithm() byte {
	if bytes.Compare(c.version[:], []byte{5, 7, 0}) < 0 {
		return algTripleDES
	}
	return algAES192
}

// authenticateManagement proves the management key in both directions: the card asks the host to decrypt a witness,
// and encrypts the host's challenge.
func (c *Card) authenticateManagement(algorithm byte, data []byte) ([]byte, uint16) {
	block, err := c.managementCipher()
	template, ok := find(data, 0x7c)
	if err != nil || !ok || algorithm != c.managementAlg {
		return nil, swWrongData
	}
	size := block.BlockSize()
	answer := make([]byte, size)
	witness, has := find(template, 0x80)
	if has && len(witness) == 0 {
		c.witness = make([]byte, size)
		_, _ = rand.Read(c.witness)
		block.Encrypt(answer, c.witness)
		return tlv(0x7c, tlv(0x80, answer)), swOK
	}
	challenge, hasChallenge := find(template, 0x81)
	expected := c.witness
	c.witness = nil
	if expected == nil || !has || !hasChallenge || len(challenge) != size || subtle.ConstantTimeCompare(witness, expected) != 1 {
		return nil, swSecurity
	}
	c.managed = true
	block.Encrypt(answer, challenge)
	return tlv(0x7c, tlv(0x82, answer)), swOK
}

// setManagementKey takes algorithm, reference, length and key.
func (c *Card) setManagementKey(data []byte) uint16 {
	if !c.managed {
		return swSecurity
	}
	if len(data) < 3 || len(data) != 3+int(data[2]) || data[1] != slotManagement {
		return swWrongData
	}
	if size, ok := managementSizes[data[0]]; !ok || size != len(data)-3 {
		return swWrongData
	}
	c.managementAlg, c.management = data[0], bytes.Clone(data[3:])
	return swOK
}

func (c *Card) metadata(reference byte) ([]byte, uint16) {
	if reference == slotManagement {
		return append(tlv(1, []byte{c.managementAlg}), append(tlv(2, []byte{0, touchNever}), tlv(5, []byte{0})...)...), swOK
	}
	key := c.keys[reference]
	if key == nil {
		return nil, swNoReference
	}
	out := tlv(1, []byte{key.algorithm})
	out = append(out, tlv(2, []byte{key.pinPolicy, key.touchPolicy})...)
	out = append(out, tlv(3, []byte{1})...)
	return append(out, tlv(4, tlv(0x86, key.private.PublicKey().Bytes()))...), swOK
}

func (c *Card) generate(reference byte, data []byte) ([]byte, uint16) {
	if !c.managed {
		return nil, swSecurity
	}
	template, ok := find(data, 0xac)
	if !ok {
		return nil, swWrongData
	}
	key := &slot{pinPolicy: pinOnce, touchPolicy: touchNever}
	for tag, field := range map[byte]*byte{0x80: &key.algorithm, 0xaa: &key.pinPolicy, 0xab: &key.touchPolicy} {
		if v, ok := find(template, tag); ok && len(v) == 1 {
			*field = v[0]
		}
	}
	curve, ok := map[byte]ecdh.Curve{algP256: ecdh.P256(), algP384: ecdh.P384()}[key.algorithm]
	if !ok {
		return nil, swWrongData
	}
	var err error
	if key.private, err = curve.GenerateKey(rand.Reader); err != nil {
		return nil, swConditions
	}
	c.keys[reference] = key
	return append([]byte{0x7f}, tlv(0x49, tlv(0x86, key.private.PublicKey().Bytes()))...), swOK
}

// useKey agrees on a key with a peer's point, as the slot's policies allow; the answer is the x coordinate.
func (c *Card) useKey(algorithm, reference byte, data []byte, fresh bool) ([]byte, uint16) {
	key := c.keys[reference]
	if key == nil || key.algorithm != algorithm {
		return nil, swNoReference
	}
	template, ok := find(data, 0x7c)
	if !ok {
		return nil, swWrongData
	}
	if key.pinPolicy == pinOnce && !c.verified || key.pinPolicy == pinAlways && !fresh {
		return nil, swSecurity
	}
	if key.touchPolicy != touchNever && !c.touched() {
		return nil, swSecurity
	}
	point, ok := find(template, 0x85)
	if !ok {
		return nil, swWrongData
	}
	peer, err := key.private.Curve().NewPublicKey(point)
	if err != nil {
		return nil, swWrongData
	}
	shared, err := key.private.ECDH(peer)
	if err != nil {
		return nil, swWrongData
	}
	return tlv(0x7c, tlv(0x82, shared)), swOK
}

// touched waits for the person, who may take the card out meanwhile.
func (c *Card) touched() bool {
	touch, givenUp := c.onTouch, c.givenUp
	if touch == nil {
		return true
	}
	c.mu.Unlock()
	defer c.mu.Lock()
	return touch(givenUp)
}
