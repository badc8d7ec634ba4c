package pivcard

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"net"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// send sends a command in hex and compares the answer's status word; it returns what comes before that.
func send(t *testing.T, c *Card, command string, want uint16) []byte {
	t.Helper()
	apdu, err := hex.DecodeString(command)
	if err != nil {
		t.Fatal(err)
	}
	return sendBytes(t, c, apdu, want)
}

func sendBytes(t *testing.T, c *Card, apdu []byte, want uint16) []byte {
	t.Helper()
	answer := c.Transmit(apdu)
	if len(answer) < 2 {
		t.Fatalf("%x: answer of %d bytes", apdu, len(answer))
	}
	body, sw := answer[:len(answer)-2], answer[len(answer)-2:]
	if !bytes.Equal(sw, status(want)) {
		t.Fatalf("%x: status %x; want %04x", apdu, sw, want)
	}
	return body
}

// apdu is a command in one part.
func apdu(class, ins, p1, p2 byte, data ...[]byte) []byte {
	joined := bytes.Join(data, nil)
	return append([]byte{class, ins, p1, p2, byte(len(joined))}, joined...)
}

const (
	selectPIV = "00a4040005a000000308"
	rightPIN  = "0020008008313233343536ffff"
	wrongPIN  = "0020008008303030303030ffff"
	askTries  = "0020008000"
)

func TestIdentification(t *testing.T) {
	c := New(4242)
	send(t, c, "00fd000000", swUnknown) // nothing before SELECT
	send(t, c, "00a4040005a000000309", swNotFound)
	send(t, c, selectPIV, swOK)
	if got := send(t, c, "00fd000000", swOK); !bytes.Equal(got, []byte{5, 7, 1}) {
		t.Errorf("version %x", got)
	}
	if got := send(t, c, "00f8000000", swOK); !bytes.Equal(got, []byte{0, 0, 0x10, 0x92}) {
		t.Errorf("serial number %x", got)
	}
	send(t, c, "00", swLength)
	send(t, c, "00200080ff00", swLength)
}

func TestPIN(t *testing.T) {
	c := New(1)
	send(t, c, selectPIV, swOK)
	send(t, c, askTries, swTriesLeft|3)
	send(t, c, wrongPIN, swTriesLeft|2)
	send(t, c, wrongPIN, swTriesLeft|1)
	send(t, c, rightPIN, swOK)
	send(t, c, askTries, swOK)
	send(t, c, selectPIV, swOK) // forgets it
	send(t, c, askTries, swTriesLeft|3)
	for range 2 {
		c.Transmit(unhex(wrongPIN))
	}
	send(t, c, wrongPIN, swBlocked)
	send(t, c, rightPIN, swBlocked)
	send(t, c, "00fb000000", swConditions)                                        // the PUK is not blocked
	send(t, c, "002c008010"+"3132333435363738"+"323731383238ffff", swOK)          // by the PUK
	send(t, c, "0020008008"+"323731383238ffff", swOK)                             // the new PIN
	send(t, c, "0024008010"+"323731383238ffff"+"313233343536ffff", swOK)          // changed back
	send(t, c, "0024008110"+"3030303030303030"+"3030303030303030", swTriesLeft|2) // wrong PUK
	send(t, c, "0024008210"+"3030303030303030"+"3030303030303030", swNoReference)
}

func unhex(s string) []byte {
	b, _ := hex.DecodeString(s)
	return b
}

// manage proves the management key.
func manage(t *testing.T, c *Card) {
	t.Helper()
	block, err := aes.NewCipher(unhex(factoryKey))
	if err != nil {
		t.Fatal(err)
	}
	answer := send(t, c, "00870a9b047c028000", swOK)
	witness := make([]byte, 16)
	block.Decrypt(witness, answer[4:20])
	challenge := make([]byte, 16)
	_, _ = rand.Read(challenge)
	both := tlv(0x7c, tlv(0x80, witness), tlv(0x81, challenge))
	answer = sendBytes(t, c, apdu(0, insAuthenticate, algAES192, slotManagement, both), swOK)
	expected := make([]byte, 16)
	block.Encrypt(expected, challenge)
	if !bytes.Equal(answer, tlv(0x7c, tlv(0x82, expected))) {
		t.Errorf("the card does not prove the management key: %x", answer)
	}
}

