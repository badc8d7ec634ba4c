package membership

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/studio-whip/collab/genesis"
	"github.com/studio-whip/collab/identity"
)

func TestAddressRecords(t *testing.T) {
	checkLeaks(t)
	anna, berta, pa, pb := couple(t)
	if err := pb.SetAddresses(timeout(t), []string{"/ip4/192.0.2.1/udp/4001/quic-v1"}); err != nil {
		t.Fatal(err)
	}
	is := func(want string) func() bool {
		return func() bool {
			got := pa.Addresses(berta.self.Device.ID)
			return len(got) == 1 && got[0] == want
		}
	}
	eventually(t, "the new address arrives", is("/ip4/192.0.2.1/udp/4001/quic-v1"))
	if err := pb.Pull(timeout(t), anna.self.Device.ID); err != nil { // does not bring back the transport's own
		t.Fatal(err)
	}
	record := func(signer Self, seq uint64, device identity.DeviceID, project genesis.ProjectID, addr string) []byte {
		r, err := newAddressRecord(signer.Keys, addressCore{Project: project, Device: device, Seq: seq, Addrs: []string{addr}})
		if err != nil {
			t.Fatal(err)
		}
		return r.raw
	}
	high := uint64(1) << 40
	if err := pa.takeAddresses([][]byte{
		record(berta.self, 1, berta.self.Device.ID, pa.ID(), "/old"),
		record(anna.self, high, berta.self.Device.ID, pa.ID(), "/forged"),
		record(berta.self, high, berta.self.Device.ID, genesis.ProjectID{1}, "/foreign"),
		record(selfOf(t, "carl"), high, selfOf(t, "carl").Device.ID, pa.ID(), "/stranger"),
	}); err != nil {
		t.Fatal(err)
	}
	if !is("/ip4/192.0.2.1/udp/4001/quic-v1")() || pa.Addresses(selfOf(t, "carl").Device.ID) != nil {
		t.Errorf("%q", pa.Addresses(berta.self.Device.ID))
	}
	if err := pa.takeAddresses([][]byte{record(berta.self, high, berta.self.Device.ID, pa.ID(), "/newer")}); err != nil || !is("/newer")() {
		t.Errorf("%v, %q", err, pa.Addresses(berta.self.Device.ID))
	}
	long := make([]string, 20)
	for i := range long {
		long[i] = fmt.Sprintf("/ip4/192.0.2.%d/tcp/1", i)
	}
	if err := pb.SetAddresses(timeout(t), append([]string{string(make([]byte, 300))}, long...)); err != nil {
		t.Fatal(err)
	}
	if got := pb.Addresses(berta.self.Device.ID); len(got) != MaxAddresses || got[0] != long[0] {
		t.Errorf("%q", got)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	h := hosting{MAC: [32]byte{0xab, 0xcd, 0xef}}
	js, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{fmt.Sprintf("%v %+v %#v %s %x", h, h, h, h, h), string(js)} {
		if bytes.Contains([]byte(out), []byte("171")) || bytes.Contains([]byte(out), []byte("abcdef")) {
			t.Errorf("prints a key: %s", out)
		}
	}
}
