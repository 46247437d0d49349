package testenv

import (
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fullAttributes has a value for every path.
func fullAttributes() Attributes {
	tls := func(side string) *TLS {
		return &TLS{
			Version: side + "v", LocalSubject: side + "ls", PeerSubject: side + "ps", LocalURISAN: side + "lu",
			PeerURISAN: side + "pu", LocalDNSSAN: side + "ld", PeerDNSSAN: side + "pd", PeerDigest: side + "d",
			PeerPresented: true,
		}
	}
	metadata := func(value any) Metadata { return Metadata{"ns": {"key": value}} }
	return Attributes{
		Route: &Route{
			Name: "r", Metadata: metadata(1), VirtualHost: "vh", VirtualHostMetadata: metadata("vh"),
			Cluster: "c", ClusterMetadata: metadata(true),
		},
		Upstream: &Upstream{
			Address: "10.0.0.2:8080", LocalAddress: "10.0.0.1:5000", TransportFailureReason: "tfr", RequestAttempts: 2,
			PoolReadyAfter: time.Millisecond, Locality: Locality{Region: "eu", Zone: "a", SubZone: "1"},
			Metadata: metadata("host"), TLS: tls("u"),
		},
		Request: RequestAttributes{
			Time: time.Unix(1, 5), Protocol: "HTTP/2", Duration: 3 * time.Nanosecond, Size: 7, TotalSize: 9,
		},
		Response: ResponseAttributes{
			CodeDetails: "via_upstream", Flags: 4, BackendLatency: time.Microsecond, Size: 11, TotalSize: 13,
		},
		Connection: Connection{
			ID: 21, RequestedServerName: "sni", TerminationDetails: "td", TransportFailureReason: "ctfr", TLS: tls("c"),
		},
		Source: "192.0.2.1:1234", Destination: "[2001:db8::1]:443",
		Listener: Listener{Direction: TrafficOutbound, Metadata: metadata("l"), FilterChainName: "fc"},
		Metadata: metadata("dynamic"),
	}
}

var testNode = Node{
	ID: "n1", Cluster: "edge", Metadata: map[string]any{"tier": "gold"}, Locality: Locality{Zone: "z"},
}

// integer is how a filter sees a 64-bit integer.
func integer(v int64) string { return string(littleEndian(uint64(v))) }

func TestAttributes(t *testing.T) {
	t.Parallel()
	full := fullAttributes()
	for path, want := range map[string]string{
		"xds.route_name": "r",
		"xds.route_metadata.filter_metadata.ns.key":         string(littleEndian(math.Float64bits(1))),
		"xds.virtual_host_name":                             "vh",
		"xds.virtual_host_metadata.filter_metadata.ns.key":  "vh",
		"xds.cluster_name":                                  "c",
		"xds.cluster_metadata.filter_metadata.ns.key":       "\x01",
		"xds.upstream_host_metadata.filter_metadata.ns.key": "host",
		"xds.listener_direction":                            integer(2),
		"xds.listener_metadata.filter_metadata.ns.key":      "l",
		"xds.filter_chain_name":                             "fc",
		"xds.node.id":                                       "n1",
		"xds.node.cluster":                                  "edge",
		"xds.node.metadata.tier":                            "gold",
		"xds.node.locality.zone":                            "z",
		"xds.node.locality.region":                          "",
		"metadata.filter_metadata.ns.key":                   "dynamic",
		"metadata.typed_filter_metadata":                    "\x00\x00\x00\x00",
		"upstream.address":                                  "10.0.0.2:8080",
		"upstream.port":                                     integer(8080),
		"upstream.local_address":                            "10.0.0.1:5000",
		"upstream.transport_failure_reason":                 "tfr",
		"upstream.request_attempt_count":                    integer(2),
		"upstream.cx_pool_ready_duration":                   integer(1e6),
		"upstream.locality.sub_zone":                        "1",
		"upstream.tls_version":                              "uv",
		"upstream.subject_local_certificate":                "uls",
		"upstream.subject_peer_certificate":                 "ups",
		"upstream.sha256_peer_certificate_digest":           "ud",
		"request.time":                                      integer(1e9 + 5),
		"request.protocol":                                  "HTTP/2",
		"request.duration":                                  integer(3),
		"request.size":                                      integer(7),
		"request.total_size":                                integer(9),
		"response.code_details":                             "via_upstream",
		"response.flags":                                    integer(4),
		"response.backend_latency":                          integer(1000),
		"response.size":                                     integer(11),
		"response.total_size":                               integer(13),
		"connection.id":                                     integer(21),
		"connection_id":                                     integer(21),
		"connection.requested_server_name":                  "sni",
		"connection.termination_details":                    "td",
		"connection.transport_failure_reason":               "ctfr",
		"connection.mtls":                                   "\x01",
		"connection.tls_version":                            "cv",
		"connection.uri_san_local_certificate":              "clu",
		"connection.uri_san_peer_certificate":               "cpu",
		"connection.dns_san_local_certificate":              "cld",
		"connection.dns_san_peer_certificate":               "cpd",
		"source.address":                                    "192.0.2.1:1234",
		"source.port":                                       integer(1234),
		"destination.address":                               "[2001:db8::1]:443",
		"destination.port":                                  integer(443),
	} {
		got, st := full.lookup(testNode, strings.Split(path, "."))
		if st != statusOK || string(got) != want {
			t.Errorf("%s = %q, status %d; want %q", path, got, st, want)
		}
	}
}

func TestAttributesStatus(t *testing.T) {
	t.Parallel()
	none, full := Attributes{}, fullAttributes()
	direct := Attributes{Route: &Route{Name: "redirect"}, Source: "/run/client.sock"}
	anonymous := Attributes{Connection: Connection{TLS: &TLS{}}}
	null := Attributes{Metadata: Metadata{"ns": {"null": nil, "list": []any{"a", nil}}}}
	for _, tt := range []struct {
		name       string
		attributes Attributes
		path       string
		want       string
		status     status
	}{
		{"no route", none, "xds.route_name", "", statusNotFound},
		{"no cluster", direct, "xds.cluster_name", "", statusNotFound},
		{"unnamed virtual host", direct, "xds.virtual_host_name", "", statusOK},
		{"no upstream", none, "upstream.address", "", statusNotFound},
		{"no upstream yet", none, "upstream.request_attempt_count", integer(0), statusOK},
		{"plaintext", none, "connection.mtls", "\x00", statusOK},
		{"plaintext version", none, "connection.tls_version", "", statusNotFound},
		{"no client certificate", anonymous, "connection.mtls", "\x00", statusOK},
		{"no alternative name", anonymous, "connection.dns_san_peer_certificate", "", statusNotFound},
		{"no SNI", none, "connection.requested_server_name", "", statusOK},
		{"no address", none, "source.address", "", statusNotFound},
		{"socket", direct, "source.address", "/run/client.sock", statusOK},
		{"port of a socket", direct, "source.port", "", statusNotFound},
		{"empty message", none, "metadata", "", statusOK},
		{"empty map", none, "metadata.filter_metadata", "\x00\x00\x00\x00", statusOK},
		{"missing namespace", full, "metadata.filter_metadata.other", "", statusNotFound},
		{"missing field", full, "metadata.other", "", statusNotFound},
		{"inside a string", full, "xds.route_name.x", "", statusNotFound},
		{"inside what is absent", none, "xds.route_metadata.filter_metadata", "", statusNotFound},
		{"whole group", full, "xds", "", statusSerializationFailure},
		{"null", null, "metadata.filter_metadata.ns.null", "", statusSerializationFailure},
		{"null in a list", null, "metadata.filter_metadata.ns.list", "", statusSerializationFailure},
		{"null in a map", null, "metadata.filter_metadata.ns", "", statusSerializationFailure},
		{"beside null", null, "metadata.filter_metadata.ns.list.0", "a", statusOK},
		{"past a list", null, "metadata.filter_metadata.ns.list.2", "", statusNotFound},
		{"before a list", null, "metadata.filter_metadata.ns.list.-1", "", statusNotFound},
		{"from headers", full, "request.path", "", statusNotFound},
		{"left to the host", none, "response.size", "", statusNotFound},
		{"no flags", none, "response.flags", integer(0), statusOK},
		{"bare name", full, "route_name", "", statusNotFound},
		{"bare node", full, "node.id", "", statusNotFound},
		{"unknown", full, "other.name", "", statusNotFound},
	} {
		got, st := tt.attributes.lookup(testNode, strings.Split(tt.path, "."))
		if st != tt.status || string(got) != tt.want {
			t.Errorf("%s: %s = %q, status %d; want %q, status %d", tt.name, tt.path, got, st, tt.want, tt.status)
		}
	}
	if _, st := full.lookup(testNode, nil); st != statusSerializationFailure {
		t.Errorf("empty path = status %d, want SerializationFailure", st)
	}
}

func TestAttributesExtra(t *testing.T) {
	t.Parallel()
	a := fullAttributes()
	a.Extra = map[string]any{
		"xds.route_name":         "overridden",
		"filter_state":           map[string]any{"wasm.x": []byte("state"), "io.test": map[string]int{"n": 3}},
		"filter_state.io.test":   map[string]string{"n": "longer"},
		"upstream.num_endpoints": uint64(5),
		"nothing":                nil,
	}
	for _, tt := range []struct {
		path   []string
		want   string
		status status
	}{
		{[]string{"xds", "route_name"}, "overridden", statusOK},
		{[]string{"filter_state", "wasm.x"}, "state", statusOK},
		{[]string{"filter_state", "io.test", "n"}, "longer", statusOK},
		{[]string{"filter_state", "wasm.x", "0"}, "", statusNotFound},
		{[]string{"filter_state", "other"}, "", statusNotFound},
		{[]string{"upstream", "num_endpoints"}, integer(5), statusOK},
		{[]string{"upstream", "num_endpoints", "x"}, "", statusNotFound},
		{[]string{"upstream", "port"}, integer(8080), statusOK},
		{[]string{"nothing"}, "", statusSerializationFailure},
	} {
		got, st := a.lookup(Node{}, tt.path)
		if st != tt.status || string(got) != tt.want {
			t.Errorf("%q = %q, status %d; want %q, status %d", tt.path, got, st, tt.want, tt.status)
		}
	}
}

func TestNodeOutsideStreams(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"xds.node.id": "n1", "xds.node.metadata.tier": "gold"} {
		if got, st := testNode.lookup(strings.Split(path, ".")); st != statusOK || string(got) != want {
			t.Errorf("%s = %q, status %d; want %q", path, got, st, want)
		}
	}
	for path, want := range map[string]status{
		"xds": statusSerializationFailure, "xds.listener_direction": statusNotFound, "xds.node.other": statusNotFound,
		"node.id": statusNotFound, "connection.id": statusNotFound, "metadata": statusNotFound,
	} {
		if got, st := testNode.lookup(strings.Split(path, ".")); st != want {
			t.Errorf("%s = %q, status %d; want status %d", path, got, st, want)
		}
	}
	if _, st := testNode.lookup(nil); st != statusSerializationFailure {
		t.Errorf("empty path = status %d, want SerializationFailure", st)
	}
}

