package collab_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/crdt"
	"github.com/studio-whip/collab/governance"
)

func TestSetRole(t *testing.T) {
	c := gather(t, "Bob", "Cleo")
	ada, bob, cleo := c.sessions[0], c.sessions[1], c.sessions[2]
	docs := []*collab.Doc{open(t, ada, "script"), open(t, bob, "script"), open(t, cleo, "script")}
	insert(t, docs[1], 0, "Bob wrote. ")
	equal(t, docs...)
	ctx := t.Context()
	changes := collab.Subscribe[collab.MemberChanged](ctx, cleo)
	has := func(role collab.Role) {
		t.Helper()
		for _, s := range c.sessions {
			eventually(t, "all know the role", func() bool { return member(s, bob.Me().ID).Role == role })
		}
		for m := range changes {
			if m.Member.ID == bob.Me().ID && m.Member.Role == role {
				break
			}
		}
	}

	if err := ada.SetRole(ctx, bob.Me().ID, collab.RoleViewer); err != nil {
		t.Fatal(err)
	}
	has(collab.RoleViewer)
	edit := func() error {
		return docs[1].Update(func(tx *crdt.Txn) error { return docs[1].Text("body").Insert(tx, 0, "more ") })
	}
	err := edit()
	if err == nil {
		err = docs[1].WaitSaved(ctx)
	}
	if !errors.Is(err, collab.ErrDenied) {
		t.Errorf("a viewer writes: %v", err)
	}
	insert(t, docs[2], 0, "Cleo wrote. ")
	equal(t, docs...)
	if got := body(t, docs[1]); got != "Cleo wrote. Bob wrote. " {
		t.Errorf("the viewer reads %q", got)
	}

	if err := ada.SetRole(ctx, bob.Me().ID, collab.RoleEditor); err != nil {
		t.Fatal(err)
	}
	has(collab.RoleEditor)
	insert(t, docs[1], 0, "Bob again. ")
	equal(t, docs...)
	if err := ada.SetRole(ctx, bob.Me().ID, collab.RoleManager); err != nil {
		t.Fatal(err)
	}
	has(collab.RoleManager)
	var summaries []string
	for e, err := range cleo.Audit(collab.EventID{}) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(e.Kind, "Role") {
			summaries = append(summaries, e.Summary)
		}
	}
	if got := strings.Join(summaries, "; "); got != "Ada lowered Bob to viewer; Ada made Bob editor; Ada made Bob manager" {
		t.Errorf("the audit says %q", got)
	}
}

// What is refused says which rule, and what would be needed.
func TestSetRoleDenied(t *testing.T) {
	c := gather(t, "Bob", "Cleo")
	ada, bob, cleo := c.sessions[0], c.sessions[1], c.sessions[2]
	ctx := t.Context()
	for name, test := range map[string]struct {
		by     *collab.Session
		who    collab.MemberID
		role   collab.Role
		reason governance.Reason
		says   string
	}{
		"an editor raises":         {bob, cleo.Me().ID, collab.RoleManager, governance.ReasonRole, "needed: "},
		"an editor raises himself": {bob, bob.Me().ID, collab.RoleManager, governance.ReasonRole, "needed: "},
		"an editor lowers":         {bob, cleo.Me().ID, collab.RoleViewer, governance.ReasonRole, "needed: "},
		"a manager lowers himself": {ada, ada.Me().ID, collab.RoleEditor, governance.ReasonSubject, "needed: "},
		"somebody unknown":         {ada, collab.MemberID{1}, collab.RoleEditor, governance.ReasonAbsent, "needed: "},
		"a role that is none":      {ada, bob.Me().ID, collab.Role(25), governance.ReasonRole, "role"},
		"no role":                  {ada, bob.Me().ID, collab.Role(0), governance.ReasonRole, "role"},
	} {
		err := test.by.SetRole(ctx, test.who, test.role)
		var denied *collab.DeniedError
		if !errors.Is(err, collab.ErrDenied) || !errors.As(err, &denied) || denied.Reason != test.reason || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := ada.SetRole(ctx, bob.Me().ID, collab.RoleEditor); !errors.Is(err, collab.ErrNoChange) || errors.Is(err, collab.ErrDenied) {
		t.Errorf("the same role: %v", err)
	}
	if err := ada.SetRole(ctx, bob.Me().ID, collab.RoleManager); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is known", func() bool { return bob.Me().Role == collab.RoleManager })
	var denied *collab.DeniedError
	if err := ada.SetRole(ctx, bob.Me().ID, collab.RoleEditor); !errors.As(err, &denied) || denied.Reason != governance.ReasonQuorum || denied.Need != 2 {
		t.Errorf("one manager lowers another: %v", err)
	}
}
