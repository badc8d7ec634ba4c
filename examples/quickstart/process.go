package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// process is the third person's process as the first sees it.
type process struct {
	cmd     *exec.Cmd
	orders  *json.Encoder
	reports chan report // closed when the process ends
}

// startProcess runs this program again as the third person. When ctx ends it is killed; when this process dies, it ends
// at the end of its input.
func startProcess(ctx context.Context) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "member")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, orders: json.NewEncoder(in), reports: make(chan report, 256)}
	go func() {
		defer close(p.reports)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var r report
			if json.Unmarshal(lines.Bytes(), &r) == nil {
				p.reports <- r
			}
		}
	}()
	return p, nil
}

// tell gives an order without waiting for its report.
func (p *process) tell(o order) error { return p.orders.Encode(o) }

// await returns the report on an order.
func (p *process) await(did string) (report, error) {
	for r := range p.reports {
		if r.Did != did {
			continue
		}
		if r.Err != "" {
			return r, fmt.Errorf("the third person cannot %s: %s", did, r.Err)
		}
		return r, nil
	}
	return report{}, errors.New("the third person's process ended early")
}

// ask gives an order and waits for its report.
func (p *process) ask(o order) (report, error) {
	if err := p.tell(o); err != nil {
		return report{}, err
	}
	return p.await(o.Do)
}

// kill ends the process as a power cut would: SIGKILL, nothing flushed.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	for range p.reports {
	}
	_ = p.cmd.Wait() // says only that it was killed
	return nil
}

// close asks the process to end and waits for it; one that does not obey is killed.
func (p *process) close() error {
	if _, err := p.ask(order{Do: "close"}); err != nil {
		return errors.Join(err, p.kill())
	}
	for range p.reports {
	}
	return p.cmd.Wait()
}
