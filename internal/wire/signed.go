package wire

import "fmt"

// Signed is how a signed record travels: the array [core, signature, …]. The core's bytes are what is signed and
// hashed; how many signatures follow, and in which order, the record's specification says.
type Signed struct {
	Core []byte
	Sigs [][]byte
}

// MarshalCBOR returns the flat array.
func (s Signed) MarshalCBOR() ([]byte, error) {
	parts := make([][]byte, 0, 1+len(s.Sigs))
	return encMode.Marshal(append(append(parts, s.Core), s.Sigs...))
}

// UnmarshalCBOR reads the flat array. It is for [Unmarshal], which bounds and compares the input.
func (s *Signed) UnmarshalCBOR(data []byte) error {
	var parts [][]byte
	if err := decMode.Unmarshal(data, &parts); err != nil {
		return err
	}
	if len(parts) < 2 {
		return fmt.Errorf("%w: a signed record has a core and at least one signature", ErrMalformed)
	}
	s.Core, s.Sigs = parts[0], parts[1:]
	return nil
}
