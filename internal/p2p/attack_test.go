package p2p

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"testing"

	"github.com/studio-whip/collab/identity"
	"github.com/studio-whip/collab/internal/testbed/scenario"
	"github.com/studio-whip/collab/internal/wire"
)

func (d device) prover(r Roster) *prover { return &prover{keys: d.keys, cert: d.cert, roster: r} }

var member = auth{kind: authRoster}

func guest(invite InviteAuth, exporter [32]byte) auth {
	return auth{kind: authInvite, invite: invite.Hash, mac: inviteMAC(invite.Key, exporter)}
}

// TestScenario102StrangersHearNothing sends a listener everything that somebody without authority can send, and expects it to
// hang up without a byte above TLS.
func TestScenario102StrangersHearNothing(t *testing.T) {
	scenario.Run(t, 102, "strangers at the listener over TCP and QUIC, with every proof that they can make: not one byte above TLS", func(t *testing.T) {
		anna, berta, carol := newDevice(t, "anna"), newDevice(t, "berta"), newDevice(t, "carol")
		stranger := newDevice(t, "stranger")
		hosted, other := inviteOf("hosted"), inviteOf("other")
		berta2 := berta // berta's transport key in a certificate that is not the roster's
		berta2.keys = &identity.DeviceKeys{DK: stranger.keys.DK, Peer: berta.keys.Peer, KEM: stranger.keys.KEM}
		var err error
		berta2.cert, err = identity.NewDeviceCert(identity.NewIdentityKey(seedOf("identity berta2")), berta.cert.Member, berta2.keys, 30)
		if err != nil {
			t.Fatal(err)
		}
		to := func(d device, signer device, a func(e [32]byte) auth) func(e [32]byte) []byte {
			return func(e [32]byte) []byte {
				return frameBytes(signer.prover(nil).dialerFrame(e, anna.cert.Peer, d.cert.ID, a(e)))
			}
		}
		asMember := func([32]byte) auth { return member }
		for _, tc := range []struct {
			name   string
			key    ed25519.PrivateKey
			send   func(exporter [32]byte) []byte
			reason error
		}{
			{"nothing, then closes", stranger.keys.Peer.Key(), func([32]byte) []byte { return nil }, nil},
			{"another protocol", stranger.keys.Peer.Key(), func([32]byte) []byte { return []byte("\x13/multistream/1.0.0\n") }, errFrameLength},
			{"a frame longer than allowed", stranger.keys.Peer.Key(), func([32]byte) []byte { return []byte{0, 1, 0, 0} }, errFrameLength},
			{"an empty frame", stranger.keys.Peer.Key(), func([32]byte) []byte { return frameBytes(nil) }, wire.ErrMalformed},
			{"half a frame", stranger.keys.Peer.Key(), func(e [32]byte) []byte { return to(anna, stranger, asMember)(e)[:5000] }, nil},
			{"a proof of an unknown device", stranger.keys.Peer.Key(), to(anna, stranger, asMember), ErrNotMember},
			{"a member's proof from another transport key", stranger.keys.Peer.Key(), to(anna, berta, asMember), ErrNotMember},
			{"a stranger's proof from a member's transport key", berta.keys.Peer.Key(), to(anna, stranger, asMember), ErrBadProof},
			{"another certificate for a member's transport key", berta.keys.Peer.Key(), to(anna, berta2, asMember), ErrBadProof},
			{"the same as a guest", berta.keys.Peer.Key(), to(anna, berta2, func(e [32]byte) auth { return guest(hosted, e) }), ErrBadProof},
			{"a proof to another listener's device", berta.keys.Peer.Key(), to(carol, berta, asMember), ErrBadProof},
			{"a guest of an unknown invite", stranger.keys.Peer.Key(), to(anna, stranger, func(e [32]byte) auth { return guest(other, e) }), ErrUnknownGuest},
			{"a guest with another invite's secret", stranger.keys.Peer.Key(), to(anna, stranger, func(e [32]byte) auth {
				return guest(InviteAuth{Hash: hosted.Hash, Key: other.Key}, e)
			}), ErrUnknownGuest},
			{"a guest's mac of another connection", stranger.keys.Peer.Key(), to(anna, stranger, func([32]byte) auth { return guest(hosted, [32]byte{1}) }), ErrUnknownGuest},
			{"a guest with somebody else's certificate", stranger.keys.Peer.Key(), to(anna, carol, func(e [32]byte) auth { return guest(hosted, e) }), ErrBadProof},
			{"a transfer claim", stranger.keys.Peer.Key(), to(anna, stranger, func([32]byte) auth {
				return auth{kind: authTransfer, transfer: [16]byte{1}}
			}), ErrBadProof},
		} {
			for _, transport := range transports {
				t.Run(tc.name+"/"+transport, func(t *testing.T) {
					checkLeaks(t)
					r := newRoster(anna, berta)
					r.host(hosted)
					seen := newRefusals()
					h := start(t, anna, r, seen.into)
					c, err := rawDial(t, transport, target(t, anna, h, transport), tc.key, hybridOnly)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := c.Write(tc.send(c.exporter)); err != nil {
						t.Fatal(err)
					}
					if c.quic != nil {
						c.Close() // this direction only
					} else {
						_ = c.ReadWriteCloser.(*tls.Conn).CloseWrite() // it may have hung up by now
					}
					if got := c.received(t); len(got) != 0 {
						t.Errorf("received %d bytes: %.40x…", len(got), got)
					}
					if tc.reason != nil { // nil: it hung up by itself
						seen.expect(t, tc.reason)
					}
					if n := len(h.Connected()); n != 0 {
						t.Errorf("%d devices are connected", n)
					}
				})
			}
		}
	})
}

