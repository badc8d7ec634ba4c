package governance

import (
	"github.com/studio-whip/collab/crypto/derive"
	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/wire"
)

// ProofHash returns H("invite-proof", key), by which an [InviteCreate] names the proof key of its secret.
func ProofHash(proofPub []byte) wire.ID { return derive.ID("invite-proof", proofPub) }

// InviteProof returns what the proof key signs, as a record of type invite-proof: the joiner's certificates, the
// host that admits, and the transcript hash th of their handshake.
func InviteProof(project genesis.ProjectID, invite InviteID, identityCert wire.ID, device, host identity.DeviceID, th wire.ID) []byte {
	return wire.Marshal([]any{project, invite, identityCert, device, host, th})
}
