package pivcard

import "bytes"

// Instructions.
const (
	insVerify       = 0x20
	insChange       = 0x24
	insResetRetry   = 0x2c
	insGenerate     = 0x47
	insAuthenticate = 0x87
	insSelect       = 0xa4
	insGetResponse  = 0xc0
	insGetData      = 0xcb
	insPutData      = 0xdb
	insMetadata     = 0xf7
	insSerial       = 0xf8
	insReset        = 0xfb
	insVersion      = 0xfd
	insSetKey       = 0xff
)

// Status words.
const (
	swOK            = 0x9000
	swTriesLeft     = 0x63c0 // and the number of tries
	swLength        = 0x6700
	swSecurity      = 0x6982
	swBlocked       = 0x6983
	swConditions    = 0x6985
	swWrongData     = 0x6a80
	swNotFound      = 0x6a82
	swFull          = 0x6a84
	swNoReference   = 0x6a88
	swUnknown       = 0x6d00
	swMore          = 0x6100
	largestObject   = 3052 // bytes
	classChaining   = 0x10
	longestResponse = 256
)

var application = []byte{0xa0, 0, 0, 3, 8} // of PIV

// Transmit answers one command APDU; nothing if the card is out of its reader.
func (c *Card) Transmit(apdu []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out {
		return nil
	}
	if len(apdu) < 4 {
		return status(swLength)
	}
	c.seen = append(c.seen, apdu[1])
	if c.broken != nil {
		if answer := c.broken(apdu[1]); answer != nil {
			return answer
		}
	}
	out := c.transmit(apdu)
	if c.out { // removed while it waited for a touch
		return nil
	}
	return out
}

func (c *Card) transmit(apdu []byte) []byte {
	class, ins, p1, p2 := apdu[0], apdu[1], apdu[2], apdu[3]
	var data []byte
	if len(apdu) > 5 { // short form: the length, the data and perhaps the length of the answer
		n := int(apdu[4])
		if len(apdu) < 5+n {
			return status(swLength)
		}
		data = apdu[5 : 5+n]
	}
	if ins == insGetResponse {
		return c.respond(c.answer, swOK)
	}
	c.answer = nil
	if ins != c.chained { // the rest of the other command never came
		c.chained, c.command = ins, nil
	}
	c.command = append(c.command, data...)
	if class&classChaining != 0 {
		return status(swOK)
	}
	data, c.command = c.command, nil
	return c.respond(c.execute(ins, p1, p2, data))
}

// respond cuts what is too long for one answer; the reader fetches the rest.
func (c *Card) respond(answer []byte, sw uint16) []byte {
	c.answer = nil
	if len(answer) > longestResponse {
		answer, c.answer = answer[:longestResponse], answer[longestResponse:]
		sw = swMore
		if len(c.answer) < longestResponse {
			sw |= uint16(len(c.answer))
		}
	}
	return append(bytes.Clone(answer), status(sw)...)
}

func status(sw uint16) []byte { return []byte{byte(sw >> 8), byte(sw)} }

func (c *Card) execute(ins, p1, p2 byte, data []byte) ([]byte, uint16) {
	if ins == insSelect {
		return c.selectApplication(p1, data)
	}
	if !c.selected {
		return nil, swUnknown
	}
	fresh := c.fresh
	c.fresh = false
	switch ins {
	case insVersion:
		return c.version[:], swOK
	case insSerial:
		return []byte{byte(c.serial >> 24), byte(c.serial >> 16), byte(c.serial >> 8), byte(c.serial)}, swOK
	case insVerify:
		return nil, c.verify(p2, data)
	case insChange:
		return nil, c.change(p2, data)
	case insResetRetry:
		return nil, c.unblock(data)
	case insReset:
		if c.pin.left > 0 || c.puk.left > 0 {
			return nil, swConditions
		}
		c.reset()
		c.selected = true
		return nil, swOK
	case insMetadata:
		return c.metadata(p2)
	case insSetKey:
		return nil, c.setManagementKey(data)
	case insGenerate:
		return c.generate(p2, data)
	case insAuthenticate:
		if p2 == slotManagement {
			return c.authenticateManagement(p1, data)
		}
		return c.useKey(p1, p2, data, fresh)
	case insGetData:
		return c.getData(data)
	case insPutData:
		return nil, c.putData(data)
	}
	return nil, swUnknown
}

func (c *Card) selectApplication(p1 byte, name []byte) ([]byte, uint16) {
	if p1 != 4 || !bytes.HasPrefix(name, application) {
		return nil, swNotFound
	}
	c.volatile = volatile{selected: true}
	return tlv(0x61, tlv(0x4f, []byte{0, 0, 0x10, 0, 1, 0}), tlv(0x79, tlv(0x4f, application))), swOK
}
