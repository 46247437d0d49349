package testenv

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// reading asks the guest properties for properties by dotted path, in the callback of that name.
func reading(at, paths string) Request { return with("x-at", at, "x-read", paths) }

func TestPropertiesOfAStream(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Node: Node{ID: "node-1", Cluster: "edge"}}, Plugin{
		Filter: guest(t, "properties"), Name: "gate", RootID: "root", VMID: "vm",
	})
	of := Attributes{
		Route: &Route{
			Name: "chat", VirtualHost: "api", Cluster: "models",
			Metadata: Metadata{"tollgate": map[string]any{"cost": "3", "tags": []any{"a", "b"}}},
		},
		Upstream:   &Upstream{Address: "10.1.0.9:8443", TLS: &TLS{Version: "TLSv1.3"}},
		Connection: Connection{ID: 7, RequestedServerName: "sni.test", TLS: &TLS{PeerPresented: true, PeerSubject: "CN=me"}},
		Source:     "10.0.0.1:5000", Destination: "10.0.0.2:443",
		Listener: Listener{Direction: TrafficInbound},
		Metadata: Metadata{"envoy.lb": map[string]any{"canary": "yes"}},
		Extra:    map[string]any{"custom.thing": "mine"},
	}
	tests := []struct{ path, want string }{
		{"plugin_name", `"gate"`}, {"plugin_root_id", `"root"`}, {"plugin_vm_id", `"vm"`},
		{"xds.node.id", `"node-1"`}, {"xds.node.cluster", `"edge"`},
		{"request.path", `"/p?q=1"`}, {"request.url_path", `"/p"`}, {"request.query", `"q=1"`}, {"request.host", `"gate.test"`},
		{"request.method", `"GET"`}, {"request.scheme", `"http"`}, {"request.id", `"id-1"`}, {"request.useragent", `"curl"`},
		{"request.headers.x-twice", `"1,2"`}, {"request.headers.x-absent", "not found"},
		{"request.size", `"\x00\x00\x00\x00\x00\x00\x00\x00"`},
		{"source.address", `"10.0.0.1:5000"`}, {"source.port", `"\x88\x13\x00\x00\x00\x00\x00\x00"`},
		{"destination.address", `"10.0.0.2:443"`},
		{"connection.id", `"\a\x00\x00\x00\x00\x00\x00\x00"`}, {"connection.mtls", `"\x01"`},
		{"connection.requested_server_name", `"sni.test"`}, {"connection.subject_peer_certificate", `"CN=me"`},
		{"upstream.address", `"10.1.0.9:8443"`}, {"upstream.tls_version", `"TLSv1.3"`},
		{"xds.route_name", `"chat"`}, {"xds.virtual_host_name", `"api"`}, {"xds.cluster_name", `"models"`},
		{"xds.route_metadata.filter_metadata.tollgate.cost", `"3"`},
		{"xds.route_metadata.filter_metadata.tollgate.tags.1", `"b"`},
		{"xds.listener_direction", `"\x01\x00\x00\x00\x00\x00\x00\x00"`},
		{"metadata/filter_metadata/envoy.lb/canary", `"yes"`}, {"metadata.filter_metadata.envoy.lb.canary", "not found"},
		{"custom.thing", `"mine"`},
		// The bare names went with Envoy 1.33.
		{"node.id", "not found"}, {"cluster_name", "not found"}, {"route_name", "not found"}, {"upstream_host_metadata", "not found"},
		{"response.code", "not found"}, {"absent.path", "not found"},
	}
	for _, tt := range tests {
		q := reading("request", tt.path)
		q.Path, q.Attributes = "/p?q=1", of
		q.Headers = append(q.Headers, Header{"x-request-id", "id-1"}, Header{"user-agent", "curl"}, Header{"x-twice", "1"}, Header{"x-twice", "2"})
		wantMessages(t, h.Do(t, q).Logs, "request "+tt.path+" "+tt.want)
	}
}

