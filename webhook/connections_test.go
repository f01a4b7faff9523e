// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestConnectionsMakeRoom (R18): whoever opens connections and sends nothing does not
// keep the API server out.
func TestConnectionsMakeRoom(t *testing.T) {
	opts := testOptions(t)
	opts.MaxConnections = 3
	client, reviews, _, stop := runServer(t, opts)
	address := opts.Listener.Addr().String()
	var silent []net.Conn
	for range 20 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		require.NoError(t, err)
		silent = append(silent, conn)
		status, problem := get(t, client, reviews+ValidatePath)
		require.Equal(t, http.StatusMethodNotAllowed, status, problem)
	}
	for _, conn := range silent[:len(silent)-3] {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err := conn.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it is still open")
	}
	for _, conn := range silent {
		require.NoError(t, conn.Close())
	}
	require.NoError(t, stop())
}

// conn is a connection by name.
type conn struct {
	net.Conn
	name string
}

func TestConnectionsGo(t *testing.T) {
	const newConn, active, idle, closed = http.StateNew, http.StateActive, http.StateIdle, http.StateClosed
	type step struct {
		name  string
		state http.ConnState
		gone  string
	}
	for name, steps := range map[string][]step{
		"the one that is silent for longest":   {{"a", newConn, ""}, {"b", newConn, ""}, {"c", newConn, "a"}, {"d", newConn, "b"}},
		"silent ones before idle ones":         {{"a", newConn, ""}, {"a", idle, ""}, {"b", newConn, ""}, {"c", newConn, "b"}},
		"the one that is idle for longest":     {{"a", newConn, ""}, {"a", active, ""}, {"b", newConn, ""}, {"b", idle, ""}, {"a", idle, ""}, {"c", newConn, "b"}},
		"the new one where others are at work": {{"a", newConn, ""}, {"a", active, ""}, {"b", newConn, ""}, {"b", active, ""}, {"c", newConn, "c"}},
		"none where one has ended":             {{"a", newConn, ""}, {"b", newConn, ""}, {"a", closed, ""}, {"c", newConn, ""}},
		"none twice":                           {{"a", newConn, ""}, {"b", newConn, ""}, {"c", newConn, "a"}, {"a", closed, ""}, {"d", newConn, "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConnections(2)
			conns := map[string]*conn{}
			for _, s := range steps {
				if conns[s.name] == nil {
					conns[s.name] = &conn{name: s.name}
				}
				var gone string
				if surplus := c.set(conns[s.name], s.state); surplus != nil {
					gone = surplus.(*conn).name
				}
				require.Equal(t, s.gone, gone, "%s becomes %v", s.name, s.state)
			}
		})
	}
}

// TestConnectionsAreForgotten: the books are empty when all have ended.
func TestConnectionsAreForgotten(t *testing.T) {
	c := newConnections(10)
	for i := range 100 {
		one := &conn{}
		for _, state := range []http.ConnState{http.StateNew, http.StateActive, http.StateIdle, http.StateActive, http.StateClosed}[i%2:] {
			c.set(one, state)
		}
	}
	require.Empty(t, c.states)
	require.Zero(t, c.silent.Len()+c.idle.Len()+c.active.Len())
}
