package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// addressConnectTimeout is Envoy's default connect_timeout of a cluster; cluster.proto.
	addressConnectTimeout = 5 * time.Second
	// addressMaxAnswerHeaders is MAX_RESPONSE_HEADERS_KB of Envoy's http1/codec_impl.h, in bytes.
	addressMaxAnswerHeaders = 80 << 10
)

// errSwitched is an answer 101, which no callout can follow up.
var errSwitched = errors.New("the server switched protocols")

// AddressCluster is a Cluster that sends callouts over HTTP/1.1 to a real server at address ("host:port"), each over a
// connection of its own: nothing is sent twice, whatever its method, and nothing is left to close. The environment's
// proxies are not used, redirects not followed, bodies not decompressed, informational answers passed over.
//
// The request goes out as the filter wrote it, with these limits of net/http: headers are ordered by name, a repeated
// user-agent is sent once, an empty :authority becomes the address, transfer-encoding and trailer are the transport's
// own, and a :path that begins with "//" has characters escaped that no URL may hold. Trailers make the body chunked,
// without content-length. An answer's headers are ordered by name after :status, and lack the trailer header.
//
// No connection, or one that broke before the answer's headers, is an error of its own; a connection that broke
// later, or a body of more than DefaultMaxCalloutBytes, wraps ErrReset; the end of the context wraps its error.
func AddressCluster(address string) Cluster {
	dialer := &net.Dialer{Timeout: addressConnectTimeout}
	return &addressCluster{
		address: address,
		limit:   DefaultMaxCalloutBytes,
		transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "tcp", address)
			},
			DisableCompression: true,
			// DisableKeepAlives would do as well, but adds "connection: close" to the request.
			MaxIdleConnsPerHost:    -1,
			MaxResponseHeaderBytes: addressMaxAnswerHeaders,
		},
	}
}

type addressCluster struct {
	address   string
	limit     int // of an answer's body, in bytes
	transport *http.Transport
}

func (c *addressCluster) Call(ctx context.Context, req *CalloutRequest) (*CalloutResponse, error) {
	resp, err := c.exchange(ctx, req)
	switch {
	case err == nil:
		return resp, nil
	case ctx.Err() != nil:
		// What the transport says of a context that ended depends on where it was just then.
		return nil, fmt.Errorf("callout to %s: %w", c.address, ctx.Err())
	}
	return nil, fmt.Errorf("callout to %s: %w", c.address, err)
}

func (c *addressCluster) exchange(ctx context.Context, req *CalloutRequest) (*CalloutResponse, error) {
	resp, err := c.transport.RoundTrip(c.request(ctx, req))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, errSwitched
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(c.limit)+1))
	if err != nil {
		return nil, fmt.Errorf("%w: read the body: %w", ErrReset, err)
	}
	if len(body) > c.limit {
		return nil, fmt.Errorf("%w: the body exceeds %d bytes", ErrReset, c.limit)
	}
	if len(resp.TransferEncoding) > 0 {
		// net/http takes it out; Envoy's codec leaves it for filters to see.
		resp.Header["Transfer-Encoding"] = resp.TransferEncoding
	}
	return &CalloutResponse{
		Headers:  append([]Header{{":status", strconv.Itoa(resp.StatusCode)}}, sortedHeaders(resp.Header)...),
		Body:     body,
		Trailers: sortedHeaders(resp.Trailer),
	}, nil
}

func (c *addressCluster) request(ctx context.Context, req *CalloutRequest) *http.Request {
	m := newHeaderMap(req.Headers, nil)
	method, _ := m.get(":method")
	authority, _ := m.get(":authority")
	path, _ := m.get(":path")
	r := &http.Request{
		Method:        method,
		URL:           requestTarget(c.address, path),
		Host:          authority,
		Header:        regularHeaders(m.pairs),
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		ContentLength: int64(len(req.Body)),
	}
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header["User-Agent"] = nil // or the transport sends its own
	}
	if len(req.Body) > 0 || len(req.Trailers) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(req.Body))
	}
	if len(req.Trailers) > 0 {
		r.Trailer = regularHeaders(req.Trailers)
		r.TransferEncoding, r.ContentLength = []string{"chunked"}, -1
	}
	return r.WithContext(ctx)
}

// regularHeaders are headers without the pseudo headers.
func regularHeaders(headers []Header) http.Header {
	list := make(http.Header, len(headers)+1)
	for _, h := range headers {
		if !strings.HasPrefix(h[0], ":") {
			list.Add(h[0], h[1])
		}
	}
	return list
}

// requestTarget is the URL that net/http writes into the request line as path, byte for byte where it can.
func requestTarget(address, path string) *url.URL {
	u := &url.URL{Scheme: "http", Host: address}
	if !strings.HasPrefix(path, "//") {
		u.Opaque = path
		return u
	}
	// An opaque "//" would be sent with the scheme before it.
	var query bool
	u.Path, u.RawQuery, query = strings.Cut(path, "?")
	u.ForceQuery = query
	if plain, err := url.PathUnescape(u.Path); err == nil {
		u.Path, u.RawPath = plain, u.Path
	}
	return u
}
