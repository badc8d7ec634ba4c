package secmem

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func TestLock(t *testing.T) {
	raw := []byte("hunter2")
	s := Lock(raw)
	defer s.Wipe()
	if string(s.Bytes()) != "hunter2" || s.Len() != 7 || cap(s.Bytes()) != 7 {
		t.Errorf("Bytes = %q of %d", s.Bytes(), cap(s.Bytes()))
	}
	if *s.page.Get() != nil && !bytes.Equal(raw, make([]byte, 7)) {
		t.Errorf("what was moved is still there: %q", raw)
	}
	for _, odd := range [][]byte{nil, make([]byte, os.Getpagesize()+1)} {
		s := Lock(odd)
		if s.Len() != len(odd) {
			t.Errorf("%d bytes: %d kept", len(odd), s.Len())
		}
		s.Wipe()
	}
}

// A page that is used again holds nothing of the secret before.
func TestPagesAreWiped(t *testing.T) {
	first := Lock(bytes.Repeat([]byte{7}, 100))
	page := *first.page.Get()
	if page == nil {
		t.Skip("this system does not lock memory, or not for this user")
	}
	first.Wipe()
	first.Wipe()
	if !bytes.Equal(page, make([]byte, len(page))) {
		t.Error("the page still holds the secret")
	}
	second, third := Lock([]byte{1}), Lock([]byte{2})
	defer second.Wipe()
	defer third.Wipe()
	if &(*second.page.Get())[0] == &(*third.page.Get())[0] {
		t.Error("two secrets share a page")
	}
}

// The kernel itself says that the page is locked and left out of dumps.
func TestKernelAgrees(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("read from /proc on Linux")
	}
	before := locked(t)
	var kept []*Bytes
	pages.mu.Lock()
	spare := len(pages.free)
	pages.mu.Unlock()
	for range spare + 1 {
		kept = append(kept, Lock([]byte("hunter2")))
	}
	if *kept[spare].page.Get() == nil {
		t.Skip("this user may lock no more memory")
	}
	if after := locked(t); after <= before {
		t.Errorf("%d KiB of this process are locked and left out of dumps, %d before", after, before)
	}
	for _, s := range kept {
		s.Wipe()
	}
}

// locked sums up the sizes of mappings that are locked (lo) and not dumped (dd), in KiB.
func locked(t *testing.T) (kib int) {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		switch fields[0] {
		case "Size:":
			if size, err = strconv.Atoi(fields[1]); err != nil {
				t.Fatal(err)
			}
		case "VmFlags:":
			if strings.Contains(line, " lo ") && strings.Contains(line, " dd ") {
				kib += size
			}
		}
	}
	return kib
}

func TestDo(t *testing.T) {
	ran := false
	Do(func() { ran = true })
	if !ran {
		t.Error("f did not run")
	}
	defer func() {
		if recover() != "mistake" {
			t.Error("the panic was lost")
		}
	}()
	Do(func() { panic("mistake") })
}
