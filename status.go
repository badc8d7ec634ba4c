package collab

import (
	"fmt"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/p2p"
)

// Status says how the session stands. Once it has ended, Err is [ErrClosed], [ErrRevoked] or [ErrLeft].
func (s *Session) Status() Status {
	st := Status{Held: s.journal.Held(), Pending: s.files.Pending(), Root: s.membership.Root().ID}
	if st.Err = s.alive(); st.Err != nil {
		return st
	}
	for _, p := range s.coordinator.Peers() {
		switch pathOf(p.Path) {
		case PathDirect:
			st.Direct++
		case PathRelay:
			st.Relayed++
		}
	}
	st.Peers = st.Direct + st.Relayed
	st.Synced, st.Err = s.coordinator.Status()
	if err := s.store.Err(); err != nil {
		st.Err = wrap("save", err)
	}
	return st
}

// statusChanged tells of the status if it is another one than was told before.
func (s *Session) statusChanged() {
	s.telling.Lock()
	defer s.telling.Unlock()
	now := s.Status()
	if now.equal(s.told) {
		return
	}
	s.told = now
	s.events.Send(StatusChanged{Status: now})
}

// equal compares errors by what they say: values of some types cannot be compared.
func (s Status) equal(o Status) bool {
	if fmt.Sprint(s.Err) != fmt.Sprint(o.Err) {
		return false
	}
	s.Err, o.Err = nil, nil
	s.Pending, o.Pending = 0, 0
	return s == o
}

// What the coordinator and the host report of peers.

func (s *Session) peerChanged(device identity.DeviceID, online bool) {
	if d, ok := s.membership.State().Device(device); ok {
		change := PeerChanged{Who: d.Member, Online: online}
		if online {
			change.Path = s.path(device)
		}
		s.events.Send(change)
	}
	s.statusChanged()
}

// pathChanged says that a device that is connected is reached in another way.
func (s *Session) pathChanged(device identity.DeviceID) {
	if s.coordinator == nil { // it was opened to be read only
		return
	}
	for _, p := range s.coordinator.Peers() {
		if p.Device == device && p.Online {
			s.peerChanged(device, true)
		}
	}
}

// storeStopped is told once, from the store's own goroutine, which may be before the session has come up.
func (s *Session) storeStopped(err error) {
	s.storeFailed(wrap("save", err))
	if s.started.Load() {
		s.statusChanged()
	}
}

func (s *Session) roundEnded(_ identity.DeviceID, err error) {
	if err != nil {
		s.troubles.note(s.node.cfg.now(), "round", err)
	}
	s.statusChanged()
}

// path says how a device is reached now.
func (s *Session) path(device identity.DeviceID) Path {
	for _, p := range s.node.host.Connected() {
		if p.Device == device && p.Class == p2p.Member {
			return pathOf(p.Path)
		}
	}
	return PathNone
}

func pathOf(p p2p.Path) Path {
	switch p {
	case "":
		return PathNone
	case p2p.PathRelay:
		return PathRelay
	}
	return PathDirect
}
