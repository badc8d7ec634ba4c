package coordinator

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/studio-whip/collab/identity"
)

// peer is what the coordinator knows of one device. All of it is guarded by the coordinator's lock.
//
//	away ── dial, or it dials ──▶ online ── it is of the roster ──▶ present: announced, rounds run
type peer struct {
	id      identity.DeviceID
	online  bool      // it has a connection
	since   time.Time // when it got it
	present bool      // online and of the roster, as OnPeer was told
	conn    uint64    // counts changes of present

	dialing  bool
	dialAt   time.Time // not before
	dialed   time.Time // when the last dial ended
	dialWait time.Duration
	tried    bool     // it was to be dialed before,
	addrs    []string // at these addresses; nil: none was known

	running  bool
	started  time.Time // of the round under way
	ended    time.Time // of the last round
	roundAt  time.Time // when the next one is due without a hint
	hinted   bool      // something is missing
	asked    bool      // somebody waits for a round
	pause    time.Duration
	failures time.Duration // pause after failed rounds; 0: the last one succeeded
	synced   bool          // a round has completed since it is present

	count   counts
	lastErr error // of the last round or dial, nil if it succeeded
}

// fresh begins with a device that is present from now on: a round is due.
func (p *peer) fresh(now time.Time) {
	p.roundAt, p.pause, p.failures = now, minPause, 0
	p.hinted, p.synced = false, false
}

// met notes that the device was admitted, which it learns at the same time. Of two such devices the one that is not
// first leaves it to the other to dial, for a moment.
func (p *peer) met(now time.Time, first bool) {
	if !first {
		p.dialAt = now.Add(jittered(firstBackoff))
	}
}

// lost notes the end of the connection, again for both.
func (p *peer) lost(now time.Time, first bool) {
	p.dialWait = grown(p.dialWait)
	if now.Sub(p.since) >= stable {
		p.dialWait = 0
	}
	wait := p.dialWait
	if !first {
		wait += firstBackoff
	}
	p.dialAt = now.Add(jittered(wait))
}

// dialFailed notes when to try again.
func (p *peer) dialFailed(now time.Time) {
	p.dialWait = grown(p.dialWait)
	p.dialAt = now.Add(jittered(p.dialWait))
}

// hurry brings forward what somebody waits for, whatever has failed before.
func (p *peer) hurry(now time.Time) {
	p.asked = p.present
	if soon := p.dialed.Add(firstBackoff); p.dialAt.After(soon) {
		p.dialAt = soon
	}
}

// due says when the next round may begin.
func (p *peer) due() time.Time {
	at := p.roundAt
	if p.hinted && p.failures == 0 {
		at = earlier(at, p.ended.Add(p.pause))
	}
	if p.asked {
		at = earlier(at, p.ended.Add(minPause))
	}
	if floor := p.ended.Add(minPause); floor.After(at) {
		return floor
	}
	return at
}

// roundEnded plans the next round.
func (p *peer) roundEnded(now time.Time, hinted, news bool, err error) {
	switch {
	case err != nil:
		p.failures = grown(p.failures)
		p.roundAt = now.Add(jittered(p.failures))
		return
	case hinted && !news:
		p.pause = min(2*p.pause, maxPause)
	default:
		p.pause = minPause
	}
	p.failures, p.synced = 0, true
	p.roundAt = now.Add(roundEvery - roundJitter + rand.N(2*roundJitter))
}

// learned takes in where a device can be reached. If it could not be dialed there before, it is dialed at once.
func (p *peer) learned(addrs []string, now time.Time) {
	if p.tried && len(addrs) > 0 && !slices.Equal(addrs, p.addrs) {
		p.dialWait, p.dialAt = 0, now
	}
}

// grown returns the pause after another failure.
func grown(wait time.Duration) time.Duration {
	return min(max(2*wait, firstBackoff), lastBackoff)
}

// jittered spreads a pause, so that devices that failed together do not try again together.
func jittered(wait time.Duration) time.Duration {
	if wait <= 0 {
		return 0
	}
	return wait + rand.N(wait/2)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
