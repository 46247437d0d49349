package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// client sends HTTP/1.1 requests on connections that it keeps, one at a time on each, and costs as little as may be: it
// runs on the same cores as what it measures.
type client struct {
	b       *bench
	address string
	conns   []*clientConn
	sent    atomic.Int64
	// request is the whole request of a number, and want what its answer has to contain.
	request func(number int) []byte
	want    []byte
}

type clientConn struct {
	net.Conn
	in *bufio.Reader
}

// client connects with the first request: a server soon closes a connection on which nothing was ever sent.
func (b *bench) client(address string, connections int, want string, request func(int) []byte) *client {
	return &client{b: b, address: address, conns: make([]*clientConn, connections), request: request, want: []byte(want)}
}

func (c *client) connect() {
	for i := range c.conns {
		conn, err := net.Dial("tcp", c.address)
		c.b.check(err)
		c.b.Cleanup(func() { _ = conn.Close() })
		c.conns[i] = &clientConn{conn, bufio.NewReader(conn)}
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
	began := time.Now()
	for _, conn := range c.conns {
		wg.Go(func() {
			for {
				number := c.sent.Add(1)
				if number > last {
					return
				}
				if err := conn.exchange(c.request(int(number)), c.want); err != nil {
					failed <- fmt.Errorf("request %d: %w", number, err)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	c.sent.Store(last) // each connection has taken a number to no avail
	select {
	case err := <-failed:
		c.b.check(err)
	default:
	}
	return took / time.Duration(n)
}

// exchange sends one request and reads its answer, which has a length and has to be 200.
func (c *clientConn) exchange(request, want []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	head, length := []byte(nil), -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if head == nil {
			head = bytes.Clone(line)
		}
		name, value, _ := strings.Cut(string(line), ":")
		if strings.EqualFold(name, "content-length") {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return err
			}
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	if length < 0 {
		return fmt.Errorf("an answer without a length: %s", head)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return err
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) || !bytes.Contains(body, want) {
		return fmt.Errorf("answered %s%s", head, body)
	}
	return nil
}
