package collab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"

	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/keystore"
)

// maxKit is the cap of a revocation kit in bytes.
const maxKit = 32 << 10

// WriteRevocationKit writes a page of text that can end this identity for good, and nothing else: 24 words for typing, and a
// record that is signed already. Print it and keep it away from every device. It is for the day on which a device or the
// identity is stolen: see [Node.RevokeIdentity].
//
// It reads the page back and checks it before it writes, and then forgets the key: there is one kit, and a second call fails
// with [ErrKitWritten]. If writing to w fails the key stays and the call can be made again. w must have kept what it took when its
// Write returns; a file is synced.
func (n *Node) WriteRevocationKit(ctx context.Context, w io.Writer) error {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	return n.wrap("write the revocation kit", n.home.writeKit(ctx, w, n.self.Identity))
}

func (h *home) writeKit(ctx context.Context, w io.Writer, cert *identity.IdentityCert) error {
	raw, err := h.vault.Get(ctx, vaultRevocation)
	switch {
	case errors.Is(err, keystore.ErrNotFound):
		return ErrKitWritten
	case err != nil:
		return err
	}
	defer clear(raw)
	var seed identity.Seed
	if len(raw) != len(seed) {
		return fmt.Errorf("%w: %s in the vault has %d bytes; restore the vault from a backup", ErrDamaged, vaultRevocation, len(raw))
	}
	copy(seed[:], raw)
	defer seed.Wipe()
	page := bytes.NewBuffer(make([]byte, 0, maxKit)) // in one place, so that it can be wiped
	defer func() { clear(page.Bytes()[:page.Cap()]) }()
	if err := governance.WriteKit(page, seed, cert); err != nil {
		return err
	}
	if err := rehearse(page.Bytes(), cert); err != nil {
		return err
	}
	switch n, err := w.Write(page.Bytes()); {
	case err != nil:
		return err
	case n < page.Len(): // the key would be gone, and part of the page
		return io.ErrShortWrite
	}
	if f, ok := w.(interface{ Sync() error }); ok {
		if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) { // a terminal has nothing to sync
			return err
		}
	}
	return h.vault.Delete(ctx, vaultRevocation)
}

// rehearse reads a kit as it will be read one day, by the record and by the words.
func rehearse(page []byte, cert *identity.IdentityCert) error {
	r, err := governance.ReadKit(bytes.NewReader(page))
	if err != nil {
		return err
	}
	phrase, err := governance.KitWords(bytes.NewReader(page))
	if err != nil {
		return err
	}
	_, err = governance.KitOwner(phrase, []*identity.IdentityCert{cert})
	return errors.Join(err, r.Verify(cert))
}

// RevocationOption changes what [Node.RevokeIdentity] says.
type RevocationOption func(*revocation)

type revocation struct{ lastGood []EventID }

// LastGood names, of each device that was stolen, the last event that its owner vouches for: what the device did after it counts for
// nothing, as far as no checkpoint has settled it, and neither does what it wrote after having done so. Look for it with
// [Session.Audit]. It needs the words of the kit. Without it what the devices did before the revocation stands.
func LastGood(events ...EventID) RevocationOption {
	return func(r *revocation) { r.lastGood = append(r.lastGood, events...) }
}

// RevokeIdentity ends an identity in every project of this node, by its revocation kit: the page, or the words alone. It cannot
// be undone, nobody's consent is needed, and the person comes back with a new identity only. Anybody may bring the kit: it
// ends whose it is, wherever that one is known to a project of this node; their devices are cut off, the keys are
// replaced, and what they wrote stays as far as it has arrived here.
//
// If it is the owner of this node, the sessions end with [ErrRevoked], each once another member has taken the news; a project in
// which nobody is reached goes on, and the error names it with [ErrUnreachable]: call again with the kit when somebody is there.
//
// It fails with [ErrKit] if it is no kit, or of nobody who is known here, and with governance.ErrUnknownEvent if no project here
// knows an event of [LastGood] as one of theirs; nothing has been done then. Otherwise it has been done in every project that the
// error does not name; doing it again is harmless.
func (n *Node) RevokeIdentity(ctx context.Context, kit io.Reader, opts ...RevocationOption) error {
	const doing = "end an identity"
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	var o revocation
	for _, opt := range opts {
		opt(&o)
	}
	text, err := io.ReadAll(io.LimitReader(kit, maxKit))
	defer clear(text)
	if err != nil {
		return n.wrap(doing, err)
	}
	sessions, giveBack, failed := n.everyProject(ctx)
	defer giveBack()
	who, sign, err := readKit(text, n.identities(sessions))
	if err != nil {
		return n.wrap(doing, errors.Join(err, failed))
	}
	if failed == nil { // else an event may be in the project that could not be opened
		if err := vouchable(sessions, who, o.lastGood); err != nil {
			return n.wrap(doing, err)
		}
	}
	for _, s := range sessions {
		if err := s.endIdentity(ctx, who, sign, o.lastGood); err != nil {
			failed = errors.Join(failed, fmt.Errorf("project %s: %w", s.ID().Short(), err))
		}
	}
	return n.wrap(doing, failed)
}

// vouchable fails if an event is of no device of an identity in any project: the revocation cannot be made again with the
// right one.
func vouchable(sessions []*Session, who MemberID, events []EventID) error {
	for _, id := range events {
		known := slices.ContainsFunc(sessions, func(s *Session) bool {
			good, _ := s.vouched(who, []EventID{id})
			return len(good) > 0
		})
		if !known {
			return fmt.Errorf("%w: %s, which is vouched for, as one of %s's; nothing was done", governance.ErrUnknownEvent, id.Short(), who.Short())
		}
	}
	return nil
}

