package testenv

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Request is what a client sends. Method defaults to GET, Path to /, Host to gate.test, Scheme to http. Headers follow the
// pseudo headers in the order given.
type Request struct {
	Method, Path, Host, Scheme string
	Headers                    []Header
	Body                       []byte
	// ChunkSize cuts the body into several pieces; 0 sends it as one. ChunkGap is the time between them. Neither may be
	// negative.
	ChunkSize int
	ChunkGap  time.Duration
	Trailers  []Header
	// Attributes answer the filters' proxy_get_property. An empty Source is 127.0.0.1:1: every client has an address.
	Attributes Attributes
	// Worker serves the request, from 1; 0 lets the seed choose.
	Worker int
	// ResponseChunkSize cuts the upstream's body into several pieces; 0 passes it as one. It may not be negative.
	ResponseChunkSize int
}

func (r Request) withDefaults() Request {
	setDefault(&r.Method, http.MethodGet)
	setDefault(&r.Path, "/")
	setDefault(&r.Host, "gate.test")
	setDefault(&r.Scheme, "http")
	setDefault(&r.Attributes.Source, "127.0.0.1:1")
	return r
}

// check says which field nothing can be sent from.
func (r Request) check() error {
	switch {
	case r.ChunkSize < 0:
		return fmt.Errorf("%w: Request.ChunkSize %d is negative", ErrOptions, r.ChunkSize)
	case r.ChunkGap < 0:
		return fmt.Errorf("%w: Request.ChunkGap %v is negative", ErrOptions, r.ChunkGap)
	case r.ResponseChunkSize < 0:
		return fmt.Errorf("%w: Request.ResponseChunkSize %d is negative", ErrOptions, r.ResponseChunkSize)
	}
	return nil
}

// headers are the request's, with content-length for a body as clients send it.
func (r Request) headers() []Header {
	list := []Header{{":authority", r.Host}, {":path", r.Path}, {":method", r.Method}, {":scheme", r.Scheme}}
	list = append(list, r.Headers...)
	said := slices.ContainsFunc(r.Headers, func(h Header) bool { return lower(h[0]) == "content-length" && h[1] != "" })
	if len(r.Body) > 0 && !said {
		list = append(list, Header{"content-length", strconv.Itoa(len(r.Body))})
	}
	return list
}

func (r Request) pieces() []piece { return pieces(r.headers(), r.Body, r.ChunkSize, r.Trailers) }

func responsePieces(r *CalloutResponse, chunk int) []piece {
	return pieces(r.Headers, r.Body, chunk, r.Trailers)
}

// pieces cuts a message; chunk 0 leaves the body whole.
func pieces(headers []Header, body []byte, chunk int, trailers []Header) []piece {
	list := []piece{{part: partHeaders, headers: headers}}
	if chunk <= 0 {
		chunk = max(len(body), 1)
	}
	for c := range slices.Chunk(body, chunk) {
		list = append(list, piece{part: partBody, body: c})
	}
	if len(trailers) > 0 {
		list = append(list, piece{part: partTrailers, headers: trailers})
	}
	list[len(list)-1].end = true
	return list
}
