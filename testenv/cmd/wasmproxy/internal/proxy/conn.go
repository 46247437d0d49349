package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// lateHead answers a client whose head did not arrive in time, as Envoy does and net/http does not.
const lateHead = "HTTP/1.1 408 Request Timeout\r\n" +
	"Content-Type: text/plain\r\nContent-Length: 22\r\nConnection: close\r\n\r\n" +
	"request header timeout"

// lateHeadTime is how long a client that sends so slowly may take to accept the answer.
const lateHeadTime = time.Second

// listener hands out conns.
type listener struct {
	net.Listener
	accepted uint64
}

// Accept implements net.Listener, for one caller at a time.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.accepted++
	return &conn{Conn: c, id: l.accepted, opened: time.Now()}, nil
}

// conn is a client's connection under net/http's server, watched for what net/http does not tell.
type conn struct {
	net.Conn
	id     uint64 // of the listener's connections, from 1
	opened time.Time

	mu       sync.Mutex
	framing  framing
	taken    int       // heads that handlers have asked about
	deadline time.Time // of reads
	late     bool      // the client has been told that its head is late
}

type connKey struct{}

// withConn is the server's ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connectionID returns the number of the connection that ctx belongs to; 0 where the listener is another's.
func connectionID(ctx context.Context) uint64 {
	if c, ok := ctx.Value(connKey{}).(*conn); ok {
		return c.id
	}
	return 0
}

// framedTwice reports whether the request that ctx belongs to came with both Content-Length and
// Transfer-Encoding. Each request has to ask exactly once.
func framedTwice(ctx context.Context) bool {
	c, ok := ctx.Value(connKey{}).(*conn)
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken++
	return c.taken == c.framing.twice
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	c.framing.observe(p[:n])
	// A deadline from before the connection only wakes a read that is no longer wanted.
	late := !c.late && errors.Is(err, os.ErrDeadlineExceeded) && c.framing.inHead() && c.deadline.After(c.opened)
	c.late = c.late || late
	c.mu.Unlock()
	if late {
		c.answerLateHead()
	}
	return n, err
}

// answerLateHead writes beside net/http, which has no request and so no response under way. Errors
// do not matter: the connection closes next.
func (c *conn) answerLateHead() {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(lateHeadTime))
	_, _ = io.WriteString(c.Conn, lateHead)
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	return c.Conn.SetReadDeadline(t)
}

// CloseWrite lets net/http end its side before it closes, so that a client which still sends gets
// to read why it was refused.
func (c *conn) CloseWrite() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.CloseWrite()
	}
	return nil
}
