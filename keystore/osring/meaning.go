package osring

import "github.com/studio-whip/collab/keystore"

// securityExit says what an exit code of macOS's security(1) means: the lowest byte of Security framework's result.
func securityExit(code int) error {
	switch code {
	case 44: // errSecItemNotFound, -25300
		return keystore.ErrNotFound
	case 36: // errSecInteractionNotAllowed, -25308: the keychain is locked and nobody can be asked
		return keystore.ErrLocked
	case 51, 128: // errSecAuthFailed, -25293; userCanceledErr, -128
		return keystore.ErrDenied
	}
	return keystore.ErrUnavailable
}

// credentialError says what a system error of Windows' Credential Manager means.
func credentialError(number uintptr) error {
	switch number {
	case 1168: // ERROR_NOT_FOUND
		return keystore.ErrNotFound
	case 5: // ERROR_ACCESS_DENIED
		return keystore.ErrDenied
	}
	return keystore.ErrUnavailable // 1312, ERROR_NO_SUCH_LOGON_SESSION: a session without credentials, such as a service's
}
