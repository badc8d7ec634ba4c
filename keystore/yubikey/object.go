package yubikey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore"
)

// extension marks the certificates of this package. 2.25 is the arc of numbers that need no registration.
var extension = asn1.ObjectIdentifier{2, 25, 1129270338}

const recordMagic = "clbo"

// record is what a certificate on the token carries. In slot 9d it has a key, once that is made; elsewhere a name and a
// sealed secret, or nothing if the place is free again.
type record struct {
	wire.Head
	Magic  string `cbor:"3,keyasint"`
	Key    []byte `cbor:"4,keyasint,omitempty"` // see keystore.TokenKey
	Name   string `cbor:"5,keyasint,omitempty"`
	Sealed []byte `cbor:"6,keyasint,omitempty"`
}

// errForeign means that a certificate is not one of this package.
var errForeign = errors.New("yubikey: another program's certificate")

// certificate wraps a record into a certificate, the only thing that piv-go stores. Its signature, by a key that is
// forgotten at once, proves nothing.
func (r record) certificate() (*x509.Certificate, error) {
	r.Head, r.Magic = wire.NewHead(), recordMagic
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("yubikey: certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:    big.NewInt(1),
		Subject:         pkix.Name{CommonName: "collab"},
		NotBefore:       time.Unix(0, 0),
		NotAfter:        time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280: it does not end
		ExtraExtensions: []pkix.Extension{{Id: extension, Value: wire.Marshal(r)}},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("yubikey: certificate: %w", err)
	}
	if len(raw) > maxObject {
		return nil, fmt.Errorf("%w: certificate of %d bytes, a token takes %d", keystore.ErrTooBig, len(raw), maxObject)
	}
	return x509.ParseCertificate(raw)
}

// parseCertificate reads a record. It fails with errForeign, [keystore.ErrDamaged] or [wire.ErrVersion].
func parseCertificate(cert *x509.Certificate) (record, error) {
	for _, e := range cert.Extensions {
		if e.Id.Equal(extension) {
			return parseRecord(e.Value)
		}
	}
	return record{}, errForeign
}

func parseRecord(raw []byte) (r record, err error) {
	if err := wire.Unmarshal(raw, &r, maxRecord); err != nil {
		return record{}, fmt.Errorf("%w: what the token carries: %w", keystore.ErrDamaged, err)
	}
	if err := r.Check(); err != nil {
		return record{}, fmt.Errorf("yubikey: what the token carries: %w", err)
	}
	if err := r.check(); err != nil {
		return record{}, err
	}
	return r, nil
}

func (r *record) check() error {
	if r.Magic != recordMagic {
		return fmt.Errorf("%w: what the token carries is of another kind", keystore.ErrDamaged)
	}
	if r.Key != nil {
		if r.Name != "" || r.Sealed != nil {
			return fmt.Errorf("%w: what the token carries is both a key and a secret", keystore.ErrDamaged)
		}
		_, err := keystore.ParseTokenKey(r.Key)
		return err
	}
	if r.Name == "" && r.Sealed == nil {
		return nil
	}
	if err := keystore.CheckName(r.Name); err != nil {
		return fmt.Errorf("%w: what the token carries: %w", keystore.ErrDamaged, err)
	}
	_, err := keystore.SealedTo(r.Sealed)
	return err
}
