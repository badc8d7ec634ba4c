package identity

// Caps of this room's records, in bytes.
const (
	MaxDisplay      = 64       // display name, UTF-8 in normal form C
	MaxAttestation  = 8 << 10  // opaque attestation of either certificate
	MaxIdentityCert = 24 << 10 // whole signed certificate: key, attestation, own signature, revocation signature
	MaxDeviceCert   = 20 << 10 // whole signed certificate: keys, attestation, three signatures
)

// fingerprintWords is how many words of 11 bits a [Fingerprint] has.
const fingerprintWords = 6
