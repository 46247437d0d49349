package testenv

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Attributes are what a test says of one stream, for proxy_get_property; expr/context.cc has the list. Each field names
// the path that it answers, parts separated by dots. The zero value is a plaintext connection with no route or upstream
// yet. What follows from headers (request.path, request.headers, response.code, ...) is the host's to answer, and so is
// every field that says "0: the host".
//
// Nothing checks when a real Envoy would know a value: upstream.* only once the upstream connection stands,
// request.duration once the request is over, connection.termination_details once the connection is.
type Attributes struct {
	// Route is nil when no route matched; a filter then finds none of what it answers.
	Route *Route
	// Upstream is nil until an upstream host was chosen; a filter then finds none of what it answers.
	Upstream   *Upstream
	Request    RequestAttributes
	Response   ResponseAttributes
	Connection Connection
	// Source is the client's address and Destination the one it connected to, as "10.0.0.1:443", "[::1]:443" or the
	// path of a socket: source.address and destination.address with the port, source.port and destination.port from
	// it. Empty is not found.
	Source, Destination string
	Listener            Listener
	// Metadata is the stream's dynamic metadata: metadata.
	Metadata Metadata
	// Extra answers other paths, or overrides these: values of PropertyBytes by dotted path, which may go on inside the
	// value. Of several paths that fit, the longest counts.
	Extra map[string]any
}

// Route is the chosen route, its virtual host and its cluster.
type Route struct {
	Name     string   // xds.route_name, before 1.33 also route_name
	Metadata Metadata // xds.route_metadata, before 1.33 also route_metadata
	// VirtualHost and its metadata are xds.virtual_host_name and xds.virtual_host_metadata.
	VirtualHost         string
	VirtualHostMetadata Metadata
	// Cluster and its metadata are xds.cluster_name and xds.cluster_metadata, before 1.33 also cluster_name and
	// cluster_metadata. An empty Cluster, as of a redirect, makes both not found.
	Cluster         string
	ClusterMetadata Metadata
}

// Upstream is the host that the request goes to.
type Upstream struct {
	// Address is that of the host, in the forms of Attributes.Source: upstream.address, upstream.port.
	Address                string
	LocalAddress           string        // upstream.local_address; empty is not found
	TransportFailureReason string        // upstream.transport_failure_reason
	RequestAttempts        uint64        // upstream.request_attempt_count, 0 while Upstream is nil
	PoolReadyAfter         time.Duration // upstream.cx_pool_ready_duration; 0 is not found
	Locality               Locality      // upstream.locality
	Metadata               Metadata      // xds.upstream_host_metadata, before 1.33 also upstream_host_metadata
	// TLS is nil for a plaintext connection.
	TLS *TLS // upstream.tls_version, upstream.subject_peer_certificate, ...
}

// RequestAttributes are what of request.* does not come from headers.
type RequestAttributes struct {
	Time     time.Time     // request.time; 0: the host
	Protocol string        // request.protocol, as "HTTP/1.1"; empty: the host
	Duration time.Duration // request.duration; 0: the host
	// Size and TotalSize are request.size and request.total_size, in bytes; 0: the host. Envoy takes the size from
	// content-length if there is one, and counts headers into the total.
	Size, TotalSize int64
}

// ResponseAttributes are what of response.* does not come from headers.
type ResponseAttributes struct {
	CodeDetails    string        // response.code_details, as "via_upstream"; empty: the host
	Flags          int64         // response.flags, bits of StreamInfo's legacyResponseFlags
	BackendLatency time.Duration // response.backend_latency; 0 is not found
	// Size and TotalSize are response.size and response.total_size, in bytes; 0: the host.
	Size, TotalSize int64
}

// Connection is the downstream connection.
type Connection struct {
	ID                     uint64 // connection.id, connection_id
	RequestedServerName    string // connection.requested_server_name, the SNI
	TerminationDetails     string // connection.termination_details; empty is not found
	TransportFailureReason string // connection.transport_failure_reason; empty is not found
	// TLS is nil for a plaintext connection.
	TLS *TLS // connection.mtls, connection.tls_version, connection.subject_peer_certificate, ...
}