// TestScenario103RecordedProof replays a member's own proof, taken from a connection that it made, on a connection
// that somebody made with the member's transport key.
func TestScenario103RecordedProof(t *testing.T) {
	scenario.Run(t, 103, "proofs recorded on one connection are replayed into another: closed without an answer", func(t *testing.T) {
		for _, transport := range transports {
			t.Run(transport, func(t *testing.T) {
				checkLeaks(t)
				anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
				seen := newRefusals()
				h := start(t, anna, newRoster(anna, berta), seen.into)
				to := target(t, anna, h, transport)
				first, err := rawDial(t, transport, to, berta.keys.Peer.Key(), hybridOnly)
				if err != nil {
					t.Fatal(err)
				}
				proof := frameBytes(berta.prover(nil).dialerFrame(first.exporter, anna.cert.Peer, anna.cert.ID, member))
				if _, err := first.Write(proof); err != nil {
					t.Fatal(err)
				}
				raw, err := readFrame(first)
				if err != nil {
					t.Fatalf("the honest proof is refused: %v", err)
				}
				if _, err := berta.prover(nil).checkListener(raw, first.exporter, anna.cert.Peer, anna.cert.ID); err != nil {
					t.Fatal(err)
				}
				for name, replay := range map[string][]byte{"dialer's": proof, "listener's": frameBytes(raw)} {
					second, err := rawDial(t, transport, to, berta.keys.Peer.Key(), hybridOnly)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := second.Write(replay); err != nil {
						t.Fatal(err)
					}
					if got := second.received(t); len(got) != 0 {
						t.Errorf("%s proof, replayed, was answered with %d bytes", name, len(got))
					}
					seen.expect(t, ErrBadProof)
				}
			})
		}
	})
}

// TestScenario103ListenersThatCannotProve dials a listener that has the transport key of the device dialed and nothing else.
func TestScenario103ListenersThatCannotProve(t *testing.T) {
	scenario.Run(t, 103, "a listener reflects the dialer's proof or shows one of another connection, role or device: refused", func(t *testing.T) {
		anna, berta, carol := newDevice(t, "anna"), newDevice(t, "berta"), newDevice(t, "carol")
		for _, tc := range []struct {
			name   string
			answer func(c *rawConn, dialers []byte) []byte
			want   error
		}{
			{"hangs up", func(*rawConn, []byte) []byte { return nil }, ErrRefused},
			{"reflects our proof", func(_ *rawConn, dialers []byte) []byte { return frameBytes(dialers) }, ErrWrongDevice},
			{"is another device", func(c *rawConn, _ []byte) []byte {
				return frameBytes(carol.prover(nil).listenerFrame(c.exporter, anna.cert.Peer, anna.cert.ID))
			}, ErrWrongDevice},
			{"shows the right certificate without its key", func(c *rawConn, _ []byte) []byte {
				p := &prover{keys: carol.keys, cert: berta.cert}
				return frameBytes(p.listenerFrame(c.exporter, anna.cert.Peer, anna.cert.ID))
			}, ErrWrongDevice},
			{"replays a proof of another connection", func(c *rawConn, _ []byte) []byte {
				return frameBytes(berta.prover(nil).listenerFrame([32]byte{1}, anna.cert.Peer, anna.cert.ID))
			}, ErrWrongDevice},
			{"proves to another dialer", func(c *rawConn, _ []byte) []byte {
				return frameBytes(berta.prover(nil).listenerFrame(c.exporter, carol.cert.Peer, carol.cert.ID))
			}, ErrWrongDevice},
			{"proves as a dialer", func(c *rawConn, _ []byte) []byte {
				return frameBytes(berta.prover(nil).dialerFrame(c.exporter, anna.cert.Peer, anna.cert.ID, member))
			}, ErrWrongDevice},
			{"sends no frame", func(*rawConn, []byte) []byte { return bytes.Repeat([]byte("nonsense"), 10) }, ErrRefused},
		} {
			for _, transport := range transports {
				t.Run(tc.name+"/"+transport, func(t *testing.T) {
					checkLeaks(t)
					addr := rawListen(t, transport, berta.keys.Peer.Key(), hybridOnly, func(c *rawConn) {
						raw, err := readFrame(c)
						if err != nil {
							t.Errorf("the dialer's proof: %v", err)
						}
						if _, err := c.Write(tc.answer(c, raw)); err != nil {
							t.Error(err)
						}
						if len(tc.answer(c, raw)) == 0 {
							c.hangUp()
							return
						}
						_, _ = io.Copy(io.Discard, c) // until the dialer hangs up
					})
					a := start(t, anna, newRoster(anna, berta))
					_, err := a.Dial(timeout(t), Target{Device: berta.cert.ID, Peer: berta.cert.Peer, Addrs: []string{addr}})
					if !errors.Is(err, tc.want) {
						t.Fatalf("%v, want %v", err, tc.want)
					}
					if n := len(a.Connected()); n != 0 {
						t.Errorf("%d devices are connected", n)
					}
				})
			}
		}
	})
}

