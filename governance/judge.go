package governance

import (
	"slices"

	"github.com/studio-whip/collab/identity"
)

// judgeInPast fixes everything about e that its own past decides.
func (h *history) judgeInPast(e *entry) {
	e.before = h.verdictBy(e.parents, e.rootN)
	e.base = e.before.base
	v := h.pastOf(e)
	e.byManager = !e.rootAct && v.standing(e.device) == Manager
	e.needs = h.needs(e, v)
	h.countManagers(e, v, h.quorumOf(e))
	e.creates = none
	if e.kind == KindAdmit && e.onInvite {
		e.creates = v.inviteOf(e.invite)
	}
	if e.kind == KindChainOpen {
		e.chainOK = h.nextChain(e.device, e.past) == e.body.(*ChainOpen).ChainNo
	}
	if e.kind == KindQuarantinePropose {
		e.ballot = h.newBallot(e, v)
	}
	if e.epoch != nil {
		e.epoch.valid = h.epochFits(e, v)
	}
	e.own = h.judge(e, v, true)
}

// countManagers fixes how many managers must sign.
func (h *history) countManagers(e *entry, v view, quorum int) {
	e.grant, e.removal, e.relief = 1, 2, 1
	switch e.kind {
	case KindAdmit, KindRoleGrant, KindEndorse, KindCheckpoint:
		e.grant = max(1, min(quorum, v.managers(identity.MemberID{})))
	case KindRevoke, KindRoleDrop, KindDeviceRemove:
		e.removal = max(2, min(quorum, v.managers(e.subject)))
	case KindLiftQuarantine:
		e.relief = max(1, min(quorum, v.managers(e.subject)))
	}
}

// needs returns the role that each signer of e needs, by what e's author saw.
func (h *history) needs(e *entry, v view) []Role {
	need := rules[e.kind].role
	switch e.kind {
	case KindAdmit:
		if !e.onInvite {
			need = Manager
		}
	case KindInviteRevoke:
		if v.invited(e.invite, e.device) {
			need = Viewer // whoever made an invite may cancel it
		}
	case KindDeviceRemove:
		if e.onOwn() {
			need = Viewer
		}
	case KindLiftQuarantine:
		ownOther := e.onOwn() && e.device != e.target && v.role(e.subject) != Manager
		if e.target != (identity.DeviceID{}) && !ownOther {
			need = Manager
		}
	}
	out := make([]Role, len(e.signers))
	for k := range out {
		out[k] = Manager
	}
	if len(out) > 0 {
		out[0] = need
	}
	return out
}

