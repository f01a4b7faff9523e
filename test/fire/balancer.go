// SPDX-License-Identifier: Apache-2.0

// Package fire tests what callers get while servers start, stop, die and hang.
package fire

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"sync"
)

// A balancer forwards TCP connections to endpoints as a Service does: each new one to
// any endpoint, and those that are open stay where they are, whatever becomes of the
// endpoint.
type balancer struct {
	listener net.Listener

	mu        sync.Mutex
	endpoints []string
	open      map[net.Conn]bool
}

func newBalancer(ctx context.Context) (*balancer, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &balancer{listener: listener, open: map[net.Conn]bool{}}
	go b.accept(ctx)
	return b, nil
}

// url is what callers call; the servers' certificate is for localhost.
func (b *balancer) url() string {
	_, port, _ := net.SplitHostPort(b.listener.Addr().String())
	return "https://localhost:" + port
}

func (b *balancer) set(endpoints []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endpoints = endpoints
}

// cut ends all connections.
func (b *balancer) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for conn := range b.open {
		_ = conn.Close()
	}
}

func (b *balancer) note(conn net.Conn, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if open {
		b.open[conn] = true
	} else {
		delete(b.open, conn)
	}
}

func (b *balancer) pick() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.endpoints) == 0 {
		return ""
	}
	return b.endpoints[rand.IntN(len(b.endpoints))]
}

func (b *balancer) accept(ctx context.Context) {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return // closed
		}
		go b.forward(ctx, conn)
	}
}

// forward connects both sides until one ends. Without an endpoint that accepts the
// caller is refused.
func (b *balancer) forward(ctx context.Context, caller net.Conn) {
	defer caller.Close()
	endpoint := b.pick()
	if endpoint == "" {
		return
	}
	server, err := new(net.Dialer).DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return
	}
	defer server.Close()
	b.note(server, true)
	defer b.note(server, false)
	done := make(chan struct{}, 2)
	one := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		done <- struct{}{}
	}
	go one(server, caller)
	go one(caller, server)
	<-done
}

func (b *balancer) close() { _ = b.listener.Close() }
