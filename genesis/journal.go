package genesis

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/internal/wire"
)

// Journal is where a program notes, for each project, how far a ceremony has come and where its shares lie, so that a
// crash at any point leaves one usable set of shares and the program knows which. It holds no secret, but places: keep
// it where other secrets of the program lie. The zero ProjectID stands for the founding that is under way.
type Journal interface {
	// Load returns what Save stored last, nil if there is nothing.
	Load(ctx context.Context, project ProjectID) ([]byte, error)
	// Save puts record, of at most MaxJournal bytes, in place of what was there, or nothing if it is nil. When it
	// returns nil that is durable; when the program dies within it, either the old or the new record is there.
	Save(ctx context.Context, project ProjectID, record []byte) error
}

// Errors of the journal.
var (
	// ErrUnfinished means that a ceremony was interrupted: call [Resume], or [ResumeFounding], first.
	ErrUnfinished = errors.New("genesis: a ceremony was interrupted; resume it first")
	// ErrJournal means that the journal's record is damaged, of another project, or full.
	ErrJournal = errors.New("genesis: journal of ceremonies cannot be used")
	// ErrRekeyOwed means that so many shares may be known to others that new shares of the same key would help nobody:
	// make a new key, see [Rekey].
	ErrRekeyOwed = errors.New("genesis: others may know enough shares to have the key; make a new key")
)

// Owed says what the holder of a root should do about shares that others may know.
type Owed int

const (
	OwedNothing Owed = iota
	OwedRefresh      // fewer shares than rebuild the key may be known: make new shares, see Refresh
	OwedRekey        // enough may be known to rebuild the key: make a new key, see Rekey
)

func (o Owed) String() string {
	return [...]string{"nothing", "new shares", "a new key"}[min(max(o, 0), 2)]
}

// Condition is how the shares of a root stand, as far as this program has noted it.
type Condition struct {
	Unfinished bool // a ceremony was interrupted: see Resume
	Owed       Owed
	Known      int // current shares that others may know
	Stale      int // shares that count no longer and still lie somewhere: they are erased by Resume, Refresh and Rekey
}

// Inspect returns the condition of root's shares. A project that was founded without a journal has an empty one.
func Inspect(ctx context.Context, j Journal, root *Root) (Condition, error) {
	r, err := loadJournal(ctx, j, root.Project)
	if err != nil {
		return Condition{}, err
	}
	c := Condition{Unfinished: r.Phase != phaseIdle, Owed: r.owed(root)}
	for i := range r.Sets {
		s := &r.Sets[i]
		if root.shareSet(s.Ceremony) != nil {
			c.Known += s.known()
		} else {
			c.Stale += len(s.Places)
		}
	}
	return c, nil
}

// MarkKnown notes for good that others may know the shares that a custodian keeps: its medium was lost or stolen, the
// share was released to somebody, or who keeps it is trusted no longer. It fails with [ErrNoShare] if the journal knows
// of no share there. [Inspect] then tells what is owed.
func MarkKnown(ctx context.Context, j Journal, project ProjectID, c Custodian) error {
	r, err := loadJournal(ctx, j, project)
	if err != nil {
		return err
	}
	at, marked := placeOf(c.Label()), false
	for i := range r.Sets {
		s := &r.Sets[i]
		for _, p := range s.Places {
			if p.Place == at {
				s.Known |= 1 << (p.X - 1)
				marked = true
			}
		}
	}
	if !marked {
		return &ShareError{Custodian: c.Label(), Err: ErrNoShare}
	}
	return r.save(ctx, j)
}

// GiveUp notes that the stale shares at a custodian will never be erased, because its medium is gone: they count as
// known from now on. Current shares there are marked as [MarkKnown] does.
func GiveUp(ctx context.Context, j Journal, root *Root, c Custodian) error {
	if err := MarkKnown(ctx, j, root.Project, c); err != nil {
		return err
	}
	r, err := loadJournal(ctx, j, root.Project)
	if err != nil {
		return err
	}
	at := placeOf(c.Label())
	for i := range r.Sets {
		s := &r.Sets[i]
		if root.shareSet(s.Ceremony) == nil {
			s.Places = slices.DeleteFunc(s.Places, func(p placeRecord) bool { return p.Place == at })
		}
	}
	r.tidy(root)
	return r.save(ctx, j)
}

const journalMagic = "clbj"

// Phases of a ceremony.
const (
	phaseIdle      uint8 = iota
	phasePrepared        // new shares are being kept; the record before counts until the next one is stored
	phaseCommitted       // the new record is stored; media that carry records lack it, old shares are being erased
)

// journalRecord is what a journal holds of a project.
type journalRecord struct {
	wire.Head
	Magic   string      `cbor:"3,keyasint"`
	Project ProjectID   `cbor:"4,keyasint"`
	Phase   uint8       `cbor:"5,keyasint"`
	Base    RootID      `cbor:"6,keyasint"` // the record on which the change rests; zero for a founding
	Next    RootID      `cbor:"7,keyasint"` // the record that is about to be signed; zero before
	Signed  []wire.ID   `cbor:"8,keyasint"` // signed in Base's place and never in force, to be abandoned; sorted
	Sets    []setRecord `cbor:"9,keyasint"` // oldest first
}

