package governance

// sources returns the strongly connected components of the undecided events that no edge from another undecided
// component enters, by Tarjan's algorithm without recursion.
func (c *contest) sources() [][]int {
	t := &tarjan{c: c, order: make([]int, len(c.list)), low: make([]int, len(c.list)), comp: make([]int, len(c.list))}
	for p := range c.list {
		if c.state[p] == undecided && t.order[p] == 0 {
			t.visit(p)
		}
	}
	entered := make([]bool, len(t.found)+1)
	for p, qs := range c.out {
		for _, q := range qs {
			if c.state[p] == undecided && c.state[q] == undecided && t.comp[p] != t.comp[q] {
				entered[t.comp[q]] = true
			}
		}
	}
	var out [][]int
	for k, members := range t.found {
		if !entered[k+1] {
			out = append(out, members)
		}
	}
	return out
}

// tarjan is the state of one search. Orders and components count from 1; 0 is unvisited.
type tarjan struct {
	c         *contest
	order     []int
	low       []int
	comp      []int
	next      int
	stack     []int
	found     [][]int
	positions []frame
}

// frame is a node being visited and the next of its edges.
type frame struct{ node, edge int }

func (t *tarjan) enter(p int) {
	t.next++
	t.order[p], t.low[p] = t.next, t.next
	t.stack = append(t.stack, p)
	t.positions = append(t.positions, frame{node: p})
}

func (t *tarjan) visit(root int) {
	t.enter(root)
	for len(t.positions) > 0 {
		f := &t.positions[len(t.positions)-1]
		if f.edge < len(t.c.out[f.node]) {
			q := t.c.out[f.node][f.edge]
			f.edge++
			switch {
			case t.c.state[q] != undecided:
			case t.order[q] == 0:
				t.enter(q)
			case t.comp[q] == 0:
				t.low[f.node] = min(t.low[f.node], t.order[q])
			}
			continue
		}
		p := f.node
		t.positions = t.positions[:len(t.positions)-1]
		if len(t.positions) > 0 {
			up := t.positions[len(t.positions)-1].node
			t.low[up] = min(t.low[up], t.low[p])
		}
		if t.low[p] == t.order[p] {
			t.close(p)
		}
	}
}

// close takes the component of which p is the first node off the stack.
func (t *tarjan) close(p int) {
	var members []int
	for {
		q := t.stack[len(t.stack)-1]
		t.stack = t.stack[:len(t.stack)-1]
		members = append(members, q)
		t.comp[q] = len(t.found) + 1
		if q == p {
			break
		}
	}
	t.found = append(t.found, members)
}
