// Package identity is who people and their devices are: keys, the certificates that bind them to names, and the
// identifiers derived from them.
//
// A person has one identity key, made of a 32-byte [Seed] by [NewIdentityKey]; it signs certificates and nothing
// else. Each device has keys of its own, made of its own seed by [NewDeviceKeys]; they never leave the device. What is sealed to
// a device opens with a KEM key, which is made of nothing else, so that it can be erased. A
// revocation key of another algorithm family ([NewRevocationKey]) is kept on paper; the identity certificate
// commits to it from the first day.
//
// Make certificates with [NewIdentityCert] and [NewDeviceCert], read received ones with [ParseIdentityCert] and
// [ParseDeviceCert]. A parsed certificate is well formed, within its caps, free of unusable keys, and carries the
// signatures of the keys that it names. Whether those keys belong to the member it speaks of is a second question:
// [DeviceCert.VerifyIdentity] and [IdentityCert.VerifySuccessor] answer it.
//
// The package is pure: it owns no goroutine, clock or network, and randomness comes in as an [io.Reader]. Secrets
// print as "[redacted]" under every verb. SPEC.md beside this file gives the wire form.
package identity
