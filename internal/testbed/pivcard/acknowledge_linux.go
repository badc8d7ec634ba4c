package pivcard

import (
	"net"
	"syscall"
)

// acknowledge sends the next acknowledgement at once. The driver writes length and message apart and waits between them
// for ours, which Linux delays by 40 ms otherwise. The option holds until the kernel thinks better of it.
func acknowledge(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
		})
	}
}