// TestScenario103Spliced has broken Ed25519 and holds both transport keys: it ends two TLS channels and passes the
// proofs from one to the other.
func TestScenario103Spliced(t *testing.T) {
	scenario.Run(t, 103, "a man in the middle with both transport keys splices the proofs of two channels: refused", func(t *testing.T) {
		for _, transport := range transports {
			t.Run(transport, func(t *testing.T) {
				checkLeaks(t)
				anna, berta := newDevice(t, "anna"), newDevice(t, "berta")
				r := newRoster(anna, berta)
				seen := newRefusals()
				b := start(t, berta, r, seen.into)
				real := target(t, berta, b, transport)
				addr := rawListen(t, transport, berta.keys.Peer.Key(), hybridOnly, func(c *rawConn) {
					on, err := rawDial(t, transport, real, anna.keys.Peer.Key(), hybridOnly)
					if err != nil {
						t.Error(err)
						return
					}
					raw, err := readFrame(c)
					if err != nil {
						t.Error(err)
					}
					if err := writeFrame(on, raw); err != nil {
						t.Error(err)
					}
					if got := on.received(t); len(got) != 0 {
						t.Errorf("the listener answered a spliced proof with %d bytes", len(got))
					}
					c.hangUp()
				})
				a := start(t, anna, r)
				_, err := a.Dial(timeout(t), Target{Device: berta.cert.ID, Peer: berta.cert.Peer, Addrs: []string{addr}})
				if !errors.Is(err, ErrRefused) {
					t.Fatalf("%v, want %v", err, ErrRefused)
				}
				seen.expect(t, ErrBadProof)
				if len(a.Connected())+len(b.Connected()) != 0 {
					t.Error("somebody is connected")
				}
			})
		}
	})
}

// TestProofBindsEverything changes one thing that a proof signs at a time.
func TestProofBindsEverything(t *testing.T) {
	anna, berta, carol := newDevice(t, "anna"), newDevice(t, "berta"), newDevice(t, "carol")
	invite := inviteOf("one")
	r := newRoster(anna, berta, carol)
	r.host(invite)
	listener := berta.prover(r)
	e := [32]byte{7}
	good := func() transcript {
		return transcript{
			Role: roleDialer, Exporter: e, DialerPeer: anna.cert.Peer, ListenerPeer: berta.cert.Peer,
			DialerDevice: anna.cert.ID, ListenerDevice: berta.cert.ID, Auth: member,
		}
	}
	frameFor := func(claimed auth, signed transcript) []byte {
		var f frame
		if err := wire.Unmarshal(anna.prover(r).sign(signed), &f, MaxFrame); err != nil {
			t.Fatal(err)
		}
		f.Auth = claimed
		return wire.Marshal(f)
	}
	if _, err := listener.checkDialer(frameFor(member, good()), e, anna.cert.Peer); err != nil {
		t.Fatalf("the unchanged proof: %v", err)
	}
	for name, change := range map[string]func(*transcript){
		"role":            func(x *transcript) { x.Role = roleListener },
		"exporter":        func(x *transcript) { x.Exporter[31]++ },
		"dialer peer":     func(x *transcript) { x.DialerPeer = carol.cert.Peer },
		"listener peer":   func(x *transcript) { x.ListenerPeer = carol.cert.Peer },
		"dialer device":   func(x *transcript) { x.DialerDevice = carol.cert.ID },
		"listener device": func(x *transcript) { x.ListenerDevice = carol.cert.ID },
		"authorisation":   func(x *transcript) { x.Auth = guest(invite, e) },
		"both ends": func(x *transcript) {
			x.DialerPeer, x.ListenerPeer = x.ListenerPeer, x.DialerPeer
			x.DialerDevice, x.ListenerDevice = x.ListenerDevice, x.DialerDevice
		},
	} {
		x := good()
		change(&x)
		if _, err := listener.checkDialer(frameFor(member, x), e, anna.cert.Peer); !errors.Is(err, ErrBadProof) {
			t.Errorf("another %s signed: %v", name, err)
		}
	}
	x := good()
	x.Auth = guest(invite, e)
	res, err := listener.checkDialer(frameFor(x.Auth, x), e, anna.cert.Peer)
	if err != nil || res.class != Guest || res.invite != invite.Hash {
		t.Fatalf("a member that comes as a guest: %+v, %v", res, err)
	}
}
