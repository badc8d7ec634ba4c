package governance

import (
	"slices"

	"github.com/studio-whip/collab/identity"
)

// judgeInPast fixes everything about e that its own past decides.
func (h *history) judgeInPast(e *entry) {
	e.before = h.verdictBy(e.parents, e.rootN)
	v := view{h, e.past, e.before.void}
	e.grant = min(h.quorumOf(e), v.managers(identity.MemberID{}))
	e.removal = 2
	if e.kind == KindRevoke {
		e.removal = max(2, min(h.quorumOf(e), v.managers(e.subject)))
	}
	e.creates = none
	if e.kind == KindAdmit && e.onInvite {
		e.creates = v.inviteOf(e.invite)
	}
	if e.kind == KindChainOpen {
		e.chainOK = h.nextChain(e.device, e.past) == e.body.(*ChainOpen).ChainNo
	}
	if e.epoch != nil {
		e.epoch.valid = h.epochFits(e, v)
	}
	e.own = h.judge(e, v, true)
}

// nextChain returns the number of the next chain that a device may open after the events of a set, void or not: a
// chain whose opening fell may still have been written under.
func (h *history) nextChain(d identity.DeviceID, in bitset) uint32 {
	next := uint32(1)
	for _, i := range h.authored[d] {
		if e := h.entries[i]; e.kind == KindChainOpen && e.chainOK && in.has(i) {
			next = max(next, e.body.(*ChainOpen).ChainNo+1)
		}
	}
	return next
}

// epochFits reports whether the epoch that e carries is for e, for the devices live after e's own act, and by an
// editor.
func (h *history) epochFits(e *entry, v view) bool {
	c := e.epoch.core
	if c.Project != h.project || c.Device != e.device || c.Aseq != e.aseq || v.standing(e.device) < Editor {
		return false
	}
	var gone identity.MemberID
	if e.kind == KindRevoke {
		gone = e.subject
	}
	return c.Roster == RosterHash(v.roster(gone))
}

// judge is Allowed: it says why e has not the authority it needs if v is what its past amounts to. With local set,
// v is what e's author saw, and e must also keep the rules that are fixed there: quotas, and how many must sign.
func (h *history) judge(e *entry, v view, local bool) fault {
	r, known := rules[e.kind]
	if !known {
		return simply(ReasonKind)
	}
	if e.admission != nil && e.admission.fault != ReasonNone {
		return simply(e.admission.fault)
	}
	if e.rootAct {
		if !r.root || e.holders < e.threshold {
			return simply(ReasonRootAct)
		}
		if len(e.signers) > 0 {
			return simply(ReasonCosigner)
		}
	} else if f := h.judgeSigners(e, v, local); !f.ok() {
		return f
	}
	if f := h.judgeSubject(e, v); !f.ok() || !local {
		return f
	}
	return h.judgeLocal(e, v)
}

// judgeSigners checks the standing of author and cosigners, and their number.
func (h *history) judgeSigners(e *entry, v view, local bool) fault {
	need := rules[e.kind].role
	if e.kind == KindAdmit && !e.onInvite {
		need = Manager
	}
	author := e.signers[0]
	if e.kind == KindInviteRevoke && v.invited(e.invite, author.device) {
		need = Viewer // whoever made an invite may cancel it
	}
	switch got := v.standing(author.device); {
	case got == None:
		return because(ReasonDevice, v.whyOut(author.member))
	case got < need:
		return because(ReasonRole, v.whyOut(author.member))
	}
	seen := []identity.MemberID{author.member}
	for _, s := range e.signers[1:] {
		if v.standing(s.device) < Manager {
			return because(ReasonCosigner, v.whyOut(s.member))
		}
		if slices.Contains(seen, s.member) || local && v.suspended(s.device) {
			return simply(ReasonCosigner)
		}
		seen = append(seen, s.member)
	}
	if e.kind == KindRevoke && slices.Contains(seen, e.subject) {
		return simply(ReasonSubject)
	}
	n, spare := h.signersFor(e, v)
	switch {
	case len(e.signers) < n:
		return simply(ReasonQuorum)
	case local && len(e.signers) > n+spare:
		return simply(ReasonCosigner)
	}
	return fine
}

// signersFor returns how many members must sign e, and how many more may. A manager may always co-sign the admission
// that a host makes, as somebody once removed comes back that way only.
func (h *history) signersFor(e *entry, v view) (n, spare int) {
	switch b := e.body.(type) {
	case *RoleGrant:
		if b.Role == Manager {
			return max(1, e.grant), 0
		}
	case *Admit:
		if e.onInvite {
			return 1, 1
		}
		if b.Role == Manager {
			return max(1, e.grant), 0
		}
	case *Revoke:
		if v.role(b.Member) == Manager {
			return e.removal, 0
		}
	}
	return 1, 0
}

