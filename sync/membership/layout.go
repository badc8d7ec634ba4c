package membership

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/governance"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/store"
	"github.com/studio-whip/collab/internal/wire"
	"github.com/studio-whip/collab/sync/boxkeys"
)

// projectsMap lists a store's projects: project id -> status.
const projectsMap = "membership"

// A project's status. One that is not ready was being founded or joined when the process died; it is begun anew.
const (
	statusNone  byte = 0
	statusBegun byte = 1
	statusReady byte = 2
)

// names are the logs and maps of one project.
type names struct {
	events    string // log: events as received, in causal order
	roots     string // map: version, 4 bytes big-endian, and above 1 the id -> root record
	epochs    string // map: epoch id -> key
	invites   string // map: invite id -> hosting
	addresses string // map: device id -> address record
	meta      string // map: see below
	signed    string // map: root id -> ids of the records after it that the owner has signed
	proposals string // map: root id -> device that brought it, and proposal
	acts      string // map: act id -> proposed act
}

func namesOf(id genesis.ProjectID) names {
	prefix := "membership/" + id.String() + "/"
	return names{
		events: prefix + "events", roots: prefix + "roots", epochs: prefix + "epochs", invites: prefix + "invites",
		addresses: prefix + "addresses", meta: prefix + "meta", signed: prefix + "signed", proposals: prefix + "proposals",
		acts: prefix + "acts",
	}
}

// metaClean is there while nothing runs that could be lost; it is removed when a project opens.
var metaClean = []byte("clean")

// metaPin is the root record that is settled here, if it is not version 1; metaOffer the owner's offer to hold the root.
var (
	metaPin   = []byte("pin")
	metaOffer = []byte("offer")
	// metaSigned is the checkpoint's draft that this device has signed last.
	metaSigned = []byte("checkpoint")
)

func readStatus(tx *store.Tx, id genesis.ProjectID) (byte, error) {
	v, ok, err := tx.Map(projectsMap).Get(id[:])
	if err != nil || !ok || len(v) != 1 {
		return statusNone, err
	}
	return v[0], nil
}

func writeStatus(tx *store.Tx, id genesis.ProjectID, s byte) error {
	return tx.Map(projectsMap).Put(id[:], []byte{s})
}

// begin empties what an interrupted start left and stores the root record.
func (n names) begin(tx *store.Tx, id genesis.ProjectID, root *genesis.Root) error {
	if err := n.drop(tx, id); err != nil {
		return err
	}
	if err := writeStatus(tx, id, statusBegun); err != nil {
		return err
	}
	return tx.Map(n.roots).Put(versionKey(root.N), root.Raw)
}

func (n names) drop(tx *store.Tx, id genesis.ProjectID) error {
	for _, name := range []string{n.events, n.roots, n.epochs, n.invites, n.addresses, n.meta, n.signed, n.proposals, n.acts} {
		if err := tx.Drop(name); err != nil {
			return err
		}
	}
	return tx.Map(projectsMap).Delete(id[:])
}

func versionKey(n uint32) []byte { return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} }

func (n names) markClean(tx *store.Tx, clean bool) error {
	if clean {
		return tx.Map(n.meta).Put(metaClean, []byte{1})
	}
	return tx.Map(n.meta).Delete(metaClean)
}

