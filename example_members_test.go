package collab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/studio-whip/collab"
	"github.com/studio-whip/collab/keystore/memory"
)

// crew is a project of a manager and editors. They are nodes of this program here; elsewhere each is a machine.
func crew(ctx context.Context, names ...string) (nodes []*collab.Node, sessions []*collab.Session) {
	for k, name := range names {
		n, err := collab.Open(ctx, collab.WithMemory(), collab.WithName(name), collab.WithListen("/ip4/127.0.0.1/udp/0/quic-v1"))
		if err != nil {
			log.Fatal(err)
		}
		var s *collab.Session
		if k == 0 {
			s, err = n.Create(ctx, "My film", collab.Ceremony{Threshold: 2, Custodians: []collab.Custodian{
				collab.KeyStoreCustodian(memory.New()), collab.KeyStoreCustodian(memory.New()),
			}})
		} else {
			code, e := sessions[0].Invite(ctx, collab.InviteOptions{})
			if e != nil {
				log.Fatal(e)
			}
			s, err = n.Join(ctx, code)
		}
		if err != nil {
			log.Fatal(err)
		}
		nodes, sessions = append(nodes, n), append(sessions, s)
	}
	return nodes, sessions
}

func wrapUp(nodes []*collab.Node) {
	for _, n := range nodes {
		_ = n.Close()
	}
}

// A manager decides on editors and viewers; a refusal says which rule stands in the way.
func ExampleSession_SetRole() {
	ctx := context.Background()
	nodes, s := crew(ctx, "Ada", "Ben")
	defer wrapUp(nodes)
	ada, ben := s[0], s[1]

	var denied *collab.DeniedError
	err := ben.SetRole(ctx, ben.Me().ID, collab.RoleManager)
	fmt.Println("Ben raises himself:", errors.As(err, &denied), denied.Reason)

	changes := collab.Subscribe[collab.MemberChanged](ctx, ben)
	if err := ada.SetRole(ctx, ben.Me().ID, collab.RoleViewer); err != nil {
		log.Fatal(err)
	}
	for c := range changes {
		if c.Member.Role == collab.RoleViewer {
			fmt.Println(c.Member.Name, "is a", c.Member.Role)
			break
		}
	}
	// Output:
	// Ben raises himself: true the author's role, or the role it gives, does not allow it
	// Ben is a viewer
}

// Until a manager can act, the members themselves hold back what somebody sends.
func ExampleSession_ProposeQuarantine() {
	ctx := context.Background()
	nodes, s := crew(ctx, "Ada", "Ben", "Cleo", "Dan")
	defer wrapUp(nodes)
	ada, ben, cleo, dan := s[0], s[1], s[2], s[3]

	proposals := collab.Subscribe[collab.ProposalChanged](ctx, cleo)
	changes := collab.Subscribe[collab.MemberChanged](ctx, ada)
	if _, err := ben.ProposeQuarantine(ctx, dan.Me().ID, "types over the whole script"); err != nil {
		log.Fatal(err)
	}
	p := (<-proposals).Proposal
	fmt.Printf("%v: %s; %d for it, %d missing\n", p.Kind, p.Reason, len(p.For), p.Needed)
	if err := cleo.Vote(ctx, p.ID, true); err != nil {
		log.Fatal(err)
	}
	for c := range changes {
		if c.Member.State == collab.MemberQuarantined {
			fmt.Println(c.Member.Name, "is held")
			break
		}
	}
	if err := ada.LiftQuarantine(ctx, dan.Me().ID); err != nil { // a manager's word is enough
		log.Fatal(err)
	}
	// Output:
	// quarantine: types over the whole script; 1 for it, 1 missing
	// Dan is held
}

// Whoever leaves is asked nothing: the program should ask.
func ExampleSession_Leave() {
	ctx := context.Background()
	nodes, s := crew(ctx, "Ada", "Ben")
	defer wrapUp(nodes)
	ada, ben := s[0], s[1]

	managers := 0
	for m := range ben.Members() {
		if m.ID != ben.Me().ID && m.Role == collab.RoleManager {
			managers++
		}
	}
	if managers == 0 {
		fmt.Println("You are the last manager. Name another one first.")
	}
	changes := collab.Subscribe[collab.MemberChanged](ctx, ada)
	if err := ben.Leave(ctx); err != nil {
		log.Fatal(err) // still a member: nobody was reached
	}
	<-ben.Done()
	fmt.Println(ben.Err())
	for c := range changes {
		if c.Member.State == collab.MemberRemoved {
			fmt.Println(c.Member.Name, "has gone")
			break
		}
	}
	// Output:
	// collab: left the project
	// Ben has gone
}

// The kit is printed on the first day and used on the worst one.
func ExampleNode_RevokeIdentity() {
	ctx := context.Background()
	nodes, s := crew(ctx, "Ada", "Ben")
	defer wrapUp(nodes)
	ada, ben := s[0], s[1]

	var paper bytes.Buffer // to a printer, and not to the disk
	if err := nodes[1].WriteRevocationKit(ctx, &paper); err != nil {
		log.Fatal(err)
	}
	err := nodes[1].WriteRevocationKit(ctx, &paper)
	fmt.Println("a second kit:", errors.Is(err, collab.ErrKitWritten))

	// Ben's machine is stolen. He brings the page to Ada.
	if err := nodes[0].RevokeIdentity(ctx, strings.NewReader(paper.String())); err != nil {
		log.Fatal(err)
	}
	<-ben.Done() // what the thief sees, if the machine is online
	fmt.Println(errors.Is(ben.Err(), collab.ErrRevoked))
	for m := range ada.Members() {
		fmt.Println(m.Name, m.Role)
	}
	// Unordered output:
	// a second kit: true
	// true
	// Ada manager
	// Ben none
}
