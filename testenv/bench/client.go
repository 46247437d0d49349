package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// client sends HTTP/1.1 requests on connections that it keeps, one at a time on each, and costs as little as may be: it
// runs on the same cores as what it measures. Nothing is allocated for a request.
type client struct {
	b       *bench
	address string
	conns   []*clientConn
	sent    atomic.Int64
	// request appends the whole request of a number, and want is what its answer has to contain.
	request func(dst []byte, number int) []byte
	want    []byte
	// cpu is what this process has used while requests were sent.
	cpu time.Duration
}

type clientConn struct {
	net.Conn
	in      *bufio.Reader
	request []byte
}

// client connects with the first request: a server soon closes a connection on which nothing was ever sent.
func (b *bench) client(address string, connections int, want string, request func([]byte, int) []byte) *client {
	return &client{b: b, address: address, conns: make([]*clientConn, connections), request: request, want: []byte(want)}
}

func (c *client) connect() {
	for i := range c.conns {
		conn, err := net.Dial("tcp", c.address)
		c.b.check(err)
		c.b.Cleanup(func() { _ = conn.Close() })
		c.conns[i] = &clientConn{Conn: conn, in: bufio.NewReader(conn)}
	}
}

// send sends n further requests and returns the time for one.
func (c *client) send(n int) time.Duration {
	if c.conns[0] == nil {
		c.connect()
	}
	last := c.sent.Load() + int64(n)
	failed := make(chan error, len(c.conns))
	var wg sync.WaitGroup
	began, cpu := time.Now(), processTime()
	for _, conn := range c.conns {
		wg.Go(func() {
			for {
				number := c.sent.Add(1)
				if number > last {
					return
				}
				conn.request = c.request(conn.request[:0], int(number))
				if err := conn.exchange(c.want); err != nil {
					failed <- fmt.Errorf("request %d: %w", number, err)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	c.cpu += processTime() - cpu
	c.sent.Store(last) // each connection has taken a number to no avail
	select {
	case err := <-failed:
		c.b.check(err)
	default:
	}
	return took / time.Duration(n)
}

var lengthName = []byte("content-length:")

// exchange sends one request and reads its answer, which has a length and has to be 200.
func (c *clientConn) exchange(want []byte) error {
	if _, err := c.Write(c.request); err != nil {
		return err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	good, length := bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")), -1
	for len(line) > len("\r\n") {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return err
		}
		if n := len(lengthName); len(line) > n && bytes.EqualFold(line[:n], lengthName) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[n:]))); err != nil {
				return err
			}
		}
	}
	body, err := c.in.Peek(max(length, 0))
	if err != nil {
		return err
	}
	if length < 0 || !good || !bytes.Contains(body, want) {
		return fmt.Errorf("not 200, without a length, or not with %q: %s", want, body)
	}
	_, err = c.in.Discard(length)
	return err
}
