package invite

import (
	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/crypto/seal"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/internal/words"
)

// transcript is what both sides have said so far, as one hash, and the key that they share once M1 is through.
type transcript struct {
	th wire.ID
	k1 [32]byte
}

// codeHash stands for the code in the transcript. A host computes it from the event that announced the invite.
func codeHash(project genesis.ProjectID, rootVersion uint32, root genesis.RootID, invite [16]byte, hosts []Host, mac [32]byte) wire.ID {
	list := make([]any, len(hosts))
	for i, h := range hosts {
		list[i] = []any{h.Device, h.Peer, h.KemID}
	}
	return derive.ListID("code", project, rootVersion, root, invite, list, mac)
}

// newTranscript starts at th0.
func newTranscript(code wire.ID, exporter [32]byte, joiner, host identity.DeviceID) *transcript {
	return &transcript{th: derive.ListID("invite-th", code, exporter, joiner, host)}
}

// absorb adds a message as it was sent.
func (t *transcript) absorb(msg []byte) { t.th = derive.ListID("invite-th", t.th, msg) }

// m1Info is the purpose under which the session key is sealed: th0, so that M1 opens on its own channel only.
func (t *transcript) m1Info() []byte { return append(derive.Domain("invite-m1"), t.th[:]...) }

// share makes the key of both sides from the session key and s_mac, at th0.
func (t *transcript) share(session, mac [32]byte, m1WithoutMAC []byte) {
	ikm := append(append(make([]byte, 0, 64), session[:]...), mac[:]...)
	defer clear(ikm)
	salt := derive.ListID("invite-th", t.th, m1WithoutMAC)
	t.k1 = derive.Key(ikm, salt[:], "invite-k1")
}

func (t *transcript) key(label string) [32]byte { return derive.Key(t.k1[:], nil, label) }

// mac is the MAC that a message carries in itself.
func (t *transcript) mac(label string, msg []byte) [32]byte { return hmac256(t.key(label), msg) }

// seal encrypts and absorbs a message. Its key is used once, hence the nonce of zero.
func (t *transcript) seal(label string, msg []byte) []byte {
	ct := seal.Seal(t.key(label), [seal.NonceSize]byte{}, t.th[:], msg)
	t.absorb(ct)
	return ct
}

// open decrypts a message and absorbs it, if it opens. It fails with [seal.ErrOpen].
func (t *transcript) open(label string, ct []byte) ([]byte, error) {
	msg, err := seal.Open(t.key(label), [seal.NonceSize]byte{}, t.th[:], ct)
	if err == nil {
		t.absorb(ct)
	}
	return msg, err
}

// words are what two people compare, at th3.
func (t *transcript) words() []string {
	return words.Fingerprint(derive.ID("invite-sas", t.th[:]), sasWords)
}

func (t *transcript) wipe() { clear(t.k1[:]) }

// confirmation is what M5 holds, at th4.
func (t *transcript) confirmation() [32]byte { return t.mac("mac5", t.th[:]) }