// nextChain returns the number of the next chain that a device may open after the events of a set, void or not: a
// chain whose opening fell may still have been written under.
func (h *history) nextChain(d identity.DeviceID, in bitset) uint32 {
	next := uint32(1)
	for _, i := range h.opens[d] {
		if e := h.entries[i]; e.chainOK && in.has(i) {
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
	var device identity.DeviceID
	switch e.kind {
	case KindRevoke:
		gone = e.subject
	case KindDeviceRemove:
		device = e.target
	}
	return c.Roster == RosterHash(v.roster(gone, device))
}

// judge is Allowed: it says why e has not the authority it needs if v is what its past amounts to. With local set,
// v is what e's author saw, and e must also keep the rules that are fixed there: quotas, ends, and how many must sign.
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
	if f := h.judgeSubject(e, v, local); !f.ok() || !local {
		return f
	}
	return h.judgeLocal(e, v)
}

// judgeSigners checks the standing of author and cosigners, and their number.
func (h *history) judgeSigners(e *entry, v view, local bool) fault {
	author := e.signers[0]
	switch got := v.standing(author.device); {
	case got == None:
		return because(ReasonDevice, v.whyOut(author.member))
	case got < e.needs[0]:
		return because(ReasonRole, v.whyOut(author.member))
	}
	if !e.reductive() && h.inDoubt(e, v) {
		return because(ReasonEquivocation, h.shows(e, v.in))
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
	if e.removes() && slices.Contains(seen, e.subject) {
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

// removes reports whether e takes another's standing away, so that its subject may not sign it.
func (e *entry) removes() bool {
	return e.kind == KindRevoke || e.kind == KindRoleDrop || e.kind == KindDeviceRemove && !e.onOwn()
}

// inDoubt reports whether the author's authority was in doubt before e in v.
func (h *history) inDoubt(e *entry, v view) bool {
	n, doubt := v.doubt(e.device)
	return doubt && n <= e.aseq
}

// signersFor returns how many members must sign e, and how many more may. A manager may always co-sign the admission
// that a host makes, as somebody once removed comes back that way only.
func (h *history) signersFor(e *entry, v view) (n, spare int) {
	switch e.kind {
	case KindCheckpoint:
		return e.grant, 0
	case KindAdmit:
		if e.onInvite {
			return 1, 1
		}
		fallthrough
	case KindRoleGrant:
		if h.givesManager(e) {
			return e.grant, 0
		}
	case KindEndorse:
		if slices.ContainsFunc(e.named, func(i int) bool { return h.givesManager(h.entries[i]) }) {
			return e.grant, 0
		}
	case KindRevoke, KindRoleDrop:
		if v.role(e.subject) == Manager {
			return e.removal, 0
		}
	case KindDeviceRemove:
		if !e.onOwn() && v.role(e.subject) == Manager {
			return e.removal, 0
		}
	case KindLiftQuarantine:
		if e.target != (identity.DeviceID{}) && v.role(e.subject) == Manager {
			return e.relief, 0
		}
	}
	return 1, 0
}

func (h *history) givesManager(e *entry) bool {
	switch b := e.body.(type) {
	case *Admit:
		return b.Role == Manager
	case *RoleGrant:
		return b.Role == Manager
	}
	return false
}

// judgeSubject checks that what e acts on is there, or not there, as its kind needs.
func (h *history) judgeSubject(e *entry, v view, local bool) fault {
	switch b := e.body.(type) {
	case *InviteCreate:
		return h.judgeInviteCreate(e, b, v)
	case *Admit:
		return h.judgeAdmit(e, b, v)
	case *RoleGrant:
		return v.judgeMove(b.Member, b.Role, true)
	case *Revoke:
		if v.role(b.Member) == None {
			return because(ReasonAbsent, v.whyOut(b.Member))
		}
	case *RoleDrop:
		return v.judgeMove(b.Member, b.Role, false)
	case *DeviceRemove:
		if !e.about || !v.live(h.devices[b.Device]) {
			return simply(ReasonAbsent)
		}
	case *Carry:
		if e.revoked == nil {
			return simply(ReasonRevocation)
		}
	case *InviteRevoke:
		if v.inviteOf(b.Invite) == none {
			return simply(ReasonInvite)
		}
	case *ChainOpen:
		if !e.chainOK {
			return simply(ReasonChain)
		}
	case *EquivocationProof:
		if e.proof == nil {
			return simply(ReasonProof)
		}
	case *Endorse:
		return h.judgeEndorse(e, v, local)
	case *QuarantinePropose:
		return h.judgePropose(e, v, local)
	case *QuarantineVote:
		return h.judgeVote(e, v)
	case *LiftQuarantine:
		return h.judgeLift(e, b, v, local)
	}
	return fine
}

// judgeMove checks that a member is present and that a role is another one for him in the right direction.
func (v view) judgeMove(m identity.MemberID, to Role, up bool) fault {
	role := v.role(m)
	switch {
	case !to.known():
		return simply(ReasonRole)
	case role == None:
		return because(ReasonAbsent, v.whyOut(m))
	case up && to <= role:
		return simply(ReasonNoRaise)
	case !up && to >= role:
		return simply(ReasonNoDrop)
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
		if v.role(e.subject) != None && v.admitted(e.subject, e.invite) {
			return fine // the same admission once more
		}
	}
	return h.judgeNewcomer(e, e.subject, b.Role, v)
}

// judgeNewcomer checks that e may make somebody a member: he is absent, did not end his identity, and if he was
// removed before a manager or the root brings him back.
func (h *history) judgeNewcomer(e *entry, m identity.MemberID, role Role, v view) fault {
	switch {
	case !role.known():
		return simply(ReasonRole)
	case v.role(m) != None:
		return simply(ReasonPresent)
	}
	for _, i := range h.acts[m] {
		if v.counts(i) && h.entries[i].kind == KindCarry {
			return because(ReasonEnds, i)
		}
	}
	if r := v.removed(m); r != none && !e.rootAct {
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

// judgeLocal checks what is decided in e's own past and stays so: quotas, ends by the project's time, epochs,
// checkpoints, quarantine.
func (h *history) judgeLocal(e *entry, v view) fault {
	if f := h.judgeQuota(e, v); !f.ok() {
		return f
	}
	if f := h.judgeTime(e, v); !f.ok() {
		return f
	}
	if q := v.held(e); q != none {
		return because(ReasonQuarantine, q)
	}
	switch b := e.body.(type) {
	case *Checkpoint:
		return h.judgeCheckpoint(e, b, v)
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

// judgeQuota counts what a device authored since the last settled checkpoint.
func (h *history) judgeQuota(e *entry, v view) fault {
	var settled bitset
	if v.base != none {
		settled = h.entries[v.base].past.with(v.base)
	}
	if !e.rootAct && v.standing(e.device) < Manager && e.aseq > h.lastAseq(e.device, settled)+maxDeviceEvents {
		return simply(ReasonQuota)
	}
	if b, ok := e.body.(*ChainOpen); ok && b.ChainNo >= h.nextChain(e.device, settled)+maxDeviceChains {
		return simply(ReasonQuota)
	}
	return fine
}

// judgeTime refuses what had expired before the last settled checkpoint.
func (h *history) judgeTime(e *entry, v view) fault {
	now := h.timeAt(v.base)
	if e.ends != nil && *e.ends < now && !e.rootAct {
		return because(ReasonExpired, v.base)
	}
	if e.kind == KindAdmit && e.creates != none {
		if at := h.entries[e.creates].body.(*InviteCreate).Expires; at != 0 && at < now {
			return because(ReasonExpired, v.base)
		}
	}
	return fine
}

// hasMinted reports whether a KeyEpoch of a device counts in v since the last settled checkpoint.
func (h *history) hasMinted(d identity.DeviceID, v view) bool {
	return slices.ContainsFunc(from(h.epochs, h.solidAt(v.base)), func(i int) bool {
		e := h.entries[i]
		return e.device == d && e.kind == KindKeyEpoch && v.counts(i) && (v.base == none || !h.entries[v.base].past.has(i))
	})
}
