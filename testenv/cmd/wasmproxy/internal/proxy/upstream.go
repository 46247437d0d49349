package proxy

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
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/testenv"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
)

const (
	maxCalloutBody     = 1 << 20
	maxUpstreamHeaders = 60 << 10
	upstreamIdle       = 90 * time.Second
	idlePerEndpoint    = 512
)

// errConnect marks an error from before there was a connection.
var errConnect = errors.New("connect")

// cluster sends requests to its endpoints in turn over kept-alive connections. A host name is
// resolved at each new connection, where Envoy resolves ahead of time.
type cluster struct {
	endpoints []string
	trailers  bool
	next      atomic.Uint64
	transport *http.Transport
}

func newCluster(c bootstrap.Cluster) *cluster {
	dialer := &net.Dialer{Timeout: c.ConnectTimeout}
	return &cluster{
		endpoints: c.Endpoints,
		trailers:  c.Trailers,
		// Proxy stays unset: traffic must not follow the environment's proxies. The transport
		// repeats a request only where a kept-alive connection died under it and the request
		// was never sent, or has no body and a method that RFC 9110 calls safe.
		transport: &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				conn, err := dialer.DialContext(ctx, c.Network, addr)
				if err != nil {
					return nil, fmt.Errorf("%w: %w", errConnect, err)
				}
				return conn, nil
			},
			DisableCompression:     true,
			MaxIdleConnsPerHost:    idlePerEndpoint,
			IdleConnTimeout:        upstreamIdle,
			MaxResponseHeaderBytes: maxUpstreamHeaders,
		},
	}
}

func (c *cluster) close() { c.transport.CloseIdleConnections() }

func (c *cluster) pick() string {
	return c.endpoints[(c.next.Add(1)-1)%uint64(len(c.endpoints))]
}

// request builds the HTTP/1.1 request for an endpoint from a header list with pseudo headers. The
// caller sets the body.
func newRequest(ctx context.Context, endpoint string, headers []testenv.Header) *http.Request {
	r := &http.Request{
		Method:     value(headers, ":method"),
		URL:        targetURL(endpoint, value(headers, ":path")),
		Host:       value(headers, ":authority"),
		Header:     make(http.Header, len(headers)+1),
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
	}
	copyHeaders(r.Header, headers)
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header["User-Agent"] = nil // or the transport adds its own
	}
	return r.WithContext(ctx)
}

// targetURL keeps path and query byte for byte, which parsing and printing them would not.
func targetURL(endpoint, path string) *url.URL {
	u := &url.URL{Scheme: "http", Host: endpoint}
	if !strings.HasPrefix(path, "//") {
		u.Opaque = path
		return u
	}
	// An opaque "//" would be sent with the scheme before it.
	u.Path, u.RawQuery, _ = strings.Cut(path, "?")
	if plain, err := url.PathUnescape(u.Path); err == nil {
		u.Path, u.RawPath = plain, u.Path
	}
	return u
}

// Call sends a filter's callout. It implements testenv.Cluster.
func (c *cluster) Call(ctx context.Context, req *testenv.CalloutRequest) (*testenv.CalloutResponse, error) {
	r := newRequest(ctx, c.pick(), req.Headers)
	r.ContentLength = int64(len(req.Body))
	if len(req.Body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(req.Body))
	}
	resp, err := c.transport.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("callout to %s: %w", req.Cluster, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxCalloutBody+1))
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("callout to %s: %w", req.Cluster, ctx.Err())
	}
	if err != nil {
		return nil, fmt.Errorf("callout to %s: %w: %w", req.Cluster, testenv.ErrReset, err)
	}
	if len(body) > maxCalloutBody {
		return nil, fmt.Errorf("callout to %s: %w: the answer exceeds %d bytes", req.Cluster, testenv.ErrReset, maxCalloutBody)
	}
	return &testenv.CalloutResponse{
		Headers:  responseHeaders(resp),
		Body:     body,
		Trailers: trailerList(resp.Trailer),
	}, nil
}

// responseHeaders lists an upstream's headers with :status first.
func responseHeaders(resp *http.Response) []testenv.Header {
	headers := make([]testenv.Header, 0, len(resp.Header)+2)
	headers = append(headers, testenv.Header{":status", strconv.Itoa(resp.StatusCode)})
	return endToEnd(headers, resp.Header)
}
