package proxy

import (
	"strings"
	"testing"
)

func TestFraming(t *testing.T) {
	const (
		get     = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		length  = "POST / HTTP/1.1\r\nContent-Length: 31\r\n\r\n" + "GET / HTTP/1.1\r\nContent-Length:"
		chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n" +
			"1C;x=y\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n3 \r\nabc\r\n0\r\nContent-Length: 1\r\nx: y\r\n\r\n"
		twice = "POST / HTTP/1.1\r\ncontent-length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	)
	tests := []struct {
		name, bytes  string
		heads, twice int
		inHead       bool
	}{
		{"nothing", "", 0, 0, false},
		{"part of a request line", "G", 0, 0, true},
		{"part of a head", "GET / HTTP/1.1\r\nHost: a\r\n", 0, 0, true},
		{"a head", get, 1, 0, false},
		{"bare line feeds", "GET / HTTP/1.1\nHost: a\n\nGET", 1, 0, true},
		{"empty lines between requests", get + "\r\n" + get + "\r\n", 2, 0, false},
		{"a body that looks like a head", length, 1, 0, false},
		{"after a body", length + get + "G", 2, 0, true},
		{"a body of nothing", "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n" + get, 2, 0, false},
		{"chunks that look like heads", chunked, 1, 0, false},
		{"after chunks", chunked + get + length + chunked + get, 5, 0, false},
		{"within a chunk", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", 1, 0, false},
		{"framed twice", twice, 1, 1, false},
		{"framed twice later", get + chunked + length + twice + get, 5, 4, false},
		{"framed twice and twice", get + twice + twice, 3, 2, false},
		{"framed twice the other way round", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 1, 1, false},
		{"framed twice on a folded line", "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + get, 2, 1, false},
		{"a folded line of another header", "POST / HTTP/1.1\r\nContent-Length: 1\r\nx: a\r\n Transfer-Encoding: chunked\r\n\r\nx" + get, 2, 0, false},
		{"not HTTP/1.1", "GET / HTTP/1.0\r\n\r\n" + get, 0, 0, false},
		{"not a length", "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n" + get, 1, 0, false},
		{"not chunks", "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n" + get, 1, 0, false},
		{"not a chunk size", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + get, 1, 0, false},
		{"not a chunk's end", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n" + get, 1, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 2, 3, 7, len(tt.bytes) + 1} {
				var f framing
				for rest := tt.bytes; rest != ""; {
					n := min(size, len(rest))
					f.observe([]byte(rest[:n]))
					rest = rest[n:]
				}
				if f.heads != tt.heads || f.twice != tt.twice || f.inHead() != tt.inHead {
					t.Errorf("by %d bytes: %d heads, framed twice %d, in a head %t; want %d, %d, %t",
						size, f.heads, f.twice, f.inHead(), tt.heads, tt.twice, tt.inHead)
				}
			}
		})
	}
}

// The line that is being read must not outlive the head: bodies are not kept.
func TestFramingKeepsNoBody(t *testing.T) {
	var f framing
	f.observe([]byte("POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 500000)))
	if n := len(f.line); n != 0 {
		t.Errorf("%d bytes are kept", n)
	}
}