// everyProject returns the sessions of this node's projects, less those that have ended. What it opens for that giveBack
// closes, once somebody has heard of what was done.
func (n *Node) everyProject(ctx context.Context) (sessions []*Session, giveBack func(), err error) {
	projects, err := n.home.projects()
	var all []*Session
	for _, p := range projects {
		s, e := n.openKnown(ctx, p.ID, true)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("project %s: %w", p.ID.Short(), e))
			continue
		}
		all = append(all, s)
		if !out(s.Err()) {
			sessions = append(sessions, s)
		}
	}
	return sessions, func() {
		for _, s := range all {
			if n.lent(s) && s.alive() == nil && s.others() > 0 {
				_ = s.waitSynced(ctx) // else the others hear of it when it is opened again
			}
			if err := n.giveBack(s); err != nil {
				s.log.Warn("collab: close a project that was opened to end an identity", "err", err)
			}
		}
	}, err
}

// waitSynced waits until somebody has exchanged everything with this device, for at most leaveTime.
func (s *Session) waitSynced(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	return s.coordinator.WaitSynced(ctx)
}

// identities returns whoever is known: this node's owner, and everybody who is or was a member of some projects.
func (n *Node) identities(sessions []*Session) []*identity.IdentityCert {
	certs := []*identity.IdentityCert{n.self.Identity}
	for _, s := range sessions {
		for _, m := range s.membership.State().Members() {
			certs = append(certs, m.Cert)
		}
	}
	return certs
}

// signer makes the record that ends an identity.
type signer func(since []governance.LastGood) (*governance.SelfRevoke, error)

// readKit finds out whose kit a text is, and how it signs: by the record on the page, or anew from the words.
func readKit(text []byte, among []*identity.IdentityCert) (MemberID, signer, error) {
	phrase, err := governance.KitWords(bytes.NewReader(text))
	if err != nil {
		phrase = string(text) // the words alone
	}
	if r, err := governance.ReadKit(bytes.NewReader(text)); err == nil {
		k := slices.IndexFunc(among, func(c *identity.IdentityCert) bool { return c.Member() == r.Member })
		if k < 0 {
			return MemberID{}, nil, fmt.Errorf("%w: it is of %s, whom no project here knows", ErrKit, r.Member.Short())
		}
		if err := r.Verify(among[k]); err != nil {
			return MemberID{}, nil, fmt.Errorf("%w: %w", ErrKit, err)
		}
		return r.Member, func(since []governance.LastGood) (*governance.SelfRevoke, error) {
			if len(since) == 0 {
				return r, nil
			}
			return governance.KitFromWords(phrase, among[k], since...)
		}, nil
	}
	cert, err := governance.KitOwner(phrase, among)
	if err != nil {
		return MemberID{}, nil, err
	}
	return cert.Member(), func(since []governance.LastGood) (*governance.SelfRevoke, error) {
		return governance.KitFromWords(phrase, cert, since...)
	}, nil
}

// endIdentity brings the end of an identity into this project, if the identity has a place in it that has not ended so.
func (s *Session) endIdentity(ctx context.Context, who MemberID, sign signer, lastGood []EventID) error {
	known, ended := s.standing(who)
	if !known || ended {
		return nil
	}
	good, stolen := s.vouched(who, lastGood)
	r, err := sign(good)
	if err != nil {
		return err
	}
	if who == s.node.self.Device.Member {
		return s.goneBy(ctx, "end the own identity", ErrRevoked, s.meetSomebody, func(ctx context.Context) (int, error) {
			cuts, err := s.journal.CutsWithout(who, stolen)
			if err != nil {
				return 0, err
			}
			return s.membership.EndSelf(ctx, r, cuts)
		})
	}
	cuts, err := s.journal.CutsWithout(who, stolen)
	if err != nil {
		return err
	}
	_, err = s.membership.Propose(ctx, governance.KindCarry, governance.Carry{SelfRevoke: r.Raw, Cuts: cuts})
	return err
}

// meetSomebody waits until there is somebody who can take news, if there are other members at all.
func (s *Session) meetSomebody(ctx context.Context) error {
	if s.others() == 0 {
		return nil
	}
	return s.waitSynced(ctx)
}

// standing reports whether the project knows an identity, and whether it was ended by its kit.
func (s *Session) standing(who MemberID) (known, ended bool) {
	_, known = s.membership.State().Member(who)
	s.membership.View(func(log *governance.Log) {
		for e := range log.Audit(EventID{}) {
			ended = ended || e.Kind == governance.KindCarry && e.Subject == who && e.Counts
		}
	})
	return known, ended
}

// vouched returns those of some events that are an identity's in this project, as a self-revocation lists them, and what those
// devices did afterwards.
func (s *Session) vouched(who MemberID, events []EventID) (good []governance.LastGood, stolen []EventID) {
	st := s.membership.State()
	s.membership.View(func(log *governance.Log) {
		for _, id := range events {
			e := log.Get(id)
			if e == nil {
				continue
			}
			if d, ok := st.Device(e.Device); ok && d.Member == who {
				good = append(good, governance.LastGood{Device: e.Device, Aseq: e.Aseq, Event: id})
			}
		}
		slices.SortFunc(good, func(a, b governance.LastGood) int { // of two of one device the earlier is taken
			return cmp.Or(wire.ID(a.Device).Compare(wire.ID(b.Device)), cmp.Compare(a.Aseq, b.Aseq))
		})
		good = slices.CompactFunc(good, func(a, b governance.LastGood) bool { return a.Device == b.Device })
		for e := range log.All() {
			if slices.ContainsFunc(good, func(g governance.LastGood) bool { return e.Device == g.Device && e.Aseq > g.Aseq }) {
				stolen = append(stolen, e.ID)
			}
		}
	})
	return good, stolen
}