// Attributes of headers are there as long as the headers, and in the access log phase again.
func TestPropertiesInEveryPhase(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "properties", "", Options{})
	q := reading("request body log", "request.path response.code response.headers.content-length")
	q.Body = []byte("x")
	wantMessages(t, h.Do(t, q).Logs,
		`request request.path "/"`, "request response.code not found", "request response.headers.content-length not found",
		"body request.path not found", "body response.code not found", "body response.headers.content-length not found",
		`log request.path "/"`, `log response.code "\xc8\x00\x00\x00\x00\x00\x00\x00"`, `log response.headers.content-length "1"`,
	)
	q = reading("response", "request.path response.headers.content-length")
	wantMessages(t, h.Do(t, q).Logs, "response request.path not found", `response response.headers.content-length "2"`)
}

// A response that never came by a filter is in its access log.
func TestPropertiesOfAResponseThatWentPast(t *testing.T) {
	t.Parallel()
	h := New(t, Options{}, named(t, "properties", "passed"), named(t, "local", "answers"))
	q := with("x-at", "response-headers log", "x-read", "response.code response.headers.x-mine")
	r := h.Check(t, q, Want{Status: 418})
	want := []string{`log response.code "\xa2\x01\x00\x00\x00\x00\x00\x00"`, `log response.headers.x-mine "1"`}
	if diff := cmp.Diff(want, saying("log ", r.Logs)); diff != "" {
		t.Errorf("logged (-want +got):\n%s", diff)
	}
}

func TestFilterState(t *testing.T) {
	t.Parallel()
	h := New(t, Options{}, Plugin{Filter: guest(t, "properties"), Name: "first", VMID: "1"}, Plugin{Filter: guest(t, "properties"), Name: "second", VMID: "2"})
	q := with("x-at", "request", "x-set", "tollgate=decided plugin_name=mine", "x-read", "tollgate plugin_name filter_state/wasm.tollgate filter_state/tollgate wasm.tollgate")
	r := h.Check(t, q, Want{FilterState: map[string]string{"wasm.tollgate": "decided"}})
	want := []string{
		"set tollgate <nil>", "set plugin_name <nil>",
		`request tollgate "decided"`,
		`request plugin_name "first"`, // attributes come first
		`request filter_state/wasm.tollgate "decided"`,
		"request filter_state/tollgate not found",
		"request wasm.tollgate not found",
	}
	second := slices.Clone(want)
	second[3] = `request plugin_name "second"`
	wantMessages(t, r.Logs, append(want, second...)...)
	state := map[string]string{"wasm.tollgate": "decided", "wasm.plugin_name": "mine"}
	if diff := cmp.Diff(state, r.FilterState); diff != "" {
		t.Errorf("filter state (-want +got):\n%s", diff)
	}

	// It is the stream's: the filters share it, other streams do not have it.
	q = with("x-at", "response log", "x-read", "tollgate")
	wantMessages(t, h.Do(t, q).Logs,
		"response tollgate not found", "response tollgate not found", "log tollgate not found", "log tollgate not found")
	q = with("x-at", "response", "x-set", "late=v", "x-read", "late")
	wantMessages(t, h.Do(t, q).Logs, "set late <nil>", `response late "v"`, "set late <nil>", `response late "v"`)
}

// Outside of streams there are the plugin's own names and the node, and nowhere to set anything.
func TestPropertiesOfThePlugin(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Node: Node{ID: "node-1"}}, Plugin{Filter: guest(t, "properties"), Name: "gate", RootID: "root", VMID: "vm"})
	h.Advance(time.Second)
	wantMessages(t, h.Logs(),
		`tick plugin_name "gate"`, `tick plugin_root_id "root"`, `tick plugin_vm_id "vm"`, `tick xds.node.id "node-1"`,
		"tick request.path not found", "tick own not found", "tick set not found",
	)
}
