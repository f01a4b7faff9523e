// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Work that is done within progressAfter shows no bar.
const (
	progressAfter = time.Second
	progressEvery = 100 * time.Millisecond
	progressWidth = 30
)

// A progress shows how far the work is, in a line that is gone in the end. All methods
// are safe for concurrent use.
type progress struct {
	out         io.Writer // nil shows nothing
	done, total atomic.Int64
	label       atomic.Pointer[string]
	stop        chan struct{}
	group       sync.WaitGroup
}

// newProgress starts the bar on a terminal. On anything else there is none.
func newProgress(w io.Writer) *progress {
	p := &progress{stop: make(chan struct{})}
	p.begin("starting", 0)
	if isTerminal(w) {
		p.out = w
		p.group.Go(p.loop)
	}
	return p
}

// begin starts the next part of the work. Its total may be unknown, 0.
func (p *progress) begin(label string, total int64) {
	p.done.Store(0)
	p.total.Store(total)
	p.label.Store(&label)
}

// add says that some of the work is done.
func (p *progress) add(n int) { p.done.Add(int64(n)) }

// end removes the bar.
func (p *progress) end() {
	close(p.stop)
	p.group.Wait()
}

func (p *progress) loop() {
	wait := progressAfter
	for {
		select {
		case <-p.stop:
			if wait == progressEvery {
				fmt.Fprint(p.out, "\r\x1b[K")
			}
			return
		case <-time.After(wait):
			wait = progressEvery
			fmt.Fprint(p.out, "\r"+p.line()+"\x1b[K")
		}
	}
}

func (p *progress) line() string {
	done, total, label := p.done.Load(), p.total.Load(), *p.label.Load()
	if total <= 0 {
		return label
	}
	part := min(max(float64(done)/float64(total), 0), 1)
	full := int(part * progressWidth)
	return fmt.Sprintf("%-8s [%s%s] %3.0f %%", label, strings.Repeat("=", full), strings.Repeat(" ", progressWidth-full), 100*part)
}

// reader returns a reader of the same that adds the bytes.
func (p *progress) reader(r io.Reader) io.Reader { return &countedReader{r, p} }

type countedReader struct {
	io.Reader
	progress *progress
}

func (r *countedReader) Read(buf []byte) (int, error) {
	n, err := r.Reader.Read(buf)
	r.progress.add(n)
	return n, err
}
