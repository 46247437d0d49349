package bootstrap

import (
	"time"

	"github.com/tollgate/tollgate/testenv"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/accesslog"
)

// Config is everything wasmproxy does, read from one bootstrap file. All of it has been checked:
// every cluster that a route names exists, and the router is the last filter.
type Config struct {
	NodeID string
	// Listen is the host:port to accept on; port 0 asks the kernel for one.
	Listen string
	HTTP   HTTPOptions
	// Domains are the exact authorities served, in lower case; "*" serves all.
	Domains         []string
	VirtualHostName string
	// Routes are tried in order; the first match wins.
	Routes []Route
	// Filters are the wasm filters in the order a request meets them. There is at least one.
	Filters    []WasmFilter
	Clusters   []Cluster
	AccessLogs []AccessLog
}

// HTTPOptions are the connection manager's settings.
type HTTPOptions struct {
	NormalizePath        bool
	MergeSlashes         bool
	RejectEscapedSlashes bool
	Underscores          UnderscoreAction
	// UseRemoteAddress makes the proxy an edge: the peer's address and scheme and a fresh request
	// id replace or follow what the client sent.
	UseRemoteAddress bool
	// Trailers passes trailers to and from clients; without it they are dropped, as Envoy does.
	Trailers          bool
	MaxHeaderBytes    int
	MaxHeaders        int           // at least 1, Host among them
	HeaderReadTimeout time.Duration // 0 waits without limit
	IdleTimeout       time.Duration // of a kept-alive connection; 0 waits without limit
	// StreamIdleTimeout ends a stream on which no byte has moved, in either direction, for that
	// long; 0 waits without limit.
	StreamIdleTimeout time.Duration
}

// UnderscoreAction says what becomes of a request header whose name has an underscore.
type UnderscoreAction int

const (
	AllowUnderscores UnderscoreAction = iota
	RejectRequest
	DropHeader
)

// Route sends what it matches to a cluster. Exactly one of Path and Prefix is set.
type Route struct {
	Name    string
	Path    string
	Prefix  string
	Cluster string
	// Timeout runs from the end of the request to the end of the response; 0 is no limit.
	Timeout time.Duration
}

// WasmFilter is one wasm plugin of the filter chain. Its Filter has yet to be compiled, from Code. Values of its Env may
// be secret: never log it.
type WasmFilter struct {
	testenv.Plugin
	// Code is the module; Source says where it came from, for errors.
	Code   []byte
	Source string
}

// Cluster is a named set of endpoints, used in turn.
type Cluster struct {
	Name string
	// Endpoints are host:port; the host is a name only in a STRICT_DNS cluster.
	Endpoints      []string
	Network        string // "tcp", "tcp4" or "tcp6"
	ConnectTimeout time.Duration
	// Trailers passes trailers to and from this cluster.
	Trailers bool
}

// AccessLog is one sink of the access log.
type AccessLog struct {
	// Path is the file to append to; empty is standard output.
	Path   string
	Format *accesslog.Format
}
