// Package boxkeys keeps the KEM keys of this device: what others seal to the device opens with one of them.
//
// A device has a first key, which its certificate names for good and which serves all its projects, and in each project those
// that followed there. Open them with [Open], get those of a project with [Keys.Project], and a private key with [Ring.Get].
// A new key comes of [Ring.Prepare], which keeps it before anybody is told of it; [Ring.Follow] says which key the others use;
// [Ring.Erase] ends one. Whose turn it is to be replaced or erased is for the caller to say.
//
// What is promised: a key is drawn by itself and follows from nothing that stays, so that nothing opens what was sealed to it once
// it is erased. A key is durable before Prepare returns it, and erased in the vault, and in what the vault keeps beside it, before
// Erase returns; an Erase that a crash cut short is finished by the next start. The first key goes when all projects on the device
// have erased it. Keys print as "[redacted]".
//
// What is not: a disk may keep the sealed bytes of a file that was replaced, for as long as it likes, and who also has the vault's key
// opens them; nor is anything known of backups of the vault that somebody makes.
//
// The package owns no goroutine. SPEC.md beside this file gives the records.
package boxkeys
