package pivcard

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"slices"
	"sync"
)

// What a new card is set to.
const (
	FactoryPIN = "123456"
	FactoryPUK = "12345678"
	factoryKey = "010203040506070801020304050607080102030405060708" // of management
	tries      = 3
)

// Card is a PIV card. Its fields and methods may be used while a reader talks to it.
type Card struct {
	serial  uint32
	version [3]byte

	mu      sync.Mutex
	out     bool // of the reader
	onTouch func(givenUp <-chan struct{}) bool
	givenUp chan struct{} // closed when the card leaves the reader
	seen    []byte        // instructions, in order
	broken  func(ins byte) []byte

	pin, puk      secretCode
	managementAlg byte
	management    []byte
	keys          map[byte]*slot
	objects       map[string][]byte

	volatile
}

// secretCode is a PIN or PUK with its counter.
type secretCode struct {
	padded []byte
	left   int
}

// slot holds a key pair.
type slot struct {
	algorithm, pinPolicy, touchPolicy byte
	private                           *ecdh.PrivateKey
}

// volatile is what the card forgets without power.
type volatile struct {
	selected bool
	verified bool // the PIN, since SELECT
	fresh    bool // the PIN, by the command just before
	managed  bool // the management key, since SELECT
	witness  []byte
	chained  byte   // instruction of the command that is collected by chaining
	command  []byte // what came of it
	answer   []byte // not fetched yet
}

// New returns a card as a YubiKey with firmware 5.7.1 leaves the factory.
func New(serial uint32) *Card { return NewVersion(serial, [3]byte{5, 7, 1}) }

// NewVersion is [New] with another firmware. Before 5.7 the management key is one of triple DES.
func NewVersion(serial uint32, firmware [3]byte) *Card {
	c := &Card{serial: serial, version: firmware, givenUp: make(chan struct{})}
	c.reset()
	return c
}

func (c *Card) reset() {
	c.pin, c.puk = secretCode{pad(FactoryPIN), tries}, secretCode{pad(FactoryPUK), tries}
	c.managementAlg = c.factoryAlgorithm()
	c.management, _ = hex.DecodeString(factoryKey)
	c.keys, c.objects = map[byte]*slot{}, map[string][]byte{}
	c.volatile = volatile{}
}

func pad(code string) []byte {
	return append([]byte(code), bytes.Repeat([]byte{0xff}, 8)...)[:8]
}

// Personalize sets PIN and PUK, as an owner does with a new card.
func (c *Card) Personalize(pin, puk string) {
	c.set(func() { c.pin, c.puk = secretCode{pad(pin), tries}, secretCode{pad(puk), tries} })
}

// gone is what happens to a card that is taken out of its reader; who waits for a touch gives up.
func (c *Card) gone() {
	c.set(func() {
		if !c.out {
			c.out, c.volatile = true, volatile{}
			close(c.givenUp)
		}
	})
}

// in is what happens to a card that is put into a reader.
func (c *Card) in() {
	c.set(func() {
		if c.out {
			c.out, c.givenUp = false, make(chan struct{})
		}
	})
}

// OnTouch makes fn the person who is asked to touch the card; the channel closes if the card is removed meanwhile. nil
// touches at once.
func (c *Card) OnTouch(fn func(givenUp <-chan struct{}) bool) { c.set(func() { c.onTouch = fn }) }

// Break makes fn answer in the card's place to the instructions for which it returns something. nil mends the card.
func (c *Card) Break(fn func(ins byte) []byte) { c.set(func() { c.broken = fn }) }

// Unblock gives back all tries of the PIN, as its owner does with the PUK.
func (c *Card) Unblock() { c.set(func() { c.pin.left = tries }) }

// ManagementKey returns a copy of the card's management key.
func (c *Card) ManagementKey() (key []byte) {
	c.set(func() { key = bytes.Clone(c.management) })
	return key
}

// SetManagementKey does what a program does that replaces the management key by one of the same size, and the copy of it
// that the PIN guards.
func (c *Card) SetManagementKey(key []byte) {
	c.set(func() {
		c.management = bytes.Clone(key)
		c.objects[objectPrinted] = tlv(0x88, tlv(0x89, key))
	})
}

// Object and SetObject read and write a data object, such as "\x5f\xc1\x0b", past the card's access rules.
func (c *Card) Object(tag string) (value []byte) {
	c.set(func() { value = bytes.Clone(c.objects[tag]) })
	return value
}

// SetObject is explained at Object; nil takes the object away.
func (c *Card) SetObject(tag string, value []byte) {
	c.set(func() {
		if value == nil {
			delete(c.objects, tag)
			return
		}
		c.objects[tag] = bytes.Clone(value)
	})
}

// Seen returns the instructions that the card got, in order, and forgets them.
func (c *Card) Seen() (instructions []byte) {
	c.set(func() { instructions, c.seen = slices.Clone(c.seen), nil })
	return instructions
}

// Tries tells how many tries of PIN and PUK are left.
func (c *Card) Tries() (pin, puk int) {
	c.set(func() { pin, puk = c.pin.left, c.puk.left })
	return pin, puk
}

func (c *Card) set(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn()
}

// power switches the card on or off; both make it forget what is volatile.
func (c *Card) power() { c.set(func() { c.volatile = volatile{} }) }

// atr is the answer to reset of a YubiKey 5; its TD1 announces T=1, which piv-go demands. A reader without a card gets
// none.
func (c *Card) atr() (atr []byte) {
	c.set(func() {
		if !c.out {
			atr, _ = hex.DecodeString("3bfd1300008131fe158073c021c057597562694b657940")
		}
	})
	return atr
}
