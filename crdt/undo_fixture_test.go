package crdt

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

// undoScenario was recorded from Yjs: client 21 edits, undoes and redoes beside a remote writer.
type undoScenario struct {
	Kind, Root string
	Roots      map[string]string
	Client     uint64
	Converged  bool

	All    bool // tracks every root, not Root alone
	Join   bool // steps grow until Stop
	Ignore bool // IgnoreRemoteMapChanges

	Steps []struct {
		Stop       bool
		Ops        []fixtureOp
		Undo, Redo *bool
		Remote     []byte
		Emitted    [][]byte
		Echo       [][]byte // clean-ups of the remote writer, delivered after what was emitted
		UndoDepth  int
		RedoDepth  int
		State      any
	}
}

func undoExtras(t testing.TB) (out []extra) {
	var scenarios, more []undoScenario
	loadExtras(t, "undo", &scenarios)
	loadExtras(t, "undo-options", &more)
	for n, sc := range append(scenarios, more...) {
		out = append(out, extra{fmt.Sprintf("undo %d (%s)", n, sc.Kind), func() error {
			if _, err := sc.run(); sc.Converged { // else Yjs disagrees with itself
				return err
			}
			return nil
		}})
	}
	return out
}

// TestYjsUndo counts in how many scenarios undoing emits the very bytes that Yjs emits: in all, except where Yjs names
// neighbours that never met (see honestRight), which this engine does not.
func TestYjsUndo(t *testing.T) {
	var scenarios []undoScenario
	if !loadExtras(t, "undo", &scenarios) {
		t.Skip("the fixtures given have no recordings of undo")
	}
	exact := 0
	for _, sc := range scenarios {
		if sameBytes, _ := sc.run(); sameBytes {
			exact++
		}
	}
	t.Logf("the same bytes in %d of %d scenarios", exact, len(scenarios))
	if exact*10 < len(scenarios)*9 {
		t.Error("too few scenarios emit the bytes of Yjs")
	}
}

// run makes the recorded edits and undoes and redoes them: it must do what Yjs did.
func (sc *undoScenario) run() (sameBytes bool, err error) {
	sameBytes = true
	fx := &fixture{Roots: sc.Roots}
	d := New(WithClientID(sc.Client), WithFormatCleanup())
	var scope Shared
	_ = d.Update(func(tx *Txn) (err error) {
		scope, err = fx.at(d, tx, []any{sc.Root})
		return err
	})
	far := New(WithClientID(99)) // gets everything as updates: nothing brought back may be taken for forged
	o := UndoOptions{Scope: []Shared{scope}, IgnoreRemoteMapChanges: sc.Ignore}
	if sc.Join {
		o.Window, o.Now = time.Hour, func() time.Time { return time.Unix(1e9, 0) }
	}
	u := NewUndo(d, o)
	for name := range sc.Roots {
		if sc.All && name != sc.Root {
			_ = d.Update(func(tx *Txn) (err error) {
				scope, err = fx.at(d, tx, []any{name})
				return err
			})
			u.AddToScope(scope)
		}
	}
	defer u.Close()
	var emitted [][]byte
	d.OnUpdate(func(b []byte, o Origin) {
		if o.Local {
			emitted = append(emitted, b)
		}
	})
	for i, step := range sc.Steps {
		emitted = nil
		if step.Stop {
			u.StopCapturing()
		}
		switch {
		case step.Undo != nil:
			if got := u.Undo(); got != *step.Undo {
				err = fmt.Errorf("undone: %v", got)
			}
		case step.Redo != nil:
			if got := u.Redo(); got != *step.Redo {
				err = fmt.Errorf("redone: %v", got)
			}
		case step.Remote != nil:
			_, err = d.ApplyUpdate(step.Remote)
		default:
			err = d.Update(func(tx *Txn) error { return fx.edit(d, tx, step.Ops) })
		}
		mine := emitted
		for _, b := range step.Echo {
			if _, err := d.ApplyUpdate(b); err != nil {
				return false, err
			}
		}
		if err == nil {
			err = d.selfCheck()
		}
		if err != nil {
			return false, fmt.Errorf("step %d: %w", i, err)
		}
		if undo, redo := u.Steps(); undo != step.UndoDepth || redo != step.RedoDepth {
			return false, fmt.Errorf("step %d: %d steps to undo and %d to redo, want %d and %d", i, undo, redo, step.UndoDepth, step.RedoDepth)
		}
		if s := fx.state(d); !reflect.DeepEqual(s, step.State) {
			return false, fmt.Errorf("step %d: state: %s", i, difference(s, step.State))
		}
		if len(mine) != len(step.Emitted) {
			return false, fmt.Errorf("step %d: %d updates emitted, want %d", i, len(mine), len(step.Emitted))
		}
		for _, b := range slices.Concat([][]byte{step.Remote}, step.Emitted, step.Echo) {
			if len(b) > 0 {
				if _, err := far.ApplyUpdate(b); err != nil {
					return false, err
				}
			}
		}
		if s := fx.state(far); !reflect.DeepEqual(s, step.State) {
			return false, fmt.Errorf("step %d: state far away: %s", i, difference(s, step.State))
		}
		for k := range mine {
			sameBytes = sameBytes && bytes.Equal(mine[k], step.Emitted[k])
		}
	}
	return sameBytes, nil
}
