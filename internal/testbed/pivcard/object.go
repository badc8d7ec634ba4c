package pivcard

import "bytes"

// objectPrinted is Printed Information, where programs keep the management key under the PIN.
const objectPrinted = "\x5f\xc1\x09"

// guarded are the objects that need the PIN: SP 800-73-4 part 1, table 2.
var guarded = map[string]bool{
	objectPrinted: true, "\x5f\xc1\x08": true, "\x5f\xc1\x03": true, "\x5f\xc1\x21": true,
}

func (c *Card) getData(data []byte) ([]byte, uint16) {
	tag, ok := find(data, 0x5c)
	if !ok {
		return nil, swWrongData
	}
	if guarded[string(tag)] && !c.verified {
		return nil, swSecurity
	}
	value, ok := c.objects[string(tag)]
	if !ok {
		return nil, swNotFound
	}
	return tlv(0x53, value), swOK
}

func (c *Card) putData(data []byte) uint16 {
	if !c.managed {
		return swSecurity
	}
	tag, isTag := find(data, 0x5c)
	value, isValue := find(data, 0x53)
	switch {
	case !isTag || !isValue:
		return swWrongData
	case len(value) > largestObject:
		return swFull
	case len(value) == 0:
		delete(c.objects, string(tag))
	default:
		c.objects[string(tag)] = bytes.Clone(value)
	}
	return swOK
}