// TLS is what is known of a TLS connection, under connection. or upstream. The alternative names are the first of each
// kind; they and the digest are not found when empty.
type TLS struct {
	Version                                          string // tls_version, as "TLSv1.3"
	LocalSubject, PeerSubject                        string // subject_{local,peer}_certificate
	LocalURISAN, PeerURISAN, LocalDNSSAN, PeerDNSSAN string // {uri,dns}_san_{local,peer}_certificate
	PeerDigest                                       string // sha256_peer_certificate_digest, in hexadecimal
	PeerPresented                                    bool   // the peer presented a certificate: connection.mtls
}

// TrafficDirection is envoy.config.core.v3.TrafficDirection.
type TrafficDirection int64

// The directions of a listener.
const (
	TrafficUnspecified TrafficDirection = iota
	TrafficInbound
	TrafficOutbound
)

// Listener is the listener that accepted the connection.
type Listener struct {
	Direction       TrafficDirection // xds.listener_direction, before 1.33 also listener_direction
	Metadata        Metadata         // xds.listener_metadata, before 1.33 also listener_metadata
	FilterChainName string           // xds.filter_chain_name
}

// check reports, wrapped in ErrPropertyValue, every value that no property can have. A nil in Extra is Envoy's null.
func (a Attributes) check() error {
	var errs []error
	note := func(name string, m message) {
		if _, err := m.marshal(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	note("Metadata", a.Metadata)
	note("Listener.Metadata", a.Listener.Metadata)
	if r := a.Route; r != nil {
		note("Route.Metadata", r.Metadata)
		note("Route.VirtualHostMetadata", r.VirtualHostMetadata)
		note("Route.ClusterMetadata", r.ClusterMetadata)
	}
	if a.Upstream != nil {
		note("Upstream.Metadata", a.Upstream.Metadata)
	}
	for path, value := range a.Extra {
		if _, err := PropertyBytes(value); err != nil && value != nil {
			errs = append(errs, fmt.Errorf("path %q of Extra: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

// lookup answers a property of a stream on that node, by the parts of its path: OK, SerializationFailure, or NotFound,
// also for what is the host's to answer.
func (a Attributes) lookup(node Node, path []string) ([]byte, status) {
	for n := len(path); n > 0; n-- {
		if value, ok := a.Extra[strings.Join(path[:n], ".")]; ok {
			return property(value, path[n:])
		}
	}
	if len(path) == 0 {
		return property(nil, nil)
	}
	return property(a.root(path[0], node), path[1:])
}

// lookup answers a property outside of streams, where there is nothing but xds.node (evaluator.cc FindValue): OK,
// SerializationFailure or NotFound.
func (n Node) lookup(path []string) ([]byte, status) {
	switch {
	case len(path) == 0:
		return property(nil, nil)
	case path[0] != "xds":
		return nil, statusNotFound
	}
	return property(fields{"node": n}, path[1:])
}

// root returns what the first part of a path stands for.
func (a Attributes) root(name string, node Node) any {
	switch name {
	case "request":
		return a.Request.fields()
	case "response":
		return a.Response.fields()
	case "connection":
		return a.Connection.fields()
	case "connection_id":
		return a.Connection.ID
	case "upstream":
		return a.Upstream.fields()
	case "source":
		return fields{"address": unlessZero(a.Source), "port": port(a.Source)}
	case "destination":
		return fields{"address": unlessZero(a.Destination), "port": port(a.Destination)}
	case "metadata":
		return a.Metadata
	case "xds":
		return a.xds(node)
	}
	return absent{}
}

// attributeRoots are the first parts of paths that Envoy takes as its own (evaluator.cc): what a filter sets under such
// a name it never reads back.
var attributeRoots = map[string]bool{
	"request": true, "response": true, "connection": true, "upstream": true, "source": true, "destination": true,
	"metadata": true, "filter_state": true, "upstream_filter_state": true, "xds": true,
	"plugin_name": true, "plugin_root_id": true, "plugin_vm_id": true, "connection_id": true,
}

// bareAttributes are the names that lost their place at the root to xds. with Envoy 1.33 (its changelog, area wasm).
var bareAttributes = map[string]bool{
	"node": true, "listener_direction": true, "listener_metadata": true, "cluster_name": true, "cluster_metadata": true,
	"route_name": true, "route_metadata": true, "upstream_host_metadata": true,
}

// withXDS returns the path that Envoy 1.33 has for what a path meant before.
func withXDS(path []string) []string {
	if len(path) > 0 && bareAttributes[path[0]] {
		return append([]string{"xds"}, path...)
	}
	return path
}

// xds is what configuration says of the stream (XDSWrapper).
func (a Attributes) xds(node Node) fields {
	f := fields{
		"node":               node,
		"listener_direction": a.Listener.Direction,
		"listener_metadata":  a.Listener.Metadata,
		"filter_chain_name":  a.Listener.FilterChainName,
	}
	if r := a.Route; r != nil {
		f["route_name"], f["route_metadata"] = r.Name, r.Metadata
		f["virtual_host_name"], f["virtual_host_metadata"] = r.VirtualHost, r.VirtualHostMetadata
		if r.Cluster != "" {
			f["cluster_name"], f["cluster_metadata"] = r.Cluster, r.ClusterMetadata
		}
	}
	if a.Upstream != nil {
		f["upstream_host_metadata"] = a.Upstream.Metadata
	}
	return f
}

func (r RequestAttributes) fields() fields {
	f := fields{
		"protocol": unlessZero(r.Protocol), "duration": unlessZero(r.Duration),
		"size": unlessZero(r.Size), "total_size": unlessZero(r.TotalSize),
	}
	if !r.Time.IsZero() {
		f["time"] = r.Time
	}
	return f
}

func (r ResponseAttributes) fields() fields {
	return fields{
		"code_details": unlessZero(r.CodeDetails), "flags": r.Flags, "backend_latency": unlessZero(r.BackendLatency),
		"size": unlessZero(r.Size), "total_size": unlessZero(r.TotalSize),
	}
}

func (c Connection) fields() fields {
	f := c.TLS.fields()
	f["id"], f["requested_server_name"] = c.ID, c.RequestedServerName
	f["mtls"] = c.TLS != nil && c.TLS.PeerPresented
	f["termination_details"] = unlessZero(c.TerminationDetails)
	f["transport_failure_reason"] = unlessZero(c.TransportFailureReason)
	return f
}

func (u *Upstream) fields() fields {
	if u == nil {
		return fields{"request_attempt_count": uint64(0)}
	}
	f := u.TLS.fields()
	f["address"], f["port"] = unlessZero(u.Address), port(u.Address)
	f["local_address"] = unlessZero(u.LocalAddress)
	f["transport_failure_reason"] = u.TransportFailureReason
	f["request_attempt_count"] = u.RequestAttempts
	f["cx_pool_ready_duration"] = unlessZero(u.PoolReadyAfter)
	f["locality"] = u.Locality
	return f
}

// fields are those of a connection with TLS (extractSslInfo), none without.
func (t *TLS) fields() fields {
	if t == nil {
		return fields{}
	}
	return fields{
		"tls_version":               t.Version,
		"subject_local_certificate": t.LocalSubject, "subject_peer_certificate": t.PeerSubject,
		"uri_san_local_certificate": unlessZero(t.LocalURISAN), "uri_san_peer_certificate": unlessZero(t.PeerURISAN),
		"dns_san_local_certificate": unlessZero(t.LocalDNSSAN), "dns_san_peer_certificate": unlessZero(t.PeerDNSSAN),
		"sha256_peer_certificate_digest": unlessZero(t.PeerDigest),
	}
}

// unlessZero returns v, or absent for its zero value.
func unlessZero[T comparable](v T) any {
	var zero T
	if v == zero {
		return absent{}
	}
	return v
}

// port returns the port of an IP address as a number, or absent.
func port(address string) any {
	parsed, err := netip.ParseAddrPort(address)
	if err != nil {
		return absent{}
	}
	return int64(parsed.Port())
}