// The bytes of messages are those of protoc's own encoding, with maps in order.
func TestPropertyMessages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		value any
		want  string // in hexadecimal
	}{
		{"empty metadata", Metadata{}, ""},
		{"empty struct", Metadata{"ns": nil}, "0a060a026e731200"},
		{"null", Metadata{"a": {"k": nil}}, "0a0e0a01611209" + "0a070a016b12020800"},
		{"number", Metadata{"a": {"k": -1}}, "0a150a01611210" + "0a0e0a016b120911000000000000f0bf"},
		{"string", Metadata{"a": {"k": ""}}, "0a0e0a01611209" + "0a070a016b12021a00"},
		{"boolean", Metadata{"a": {"k": true}}, "0a0e0a01611209" + "0a070a016b12022001"},
		{"struct", Metadata{"a": {"k": map[string]any{}}}, "0a0e0a01611209" + "0a070a016b12022a00"},
		{"list", Metadata{"a": {"k": []any{"x"}}}, "0a130a0161120e" + "0a0c0a016b120732050a031a0178"},
		{"order", Metadata{"b": nil, "a": nil}, "0a050a01611200" + "0a050a01621200"},
		{"order in a struct", Metadata{"a": {"4": "", "2": "", "3": "", "1": "", "5": ""}}, "0a320a0161122d" +
			"0a070a013112021a00" + "0a070a013212021a00" + "0a070a013312021a00" + "0a070a013412021a00" + "0a070a013512021a00"},
		{"locality", Locality{Region: "r", SubZone: "s"}, "0a0172" + "1a0173"},
		{"empty node", Node{}, ""},
		{"node", testNode, "0a026e31" + "120465646765" +
			"1a100a0e0a047469657212061a04676f6c64" + "220312017a"},
	} {
		got, err := PropertyBytes(tt.value)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, hex.EncodeToString(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestPropertyBytes(t *testing.T) {
	t.Parallel()
	type name string
	pair := func(name, value string) string { return string(pairsBytes([]Header{{name, value}})) }
	for _, tt := range []struct {
		value any
		want  string
	}{
		{"text", "text"},
		{name("named"), "named"},
		{[]byte{0, 1}, "\x00\x01"},
		{true, "\x01"},
		{false, "\x00"},
		{-2, "\xfe\xff\xff\xff\xff\xff\xff\xff"},
		{uint8(7), "\x07\x00\x00\x00\x00\x00\x00\x00"},
		{uint64(math.MaxUint64), strings.Repeat("\xff", 8)},
		{1.5, "\x00\x00\x00\x00\x00\x00\xf8\x3f"},
		{float32(1.5), "\x00\x00\x00\x00\x00\x00\xf8\x3f"},
		{time.Second, integer(1e9)},
		{time.Unix(2, 3), integer(2e9 + 3)},
		{map[string]string{}, "\x00\x00\x00\x00"},
		{map[string]any{"k": 1}, pair("k", integer(1))},
		{map[name]bool{"k": true}, pair("k", "\x01")},
		{map[string]any{"k": map[string]any{"l": "v"}}, pair("k", pair("l", "v"))},
		{[]any{}, "\x00\x00\x00\x00"},
		{[]string{"e"}, pair("e", "")},
		{map[string]string{"b": "2", "a": "1"}, string(pairsBytes([]Header{{"a", "1"}, {"b", "2"}}))},
	} {
		got, err := PropertyBytes(tt.value)
		if err != nil || string(got) != tt.want {
			t.Errorf("%#v = %q, %v; want %q", tt.value, got, err, tt.want)
		}
	}
	for _, value := range []any{
		nil, struct{}{}, map[int]string{}, map[string]any{"k": nil}, []any{nil}, [2]int{}, func() {}, fields{},
		Metadata{"ns": {"k": []byte("raw")}}, Node{Metadata: map[string]any{"k": time.Second}},
	} {
		if got, err := PropertyBytes(value); !errors.Is(err, ErrPropertyValue) {
			t.Errorf("%#v = %q, %v; want ErrPropertyValue", value, got, err)
		}
	}
}

// A filter's bytes are its own: writing to them changes no option.
func TestPropertyBytesAreCopied(t *testing.T) {
	t.Parallel()
	source := []byte("abc")
	got, err := PropertyBytes(source)
	if err != nil {
		t.Fatal(err)
	}
	got[0] = 'x'
	if string(source) != "abc" {
		t.Errorf("source became %q", source)
	}
}

func TestAttributesCheck(t *testing.T) {
	t.Parallel()
	bad := Metadata{"ns": {"k": time.Now()}}
	for name, a := range map[string]Attributes{
		"Metadata":                  {Metadata: bad},
		"Listener.Metadata":         {Listener: Listener{Metadata: bad}},
		"Route.Metadata":            {Route: &Route{Metadata: bad}},
		"Route.VirtualHostMetadata": {Route: &Route{VirtualHostMetadata: bad}},
		"Route.ClusterMetadata":     {Route: &Route{ClusterMetadata: bad}},
		"Upstream.Metadata":         {Upstream: &Upstream{Metadata: bad}},
		`path "x.y" of Extra`:       {Extra: map[string]any{"x.y": struct{}{}}},
	} {
		if err := a.check(); !errors.Is(err, ErrPropertyValue) || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	good := fullAttributes()
	good.Extra = map[string]any{"null": nil}
	for name, a := range map[string]Attributes{"zero": {}, "full": good} {
		if err := a.check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPathParts(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][]string{
		"": nil, "a": {"a"}, "a\x00": {"a"}, "a\x00b.c": {"a", "b.c"}, "\x00": {""}, "a\x00\x00": {"a", ""}, "\x00a": {"", "a"},
	} {
		if diff := cmp.Diff(want, pathParts(path)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", path, diff)
		}
	}
}

func TestWithXDS(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"route_name": "xds.route_name", "node.id": "xds.node.id", "xds.route_name": "xds.route_name",
		"request.path": "request.path", "virtual_host_name": "virtual_host_name",
	} {
		if got := strings.Join(withXDS(strings.Split(path, ".")), "."); got != want {
			t.Errorf("%s became %s, want %s", path, got, want)
		}
	}
	if got := withXDS(nil); len(got) != 0 {
		t.Errorf("the empty path became %q", got)
	}
}
