package collab

import (
	"context"
	"io"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
)

// AuditReport is what a verified audit file says.
type AuditReport struct {
	Project       ProjectID
	Root          RootID // record that counts
	RootVersion   uint32
	Events        int
	Void          int           // events that count for nothing
	Attested      int           // events whose signatures were dropped, see [Session.Compact]: a checkpoint's signers vouch for them
	Settled       uint64        // number of the last settled checkpoint, 0 if there is none
	Members       []AuditMember // everybody who is or was a member, ascending by ID
	Equivocations []EventID     // events that show that a device signed two of one number

	Migrations   []RootMigration // how the root has moved, from version 2 on
	RootFork     []RootID        // records that claim to be the next version, none of which counts until one is settled
	LateForks    []LateFork      // valid records in the place of settled versions, which never count
	RootSettled  uint32          // versions that whoever wrote the file has settled: their word
	RootProved   uint32          // how many of these the managers' last checkpoint settles, as the signatures show
	RootDisputed []RootID        // rivals of what the writer has settled that a checkpoint of the managers speaks for
	RootAwaits   RootID          // settled record that the writer did not hold, so that only version 1 counts; zero if none
}

// RootMigration is one move of the root, from a version to the next.
type RootMigration = governance.Migration

// RootHolders says who holds a version of the root, and how many of them must sign.
type RootHolders = governance.RootHolders

// LateFork is a valid root record in the place of a settled one.
type LateFork = genesis.LateFork

// AuditMember is a member in an [AuditReport].
type AuditMember struct {
	Identity
	Role Role // the zero role if they are no member any more
}

// ExportAudit writes the project's whole signed history, with all versions of its root. Whoever holds it checks it with [VerifyAudit], without a
// network and without a secret. It holds names, roles and times, and no content.
func (s *Session) ExportAudit(ctx context.Context, w io.Writer) error {
	if err := s.readable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return wrap("export audit", err)
	}
	var err error
	s.membership.View(func(log *governance.Log) { err = log.ExportAudit(w) })
	return wrap("export audit", err)
}

// VerifyAudit checks a file that [Session.ExportAudit] wrote: every certificate and signature, each version of the root by
// the one before it, that nothing is missing, and what all of it amounts to. A changed file fails with an error that names
// the first record that is wrong. Whoever wrote the file may have kept the newest records to himself, and which version of
// the root is settled is his word as far as [AuditReport.RootProved] does not say otherwise.
func VerifyAudit(r io.Reader) (AuditReport, error) {
	found, err := governance.VerifyAudit(r)
	if err != nil {
		return AuditReport{}, wrap("verify audit", err)
	}
	out := AuditReport{
		Project: found.Project, Root: found.Root, RootVersion: found.RootVersion, Events: found.Events, Void: found.Void, Attested: found.Attested,
		Settled: found.Settled.Number, Equivocations: found.Equivocation, Migrations: found.Migrations, LateForks: found.LateForks,
		RootSettled: found.RootSettled, RootProved: found.RootProved, RootDisputed: found.RootDisputed, RootAwaits: found.RootAwaits,
	}
	if found.Fork != nil {
		out.RootFork = found.Fork.Records
	}
	for _, m := range found.Log.State().Members() {
		out.Members = append(out.Members, AuditMember{Identity: identityOf(m.Cert), Role: m.Role})
	}
	return out, nil
}

// Coverage says who is known to have heard of a governance event, and who is not: after a removal those may still be
// talking to the removed. What members write and sign shows which events they had: everybody who has edited, come online or
// acted since they heard of it is among seen, as soon as that has arrived here. Silence shows nothing.
func (s *Session) Coverage(id EventID) (seen, unseen []MemberID, err error) {
	if err := s.readable(); err != nil {
		return nil, nil, err
	}
	shown := s.journal.Seen()
	s.membership.View(func(log *governance.Log) { seen, unseen, err = log.Coverage(id, shown) })
	return seen, unseen, wrap("coverage", err)
}