// Projects returns the projects that a store holds, in no order.
func Projects(st *store.Store) ([]genesis.ProjectID, error) {
	var out []genesis.ProjectID
	err := st.View(func(tx *store.Tx) error {
		for k, v := range tx.Map(projectsMap).All() {
			if len(k) == len(genesis.ProjectID{}) && len(v) == 1 && v[0] == statusReady {
				out = append(out, genesis.ProjectID(k))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("membership: list projects: %w", err)
	}
	return out, nil
}

// load reads a project from its store and notes there that it is open.
func (r *Registry) load(cfg Config, id genesis.ProjectID) (*Project, error) {
	var p *Project
	err := cfg.Store.Update(func(tx *store.Tx) error {
		status, err := readStatus(tx, id)
		if err != nil {
			return err
		}
		if status != statusReady {
			return fmt.Errorf("%w: %s", ErrUnknownProject, id.Short())
		}
		root, err := readRoot(tx, id)
		if err != nil {
			return err
		}
		p = r.newProject(cfg, root)
		return p.read(tx)
	})
	return p, err
}

func readRoot(tx *store.Tx, id genesis.ProjectID) (*genesis.Root, error) {
	raw, ok, err := tx.Map(namesOf(id).roots).Get(versionKey(1))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, damaged("the root record is missing")
	}
	root, err := genesis.ParseRoot(raw)
	if err != nil {
		return nil, damaged("root record: %v", err)
	}
	if root.Project != id {
		return nil, damaged("the root record is another project's")
	}
	return root, nil
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", store.ErrDamaged, fmt.Sprintf(format, args...))
}

// read fills a new project with what the store holds.
func (p *Project) read(tx *store.Tx) error {
	if err := p.readRoots(tx); err != nil {
		return err
	}
	if err := p.readEvents(tx); err != nil {
		return err
	}
	p.events.SetClock(p.reg.cfg.Now) // not earlier: what was taken once is judged by no clock again
	for k, v := range tx.Map(p.names.epochs).All() {
		if len(k) != 32 || len(v) != 32 {
			return damaged("a key has a wrong size")
		}
		p.keys.held[governance.EpochID(k)] = [32]byte(v)
	}
	if err := p.readInvites(tx); err != nil {
		return err
	}
	for k, v := range tx.Map(p.names.addresses).All() {
		rec, err := parseAddressRecord(v)
		if err != nil || len(k) != 32 || rec.Device != identity.DeviceID(k) {
			return damaged("an address record: %v", err)
		}
		p.book[rec.Device] = rec
	}
	if err := p.readProposals(tx); err != nil {
		return err
	}
	state := p.events.State()
	p.state.Store(state)
	if err := errors.Join(p.readActs(tx), p.readSigned(tx)); err != nil {
		return err
	}
	p.noteRoot()
	_, clean, err := tx.Map(p.names.meta).Get(metaClean)
	if err != nil {
		return err
	}
	p.doubt = (!clean || p.behindVault()) && p.othersLive(state)
	return errors.Join(tx.Err(), p.names.markClean(tx, false))
}

// loadBatch is how many events are verified at a time.
const loadBatch = 512

// readEvents takes the stored events again, whose signatures are verified on all cores.
func (p *Project) readEvents(tx *store.Tx) error {
	var batch [][]byte
	bare := false // some have lost their signatures: then all are taken together
	take := func() error {
		at := p.events.Len()
		stop := func(int, error) bool { return false }
		var res governance.AddResult
		var err error
		if bare {
			res, err = p.events.AddAttested(batch, stop)
		} else {
			res, err = p.events.AddUntil("", batch, stop)
		}
		if err != nil || len(res.Added) != len(batch) {
			return damaged("event %d does not fit: %v", at+len(res.Added)+1, err)
		}
		batch = batch[:0]
		return nil
	}
	for _, raw := range tx.Log(p.names.events).From(1) {
		batch, bare = append(batch, bytes.Clone(raw)), bare || governance.IsCompacted(raw)
		if len(batch) == loadBatch && !bare {
			if err := take(); err != nil {
				return err
			}
		}
	}
	return take()
}

// behindVault reports whether the vault knows of an event of this device, or of who held its place, that the log does not: the log is an
// older one that was put back.
func (p *Project) behindVault() bool {
	return p.failed == nil && slices.ContainsFunc(p.boxKeys.All(), func(k boxkeys.Key) bool {
		return k.Retired != (governance.EventID{}) && !p.events.Has(k.Retired)
	})
}

// othersLive reports whether another device could hold what ours has lost.
func (p *Project) othersLive(s *governance.State) bool {
	for _, d := range s.Devices() {
		if d.ID != p.self.Device.ID {
			return true
		}
	}
	return false
}

// hosting is what a host keeps of an invite: enough to know its holder, not enough to be one.
type hosting struct {
	Invite    governance.InviteID `cbor:"1,keyasint"`
	MAC       [32]byte            `cbor:"2,keyasint"`
	Cancelled bool                `cbor:"3,keyasint"`
	Until     uint64              `cbor:"4,keyasint"` // Unix seconds after which nobody is told anything
}

// Format and MarshalJSON keep the key out of logs.
func (hosting) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, "invite [redacted]") }
func (hosting) MarshalJSON() ([]byte, error) { return []byte(`"invite [redacted]"`), nil }

const maxHosting = 256

func readHosting(raw []byte) (hosting, error) {
	var h hosting
	return h, wire.Unmarshal(raw, &h, maxHosting)
}
