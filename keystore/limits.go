package keystore

// Caps in bytes. MaxSecret is what every operating system's keychain holds once the secret is in base64; MaxTokenSealed
// fits, within a certificate, into one object of a PIV token, which has about 3000.
const (
	MaxSecret      = 2000
	MaxName        = 200
	MaxTokenSecret = 1024 // sealed to a token
	MaxTokenSealed = MaxTokenSecret + sealOverhead + 64
)
