package proxy

import (
	"bytes"
	"strconv"
	"strings"
)

// part is what framing expects next.
type part int

const (
	partHead part = iota
	partBody
	partChunkSize
	partChunk
	partChunkEnd
	partTrailers
	partUnknown
)

// framing follows the bytes that a client sends and knows where each request's head begins and
// ends. It exists because net/http tells neither that it dropped a Content-Length beside a
// Transfer-Encoding nor that a head never arrived.
//
// What it sees decides a refusal at most, never where a request ends: that is net/http's. On bytes
// that it does not follow it gives up for good.
type framing struct {
	part    part
	line    []byte // of the current line, what has come
	left    uint64 // bytes until the body or the chunk ends
	current messageHead
	// heads counts the heads that have come whole; twice is the number of the first of them that
	// frames its body twice, 0 for none.
	heads, twice int
}

// messageHead is what a head has told so far.
type messageHead struct {
	begun            bool
	length, encoding *string
	last             *string // what a folded line continues
}

// inHead reports whether a head has begun and not ended.
func (f *framing) inHead() bool {
	return f.part == partHead && (f.current.begun || len(f.line) > 0)
}

// observe takes the next bytes of the connection.
func (f *framing) observe(p []byte) {
	for len(p) > 0 && f.part != partUnknown {
		if f.part == partBody || f.part == partChunk {
			n := min(f.left, uint64(len(p)))
			f.left -= n
			p = p[n:]
			f.endData()
			continue
		}
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			f.line = append(f.line, p...)
			return
		}
		f.line = append(f.line, p[:i]...)
		p = p[i+1:]
		line := string(bytes.TrimSuffix(f.line, []byte("\r")))
		f.line = f.line[:0]
		f.endLine(line)
	}
}

func (f *framing) endData() {
	switch {
	case f.left > 0:
	case f.part == partBody:
		f.nextMessage()
	default:
		f.part = partChunkEnd
	}
}

func (f *framing) endLine(line string) {
	switch f.part {
	case partHead:
		f.headLine(line)
	case partChunkSize:
		f.chunkSize(line)
	case partChunkEnd:
		f.part = partChunkSize
		if line != "" {
			f.part = partUnknown
		}
	case partTrailers:
		if line == "" {
			f.nextMessage()
		}
	}
}

func (f *framing) nextMessage() {
	f.part, f.current = partHead, messageHead{}
}

func (f *framing) headLine(line string) {
	h := &f.current
	switch {
	case !h.begun:
		// net/http passes over empty lines between requests.
		h.begun = line != ""
		if h.begun && !strings.HasSuffix(line, " HTTP/1.1") {
			f.part = partUnknown
		}
	case line == "":
		f.endHead()
	case line[0] == ' ' || line[0] == '\t':
		if h.last != nil {
			*h.last = strings.TrimSpace(*h.last + " " + strings.TrimSpace(line))
		}
	default:
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		h.last = nil
		switch {
		case strings.EqualFold(name, "content-length"):
			h.length, h.last = &value, &value
		case strings.EqualFold(name, "transfer-encoding"):
			h.encoding, h.last = &value, &value
		}
	}
}

func (f *framing) endHead() {
	h := f.current
	f.heads++
	if h.length != nil && h.encoding != nil && f.twice == 0 {
		f.twice = f.heads
	}
	switch {
	case h.encoding != nil && strings.EqualFold(*h.encoding, "chunked"):
		f.part = partChunkSize
	case h.encoding != nil:
		f.part = partUnknown
	case h.length != nil:
		n, err := strconv.ParseUint(*h.length, 10, 63)
		f.part, f.left = partBody, n
		if err != nil {
			f.part = partUnknown
		} else if n == 0 {
			f.nextMessage()
		}
	default:
		f.nextMessage()
	}
}

func (f *framing) chunkSize(line string) {
	digits, _, _ := strings.Cut(line, ";")
	n, err := strconv.ParseUint(strings.Trim(digits, " \t"), 16, 64)
	switch {
	case err != nil:
		f.part = partUnknown
	case n == 0:
		f.part = partTrailers
	default:
		f.part, f.left = partChunk, n
	}
}
