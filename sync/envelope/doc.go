// Package envelope is how content travels: each envelope holds what one writer did at once, sealed under a key of its
// project, linked to the envelope before it and signed by its device.
//
// A writer keeps one [Chain] and makes its envelopes with [Chain.Introduce] and [Chain.Next]. A reader takes one apart
// with [Parse], places it with [Follows], checks it with [Envelope.Verify] and reads it with [Envelope.Open]; or takes
// up to 256 consecutive ones under a single signature with [DecodeRun] and [Run.Verify], or [ParseRun]. [EncodeRun]
// makes such a run of what a store kept by [Envelope.Stored]. What is not kept at all, presence and messages, travels
// as an [Ephemeral].
//
// What is promised: an envelope that verifies was signed by that device key; one that opens says what its author
// sealed, for that document, at that place of that chain and under that epoch; a signature attests all envelopes
// before it in its chain. What is not: that its author may write, that its governance heads or its epoch are right or
// that its chain is not forked elsewhere. Those are questions to the State, asked by the journal.
//
// The package owns no goroutine, clock or store; randomness comes in as a parameter. The wire form is in SPEC.md.
package envelope
