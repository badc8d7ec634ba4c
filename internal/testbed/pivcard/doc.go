// Package pivcard is a PIV card in software, for tests: as much of a YubiKey as the PIV application of SP 800-73-4 and
// Yubico's extensions to it that package keystore/yubikey needs. [Card.Transmit] answers command APDUs. [Start] puts two
// cards into the readers of a real pcscd, through the virtual reader driver of the vsmartcard project.
//
// The card follows the standard and what piv-go expects, not a device that was taken apart: it cannot reveal what real
// hardware does otherwise. It has no RSA, no import of keys and no attestation.
package pivcard
