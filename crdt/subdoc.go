package crdt

import (
	"fmt"
	"slices"
	"strings"

	"github.com/studio-whip/collab/crdt/lib0"
)

// Subdoc is a subdocument: a document of its own, of which this one holds only the name and some options. Its content
// is loaded, stored and sent apart, under its GUID.
//
// Two subdocuments may have one GUID; they are then two places that show one document.
type Subdoc struct {
	doc    *Doc
	unit   unitID
	guid   string
	opts   lib0.Any
	loaded bool
}

// SubdocOptions makes a subdocument when it is inserted: array.Insert(tx, 0, crdt.SubdocOptions{GUID: "…"}).
type SubdocOptions struct {
	GUID      string // names the document; must not be empty
	WithoutGC bool   // replicas keep deleted content
	AutoLoad  bool   // replicas are to load it at once
	Meta      any    // see ValueOf; nil for none
}

// content writes the options as Yjs does: what has its default is left out.
func (o SubdocOptions) content() (content, error) {
	if o.GUID == "" || !validText(o.GUID) {
		return content{}, fmt.Errorf("%w: a subdocument needs a GUID", ErrValue)
	}
	var keys []string
	var values []lib0.Any
	if o.WithoutGC {
		keys, values = append(keys, "gc"), append(values, lib0.Bool(false))
	}
	if o.AutoLoad {
		keys, values = append(keys, "autoLoad"), append(values, lib0.Bool(true))
	}
	if o.Meta != nil {
		meta, err := ValueOf(o.Meta)
		if err != nil {
			return content{}, err
		}
		keys, values = append(keys, "meta"), append(values, meta.v)
	}
	data := lib0.AppendAny(lib0.AppendString(nil, o.GUID), lib0.Object(keys, values))
	return content{kind: kindDoc, n: 1, data: data}, nil
}

// subdoc returns the handle to the subdocument that an item holds.
func (d *Doc) subdoc(it *item) *Subdoc {
	r := lib0.NewReader(d.payload(it))
	guid, _ := r.Text()
	s := &Subdoc{doc: d, unit: unitID{it.client, it.clock}, guid: string(guid), opts: r.Any()}
	s.loaded = d.subdocs[s.unit]
	return s
}

func (s *Subdoc) sealed() {}

// GUID returns the name under which the content is found.
func (s *Subdoc) GUID() string { return s.guid }

// GC says whether replicas may forget deleted content.
func (s *Subdoc) GC() bool { return s.option("gc").Kind() != lib0.KindBool || s.option("gc").AsBool() }

// AutoLoad says whether replicas are to load it at once.
func (s *Subdoc) AutoLoad() bool { return s.option("autoLoad").AsBool() }

// Meta returns what its author noted about it, undefined if nothing.
func (s *Subdoc) Meta() Value { return Value{v: s.option("meta")} }

func (s *Subdoc) option(key string) lib0.Any {
	if i := slices.Index(s.opts.Keys(), key); i >= 0 {
		return s.opts.Items()[i]
	}
	return lib0.Any{}
}

// New returns an empty document to load the content into, with garbage collection as the options say.
func (s *Subdoc) New(opts ...Option) *Doc {
	if !s.GC() {
		opts = append([]Option{WithoutGC()}, opts...)
	}
	return New(opts...)
}

// Deleted says whether the subdocument has been deleted from this document.
func (s *Subdoc) Deleted(tx Reader) bool {
	if tx.document() != s.doc {
		panic(ErrTxn.Error())
	}
	_, ok := s.doc.subdocs[s.unit]
	return !ok
}

// Load asks whoever provides content (see OnSubdocs) to load it. Asking again does nothing.
func (s *Subdoc) Load(tx *Txn) error {
	if tx == nil || tx.doc != s.doc {
		return ErrTxn
	}
	loaded, ok := s.doc.subdocs[s.unit]
	if !ok {
		return ErrDeleted
	}
	if !loaded {
		s.doc.subdocs[s.unit] = true
		tx.extra().subs.Loaded = append(tx.extra().subs.Loaded, s)
	}
	return nil
}

// Subdocs returns the subdocuments of this document, by GUID.
func (d *Doc) Subdocs() []*Subdoc {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var out []*Subdoc
	for u := range d.subdocs {
		out = append(out, d.subdoc(d.items.at(d.find(u.client, u.clock))))
	}
	slices.SortFunc(out, func(a, b *Subdoc) int {
		if c := strings.Compare(a.guid, b.guid); c != 0 {
			return c
		}
		return int(a.unit.clock) - int(b.unit.clock)
	})
	return out
}

// SubdocEvent is what one transaction changed about subdocuments.
type SubdocEvent struct {
	Origin  Origin
	Added   []*Subdoc // inserted, here or elsewhere
	Removed []*Subdoc // deleted; whoever holds their content may let it go
	Loaded  []*Subdoc // to be loaded: Load was called, or they are made here, or they load by themselves
}

func (e *SubdocEvent) empty() bool { return len(e.Added)+len(e.Removed)+len(e.Loaded) == 0 }

// OnSubdocs calls fn after each transaction that added, removed or loaded subdocuments, in commit order and outside the
// lock. stop ends the calls.
func (d *Doc) OnSubdocs(fn func(SubdocEvent)) (stop func()) {
	return d.feed.listen(&updateListener{subdocs: fn})
}

// addSubdoc notes a subdocument that has just been integrated. Those made here count as loaded.
func (t *Txn) addSubdoc(it *item) {
	d := t.doc
	if d.subdocs == nil {
		d.subdocs = make(map[unitID]bool)
	}
	s := d.subdoc(it)
	s.loaded = t.origin.Local || s.AutoLoad()
	d.subdocs[s.unit] = s.loaded
	subs := &t.extra().subs
	subs.Added = append(subs.Added, s)
	if s.loaded {
		subs.Loaded = append(subs.Loaded, s)
	}
}

// removeSubdoc notes a subdocument that has just been deleted. One that was added in the same transaction was never
// there.
func (t *Txn) removeSubdoc(it *item) {
	d := t.doc
	s := d.subdoc(it)
	delete(d.subdocs, s.unit)
	same := func(o *Subdoc) bool { return o.unit == s.unit }
	subs := &t.extra().subs
	if !slices.ContainsFunc(subs.Added, same) {
		subs.Removed = append(subs.Removed, s)
	}
	subs.Added = slices.DeleteFunc(subs.Added, same)
	subs.Loaded = slices.DeleteFunc(subs.Loaded, same)
}
