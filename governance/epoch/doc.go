// Package epoch makes and opens the keys under which a project's content is sealed.
//
// Whoever may mint calls [Mint] for the devices live in a governance state; the object it returns goes into an event
// of kind KeyEpoch or into a removal. A device takes its key out of an object with [Open], and the keys of earlier
// epochs with [OpenPrevious]. Who lacks a box is given one by any holder of the key: [SealBox] and [OpenBox].
// [ContentKey] derives what content of one chain in one document is sealed with.
//
// What is promised: a key is drawn fresh, never derived from an older one, so who was removed learns nothing of it;
// every way to a key ends in the check of the commitment that the epoch's id covers, so two devices never hold
// different keys of one epoch. What is not: an epoch's key opens all content sealed under it and hands on the keys
// of earlier epochs; it is forgotten by nobody.
//
// The package is pure: randomness comes in as an [io.Reader]. Keys are wiped by their users. SPEC.md beside this
// file gives the wire form.
package epoch
