// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// connections bounds the connections to a server. Where another one is too many, the
// one that has done least for longest has to go: first those that have never sent a
// request, then those that are idle. Nobody who only opens connections can so keep the
// API server out. It is safe for concurrent use.
type connections struct {
	limit int

	mu     sync.Mutex
	states map[net.Conn]*list.Element // of the list of its state
	silent list.List                  // never sent a request, oldest first
	idle   list.List
	active list.List
}

func newConnections(limit int) *connections {
	return &connections{limit: limit, states: map[net.Conn]*list.Element{}}
}

// observe is the server's ConnState.
func (c *connections) observe(conn net.Conn, state http.ConnState) {
	if surplus := c.set(conn, state); surplus != nil {
		_ = surplus.Close() // its state changes then
	}
}

// set notes the state, and returns a connection that has to go, or nil.
func (c *connections) set(conn net.Conn, state http.ConnState) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(conn)
	switch state {
	case http.StateNew:
		c.states[conn] = c.silent.PushBack(conn)
	case http.StateIdle:
		c.states[conn] = c.idle.PushBack(conn)
	case http.StateActive:
		c.states[conn] = c.active.PushBack(conn)
	default:
		return nil // it has ended
	}
	if len(c.states) <= c.limit {
		return nil
	}
	for _, l := range []*list.List{&c.silent, &c.idle} {
		if oldest := l.Front(); oldest != nil && oldest.Value != conn {
			surplus := oldest.Value.(net.Conn)
			c.forget(surplus)
			return surplus
		}
	}
	c.forget(conn)
	return conn // all others are at work
}

func (c *connections) forget(conn net.Conn) {
	e, ok := c.states[conn]
	if !ok {
		return
	}
	delete(c.states, conn)
	for _, l := range []*list.List{&c.silent, &c.idle, &c.active} {
		l.Remove(e) // does nothing in the lists of which it is none
	}
}
