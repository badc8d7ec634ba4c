package invite_test

import (
	"fmt"

	"github.com/studio-whip/collab/invite"
)

// A host application tells apart what a person pasted.
func ExampleParse() {
	_, err := invite.Parse("see you tomorrow")
	fmt.Println(err)
	// Output: invite: this is no invite code; copy the whole code from the invitation
}
