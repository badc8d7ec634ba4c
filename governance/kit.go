package governance

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/words"
)

// A revocation kit is a text for paper: a title, the member, the words of the revocation seed, and a self-revocation
// that is signed already, so that nothing has to be typed if the file is at hand.
const (
	kitTitle  = "collab revocation kit 1"
	kitMember = "member: "
	kitWords  = "words:  "
	kitRecord = "record: "
	kitNote   = "Whoever holds this page can end the identity for good, and nothing else. Keep it on paper, away from every device."
	maxKit    = 32 << 10
)

// ErrKit means that a text is no revocation kit, or is damaged: type the words instead, with [KitFromWords].
var ErrKit = errors.New("governance: not a revocation kit, or a damaged one")

// WriteKit writes the revocation kit of an identity. It signs the self-revocation, checks it as others will, and writes
// nothing if it would not be accepted. seed must be kept secret; forget it after the kit is on paper. It takes about a
// second.
func WriteKit(w io.Writer, seed identity.Seed, cert *identity.IdentityCert) error {
	r, err := revoke(seed, cert, nil)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n%s%s\n%s%s\n%s%s\n%s\n", kitTitle, kitMember, cert.Member(), kitWords,
		strings.Join(words.Encode(seed[:]), " "), kitRecord, base64.StdEncoding.EncodeToString(r.Raw), kitNote)
	if err != nil {
		return fmt.Errorf("governance: write revocation kit: %w", err)
	}
	return nil
}

// revoke signs the end of an identity with the key that a seed yields.
func revoke(seed identity.Seed, cert *identity.IdentityCert, since []LastGood) (*SelfRevoke, error) {
	defer seed.Wipe()
	key, err := identity.NewRevocationKey(seed)
	if err != nil {
		return nil, fmt.Errorf("governance: revocation kit: %w", err)
	}
	r, err := NewSelfRevoke(key, cert.Member(), since, nil)
	if err != nil {
		return nil, err
	}
	return r, r.Verify(cert)
}

// ReadKit returns the self-revocation in a kit that [WriteKit] wrote, for a [Carry] in each project. It fails with
// [ErrKit].
func ReadKit(r io.Reader) (*SelfRevoke, error) {
	lines := bufio.NewScanner(io.LimitReader(r, maxKit))
	lines.Buffer(nil, maxKit)
	titled := false
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		titled = titled || line == kitTitle
		text, ok := strings.CutPrefix(line, strings.TrimSpace(kitRecord))
		if !titled || !ok {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%w: the record is not readable", ErrKit)
		}
		record, err := ParseSelfRevoke(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKit, err)
		}
		return record, nil
	}
	return nil, fmt.Errorf("%w: no record in it", ErrKit)
}

// KitWords returns the line of words in a kit. They must be kept secret. It fails with [ErrKit].
func KitWords(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxKit))
	defer clear(text)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKit, err)
	}
	for line := range strings.Lines(string(text)) {
		if phrase, ok := strings.CutPrefix(strings.TrimSpace(line), strings.TrimSpace(kitWords)); ok {
			return strings.TrimSpace(phrase), nil
		}
	}
	return "", fmt.Errorf("%w: no words in it", ErrKit)
}

// KitFromWords signs the self-revocation anew from the words on the paper, for the identity of cert. since is as for
// [NewSelfRevoke]. It fails with [ErrKit] if they are not the words of its kit.
func KitFromWords(phrase string, cert *identity.IdentityCert, since ...LastGood) (*SelfRevoke, error) {
	seed, err := kitSeed(phrase)
	if err != nil {
		return nil, err
	}
	defer seed.Wipe()
	r, err := revoke(seed, cert, since)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKit, err)
	}
	return r, nil
}

// KitOwner returns the one of some identities whose kit has these words. It fails with [ErrKit] if it is none of them.
func KitOwner(phrase string, among []*identity.IdentityCert) (*identity.IdentityCert, error) {
	seed, err := kitSeed(phrase)
	if err != nil {
		return nil, err
	}
	defer seed.Wipe()
	key, err := identity.NewRevocationKey(seed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKit, err)
	}
	commit := identity.RevocationCommit(key.Public())
	for _, cert := range among {
		if cert.RevCommit == commit {
			return cert, nil
		}
	}
	return nil, fmt.Errorf("%w: the words are of nobody who is known here", ErrKit)
}

// kitSeed reads the words on the paper.
func kitSeed(phrase string) (seed identity.Seed, err error) {
	list, err := words.Parse(phrase)
	if err != nil {
		return seed, fmt.Errorf("%w: %w", ErrKit, err)
	}
	data, err := words.Decode(list)
	if err != nil {
		return seed, fmt.Errorf("%w: %w", ErrKit, err)
	}
	defer clear(data)
	if len(data) != len(seed) {
		return seed, fmt.Errorf("%w: %d words", ErrKit, len(list))
	}
	return identity.Seed(data), nil
}