// Objects need the management key to be written; those behind the PIN need it to be read. Long ones travel in parts.
func TestObjects(t *testing.T) {
	c := New(1)
	send(t, c, selectPIV, swOK)
	long := bytes.Repeat([]byte{0xab}, 700)
	command := append([]byte{0x5c, 3, 0x5f, 0xc1, 0x0b}, tlv(0x53, long)...)
	send(t, c, "00db3fff095c035fc10b5302aabb", swSecurity)
	manage(t, c)
	sendBytes(t, c, apdu(classChaining, insPutData, 0x3f, 0xff, command[:255]), swOK)
	sendBytes(t, c, apdu(classChaining, insPutData, 0x3f, 0xff, command[255:510]), swOK)
	sendBytes(t, c, apdu(0, insPutData, 0x3f, 0xff, command[510:]), swOK)
	got := send(t, c, "00cb3fff055c035fc10b", swMore)
	got = append(got, send(t, c, "00c0000000", swMore|uint16(len(tlv(0x53, long))-512))...)
	got = append(got, send(t, c, "00c0000000", swOK)...)
	if !bytes.Equal(got, tlv(0x53, long)) {
		t.Errorf("read %d bytes back", len(got))
	}
	send(t, c, "00db3fff095c035fc1095302aabb", swOK)
	send(t, c, "00cb3fff055c035fc109", swSecurity)
	send(t, c, rightPIN, swOK)
	send(t, c, "00cb3fff055c035fc109", swOK)
	send(t, c, "00db3fff075c035fc1095300", swOK) // erased
	send(t, c, "00cb3fff055c035fc109", swNotFound)

	// A command that breaks off leaves nothing to the next.
	sendBytes(t, c, apdu(classChaining, insPutData, 0x3f, 0xff, command[:255]), swOK)
	send(t, c, selectPIV, swOK)
}

func TestKeyPolicies(t *testing.T) {
	c := New(1)
	send(t, c, selectPIV, swOK)
	send(t, c, "0047009d0bac09800111aa0103ab0102", swSecurity)
	manage(t, c)
	public := send(t, c, "0047009d0bac09800111aa0103ab0102", swOK)
	point, err := ecdh.P256().NewPublicKey(public[5:])
	if err != nil {
		t.Fatal(err)
	}
	own, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	agree := apdu(0, insAuthenticate, algP256, 0x9d, tlv(0x7c, tlv(0x82), tlv(0x85, own.PublicKey().Bytes())))
	sendBytes(t, c, agree, swSecurity)
	send(t, c, rightPIN, swOK)
	got := sendBytes(t, c, agree, swOK)
	want, err := own.ECDH(point)
	if err != nil || !bytes.Equal(got, tlv(0x7c, tlv(0x82, want))) {
		t.Errorf("agreed on %x; want %x, %v", got, want, err)
	}
	sendBytes(t, c, agree, swSecurity) // the PIN each time
	c.OnTouch(func(<-chan struct{}) bool { return false })
	send(t, c, rightPIN, swOK)
	sendBytes(t, c, agree, swSecurity)
	if got := send(t, c, "00f7009d00", swOK); !bytes.Contains(got, point.Bytes()) || !bytes.Contains(got, []byte{2, 2, 3, 2}) {
		t.Errorf("metadata %x", got)
	}
	send(t, c, "00f7009c00", swNoReference)
}

func TestOutOfTheReader(t *testing.T) {
	c := New(1)
	send(t, c, selectPIV, swOK)
	c.gone()
	if c.Transmit(unhex(selectPIV)) != nil || c.atr() != nil {
		t.Error("a card that is gone answers")
	}
	c.in()
	send(t, c, "00fd000000", swUnknown)
}

// The virtual reader's protocol, without the reader.
func TestServe(t *testing.T) {
	c := New(1)
	reader, card := net.Pipe()
	ended := make(chan error)
	go func() { ended <- c.serve(t.Context(), card) }()
	exchange := func(message []byte) []byte {
		t.Helper()
		if _, err := reader.Write(append([]byte{0, byte(len(message))}, message...)); err != nil {
			t.Fatal(err)
		}
		answer, err := receive(reader)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	if atr := exchange([]byte{readerATR}); !bytes.Contains(atr, []byte("YubiKe")) {
		t.Errorf("answer to reset %x", atr)
	}
	if got := exchange(unhex(selectPIV)); !bytes.HasSuffix(got, status(swOK)) {
		t.Errorf("SELECT: %x", got)
	}
	if _, err := reader.Write([]byte{0, 1, readerReset}); err != nil {
		t.Fatal(err)
	}
	if got := exchange(unhex("00fd000000")); !bytes.Equal(got, status(swUnknown)) {
		t.Errorf("after a reset: %x; the application must be selected anew", got)
	}
	c.gone()
	if _, err := reader.Write([]byte{0, 1, readerATR}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func FuzzTransmit(f *testing.F) {
	for _, command := range []string{selectPIV, rightPIN, "00cb3fff055c035fc10b", "0047009d0bac09800111aa0103ab0102", "00870a9b047c028000"} {
		f.Add(unhex(command), unhex(selectPIV))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		c := New(1)
		for _, command := range [][]byte{unhex(selectPIV), first, second} {
			if answer := c.Transmit(command); len(answer) < 2 || len(answer) > longestResponse+2 {
				t.Fatalf("%x: answer of %d bytes", command, len(answer))
			}
		}
	})
}
