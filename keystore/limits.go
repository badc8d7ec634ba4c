package keystore

// Caps in bytes. MaxSecret is what every operating system's keychain holds once the secret is in base64.
const (
	MaxSecret = 2000
	MaxName   = 200
)