// setRecord says where the shares of one ceremony lie.
type setRecord struct {
	Ceremony [16]byte      `cbor:"1,keyasint"`
	Key      wire.ID       `cbor:"2,keyasint"` // root_pub_hash
	K        uint8         `cbor:"3,keyasint"`
	Places   []placeRecord `cbor:"4,keyasint"` // ascending by x
	Known    uint16        `cbor:"5,keyasint"` // bit x-1: others may know this share
}

type placeRecord struct {
	_     struct{} `cbor:",toarray"`
	X     uint8
	Place [placeSize]byte
}

const placeSize = 8

// placeOf stands for a custodian's label, which may hold a path.
func placeOf(label string) (p [placeSize]byte) {
	id := derive.ID("custodian-label", []byte(label))
	copy(p[:], id[:])
	return p
}

// loadJournal returns an idle record where there is none.
func loadJournal(ctx context.Context, j Journal, project ProjectID) (*journalRecord, error) {
	raw, err := j.Load(ctx, project)
	if err != nil {
		return nil, fmt.Errorf("genesis: read the journal: %w", err)
	}
	if raw == nil {
		return &journalRecord{Head: wire.NewHead(), Magic: journalMagic, Project: project}, nil
	}
	r, err := parseJournal(raw)
	if err == nil && !project.IsZero() && r.Project != project {
		err = fmt.Errorf("%w: it is of another project", ErrJournal)
	}
	return r, err
}

// parseJournal fails with [ErrJournal], which may wrap [wire.ErrVersion].
func parseJournal(raw []byte) (*journalRecord, error) {
	r := new(journalRecord)
	if err := wire.Unmarshal(raw, r, MaxJournal); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJournal, err)
	}
	if err := r.Head.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJournal, err)
	}
	if r.Magic != journalMagic || r.Phase > phaseCommitted || len(r.Signed) > maxSigned || !wire.SortedIDs(r.Signed) ||
		len(r.Sets) > maxSets || r.Project.IsZero() {
		return nil, fmt.Errorf("%w: it is damaged", ErrJournal)
	}
	for i := range r.Sets {
		if !r.Sets[i].valid() || slices.ContainsFunc(r.Sets[:i], func(s setRecord) bool { return s.Ceremony == r.Sets[i].Ceremony }) {
			return nil, fmt.Errorf("%w: it is damaged", ErrJournal)
		}
	}
	if r.Phase != phaseIdle && len(r.Sets) == 0 {
		return nil, fmt.Errorf("%w: it is damaged", ErrJournal)
	}
	return r, nil
}

func (s *setRecord) valid() bool {
	if s.K < MinThreshold || s.K > MaxShares || len(s.Places) > MaxShares {
		return false
	}
	for i, p := range s.Places {
		if p.X == 0 || p.X > MaxShares || i > 0 && p.X <= s.Places[i-1].X {
			return false
		}
	}
	return true
}

// save writes the record under its project.
func (r *journalRecord) save(ctx context.Context, j Journal) error {
	return r.saveAs(ctx, j, r.Project)
}

func (r *journalRecord) saveAs(ctx context.Context, j Journal, place ProjectID) error {
	raw := wire.Marshal(r)
	if len(raw) > MaxJournal {
		return fmt.Errorf("%w: record of %d bytes, at most %d are kept", ErrJournal, len(raw), MaxJournal)
	}
	if err := j.Save(ctx, place, raw); err != nil {
		return fmt.Errorf("genesis: write the journal: %w", err)
	}
	return nil
}

// set returns the record of a ceremony, nil if there is none.
func (r *journalRecord) set(ceremony [16]byte) *setRecord {
	for i := range r.Sets {
		if r.Sets[i].Ceremony == ceremony {
			return &r.Sets[i]
		}
	}
	return nil
}

func (s *setRecord) known() int { return bits.OnesCount16(s.Known) }

// owed judges every set of a key that root still has: shares of one polynomial add up, those of two do not.
func (r *journalRecord) owed(root *Root) Owed {
	owed := OwedNothing
	for i := range r.Sets {
		s := &r.Sets[i]
		if !root.hasKey(s.Key) {
			continue
		}
		if s.known() >= int(s.K) {
			return OwedRekey
		}
		if s.Known != 0 && root.shareSet(s.Ceremony) != nil {
			owed = OwedRefresh
		}
	}
	return owed
}

// hasKey reports whether a holder of the root has a key of this hash.
func (r *Root) hasKey(hash wire.ID) bool {
	return slices.ContainsFunc(r.Holders, func(h Holder) bool { return rootPubHash(h.Key) == hash })
}

// tidy drops the sets that count no longer, of which nothing is left to erase, and of which others know too little.
func (r *journalRecord) tidy(root *Root) {
	r.Sets = slices.DeleteFunc(r.Sets, func(s setRecord) bool {
		danger := root.hasKey(s.Key) && s.known() >= int(s.K)
		return root.shareSet(s.Ceremony) == nil && len(s.Places) == 0 && !danger
	})
}