// judgeSubject checks that what e acts on is there, or not there, as its kind needs.
func (h *history) judgeSubject(e *entry, v view) fault {
	switch b := e.body.(type) {
	case *InviteCreate:
		return h.judgeInviteCreate(e, b, v)
	case *Admit:
		return h.judgeAdmit(e, b, v)
	case *RoleGrant:
		role := v.role(b.Member)
		switch {
		case !b.Role.known():
			return simply(ReasonRole)
		case role == None:
			return because(ReasonAbsent, v.whyOut(b.Member))
		case b.Role <= role:
			return simply(ReasonNoRaise)
		}
	case *Revoke:
		if v.role(b.Member) == None {
			return because(ReasonAbsent, v.whyOut(b.Member))
		}
	case *InviteRevoke:
		if v.inviteOf(b.Invite) == none {
			return simply(ReasonInvite)
		}
	case *ChainOpen:
		if !e.chainOK {
			return simply(ReasonChain)
		}
	}
	return fine
}

// invited reports whether a device made an invite that counts.
func (v view) invited(id InviteID, d identity.DeviceID) bool {
	c := v.inviteOf(id)
	return c != none && v.h.entries[c].device == d && !v.h.entries[c].rootAct
}

func (h *history) judgeInviteCreate(e *entry, b *InviteCreate, v view) fault {
	if b.Role != Viewer && b.Role != Editor {
		return simply(ReasonRole)
	}
	if other := v.inviteOf(b.Invite); other != none && other != e.idx {
		return because(ReasonInvite, other)
	}
	return fine
}

func (h *history) judgeAdmit(e *entry, b *Admit, v view) fault {
	if !b.Role.known() {
		return simply(ReasonRole)
	}
	if e.onInvite {
		if f := h.judgeInvite(e, b, v); !f.ok() {
			return f
		}
	}
	if v.role(e.subject) != None {
		if e.onInvite && v.admitted(e.subject, e.invite) {
			return fine // the same admission once more
		}
		return simply(ReasonPresent)
	}
	if r := v.removed(e.subject); r != none && !e.rootAct {
		manager := func(s signer) bool { return v.standing(s.device) == Manager }
		if !slices.ContainsFunc(e.signers, manager) {
			return because(ReasonReadmission, r)
		}
	}
	return fine
}

// judgeInvite checks an Admit against the InviteCreate that it uses.
func (h *history) judgeInvite(e *entry, b *Admit, v view) fault {
	if e.rootAct {
		return simply(ReasonRootAct) // the root admits without an invite
	}
	c := v.inviteOf(e.invite)
	if c == none || c != e.creates {
		return because(ReasonInvite, e.creates)
	}
	if x := v.cancelled(e.invite); x != none {
		return because(ReasonCancelled, x)
	}
	invite := h.entries[c].body.(*InviteCreate)
	host := func(x InviteHost) bool { return x.Device == e.device }
	switch {
	case !slices.ContainsFunc(invite.Hosts, host):
		return because(ReasonHost, c)
	case b.Role > invite.Role, invite.ForMember != nil && *invite.ForMember != e.subject:
		return because(ReasonInviteRole, c)
	case e.admission.proof != invite.ProofHash:
		return because(ReasonProof, c)
	}
	return fine
}

// judgeLocal checks what is decided in e's own past and stays so: quotas and epochs.
func (h *history) judgeLocal(e *entry, v view) fault {
	if e.aseq > maxDeviceEvents && !e.rootAct && v.standing(e.device) < Manager {
		return simply(ReasonQuota)
	}
	switch b := e.body.(type) {
	case *ChainOpen:
		if b.ChainNo > maxDeviceChains {
			return simply(ReasonQuota)
		}
	case *KeyEpoch:
		if !e.epoch.valid {
			return simply(ReasonEpoch)
		}
		if h.hasMinted(e.device, v) && !h.owed(e.past, e.before) {
			return simply(ReasonNotOwed)
		}
	}
	return fine
}

// hasMinted reports whether a KeyEpoch of a device counts in v.
func (h *history) hasMinted(d identity.DeviceID, v view) bool {
	return slices.ContainsFunc(h.authored[d], func(i int) bool {
		return h.entries[i].kind == KindKeyEpoch && v.counts(i)
	})
}
