// Package secretservice runs a real Secret Service (gnome-keyring) on a private bus for a test. Nothing of the
// machine's own keychain is touched.
package secretservice
