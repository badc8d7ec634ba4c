package journal

// move says that the edits of one client from a clock on become those of another client, from clock 0 on. What the old
// client did before that clock stays its own.
type move struct {
	from uint64 // old client ID
	base uint64 // first clock that moves
	to   uint64 // new client ID, under which nothing exists yet
}

func (m move) id(i ident) ident {
	if i.client == m.from && i.clock >= m.base {
		return ident{m.to, i.clock - m.base}
	}
	return i
}

func (m move) ref(i *ident) *ident {
	if i == nil {
		return nil
	}
	moved := m.id(*i)
	return &moved
}

// reissue rewrites an update so that the edits of m.from become those of m.to. It must be given every update that
// made structs from m.base on, each with the same m.
func reissue(update []byte, m move) ([]byte, error) {
	c, err := parseChanges(update)
	if err != nil {
		return nil, err
	}
	for i := range c.structs {
		p := &c.structs[i]
		p.ident = m.id(p.ident)
		p.origin, p.right, p.parent = m.ref(p.origin), m.ref(p.right), m.ref(p.parent)
	}
	var deletes []erased
	for _, d := range c.deletes {
		deletes = append(deletes, m.erase(d)...)
	}
	c.deletes = joinErased(deletes)
	return (&changes{structs: sortPieces(c.structs), deletes: c.deletes}).encode(), nil
}

// erase rewrites a deleted range, which may lie on both sides of the base.
func (m move) erase(d erased) []erased {
	if d.client != m.from || d.to <= m.base {
		return []erased{d}
	}
	moved := erased{m.to, max(d.from, m.base) - m.base, d.to - m.base}
	if d.from < m.base {
		return []erased{{d.client, d.from, m.base}, moved}
	}
	return []erased{moved}
}

// reissueAll rewrites an update by several moves, one after the other.
func reissueAll(update []byte, moves []move) (_ []byte, err error) {
	for _, m := range moves {
		if update, err = reissue(update, m); err != nil {
			return nil, err
		}
	}
	return update, nil
}
