package pivcard

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"
)

// network is a thread in a network namespace of its own, which has a loopback interface and nothing else.
type network struct{ work chan func() }

func newNetwork() (*network, error) {
	n, made := &network{work: make(chan func())}, make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with this goroutine
		err := syscall.Unshare(syscall.CLONE_NEWNET)
		if err == nil {
			err = loopbackUp()
		}
		made <- err
		for fn := range n.work {
			fn()
		}
	}()
	if err := <-made; err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// run runs fn in the namespace: the sockets that it opens and the processes that it starts belong there.
func (n *network) run(fn func()) {
	done := make(chan struct{})
	n.work <- func() {
		defer close(done)
		fn()
	}
	<-done
}

func (n *network) close() { close(n.work) }

// loopbackUp switches on the loopback interface, which a new namespace has switched off.
func loopbackUp() error {
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer syscall.Close(s)
	request := struct { // ifreq of netdevice(7)
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP}
	copy(request.name[:], "lo")
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return fmt.Errorf("switch on the loopback interface: %w", errno)
	}
	return nil
}
