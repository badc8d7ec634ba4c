package pivcard

import (
	"bytes"
	"crypto/subtle"
)

// References of codes.
const (
	refPIN = 0x80
	refPUK = 0x81
)

// try compares a code, at the cost of one try if it is wrong.
func (s *secretCode) try(code []byte) uint16 {
	switch {
	case s.left == 0:
		return swBlocked
	case len(code) != 8:
		return swWrongData
	case subtle.ConstantTimeCompare(code, s.padded) == 1:
		s.left = tries
		return swOK
	}
	s.left--
	if s.left == 0 {
		return swBlocked
	}
	return swTriesLeft | uint16(s.left)
}

// verify checks the PIN, or tells without one how many tries are left.
func (c *Card) verify(reference byte, code []byte) uint16 {
	switch {
	case reference != refPIN:
		return swNoReference
	case len(code) == 0 && c.verified:
		return swOK
	case len(code) == 0 && c.pin.left == 0:
		return swBlocked
	case len(code) == 0:
		return swTriesLeft | uint16(c.pin.left)
	}
	sw := c.pin.try(code)
	c.verified = sw == swOK
	c.fresh = c.verified
	return sw
}

// change replaces PIN or PUK by one that follows the old one.
func (c *Card) change(reference byte, codes []byte) uint16 {
	if len(codes) != 16 {
		return swWrongData
	}
	code := &c.pin
	switch reference {
	case refPIN:
	case refPUK:
		code = &c.puk
	default:
		return swNoReference
	}
	sw := code.try(codes[:8])
	if sw == swOK {
		code.padded = bytes.Clone(codes[8:])
	}
	return sw
}

// unblock sets a new PIN by the PUK.
func (c *Card) unblock(codes []byte) uint16 {
	if len(codes) != 16 {
		return swWrongData
	}
	sw := c.puk.try(codes[:8])
	if sw == swOK {
		c.pin = secretCode{bytes.Clone(codes[8:]), tries}
	}
	return sw
}
