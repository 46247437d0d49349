package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// spending is what a way has used of the processors for its requests, its client and, where that is known, its server. It
// shows whether the client, which runs on the cores that it measures, is what limits a way.
type spending struct {
	name           string
	pid            int // of the server; 0 if it is not one process
	client, server time.Duration
	requests       int
	before         time.Duration // of the server, when the round began
}

// spendings are those of a table's ways.
type spendings []*spending

func (s *spendings) named(name string, pid int) *spending {
	one := &spending{name: name, pid: pid}
	*s = append(*s, one)
	return one
}

// of returns rounds of n requests from c to the server.
func (s *spendings) of(name string, pid int, c *client, n int) func() time.Duration {
	one := s.named(name, pid)
	return func() time.Duration {
		one.begin()
		before := c.cpu
		took := c.send(n)
		one.end(c.cpu-before, n)
		return took
	}
}

func (s *spending) begin() { s.before = timeOf(s.pid) }

func (s *spending) end(client time.Duration, requests int) {
	s.client += client
	s.server += timeOf(s.pid) - s.before
	s.requests += requests
}

// usedBy is what a program has used that has ended.
func usedBy(p *os.ProcessState) time.Duration { return p.UserTime() + p.SystemTime() }

// table shows the spendings of ways that have been measured.
func (s *spendings) table(ways []way) string {
	var b strings.Builder
	b.WriteString("| processor time of a request | client, µs | server, µs |\n|---|---|---|\n")
	for _, w := range ways {
		for _, one := range *s {
			if one.name == w.name {
				b.WriteString(one.row())
			}
		}
	}
	return b.String()
}

func (s *spending) row() string {
	n := float64(max(s.requests, 1)) * float64(time.Microsecond)
	server := "not one process"
	if s.pid != 0 {
		server = digits(float64(s.server) / n)
	}
	return fmt.Sprintf("| %s | %s | %s |\n", s.name, digits(float64(s.client)/n), server)
}
