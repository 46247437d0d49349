package bootstrap_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/testenv"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
)

// base is a small file that every variant below changes in one place.
const base = `
node: {id: n1}
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          route_config:
            virtual_hosts:
            - name: v
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route: {cluster: up}
          http_filters:
          - name: w
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: p
                vm_config:
                  runtime: envoy.wasm.runtime.v8
                  code: {local: {filename: f.wasm}}
                  environment_variables: {host_env_keys: [A], key_values: {B: b}}
                configuration: {"@type": type.googleapis.com/google.protobuf.StringValue, value: "{}"}
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: up
    load_assignment:
      cluster_name: up
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 81}}}}]}]
`

const (
	hcm    = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"
	plugin = hcm + ".http_filters[0].typed_config.config"
)

// variant changes base by replacing old, which must occur, by new.
func variant(t *testing.T, old, new string) []byte {
	t.Helper()
	if !strings.Contains(base, old) {
		t.Fatalf("base has no %q", old)
	}
	return []byte(strings.Replace(base, old, new, 1))
}

func parse(data []byte) (*bootstrap.Config, error) {
	return bootstrap.Parse(data, hostWith("f.wasm", map[string]string{"A": "a"}))
}

func TestParseDefaults(t *testing.T) {
	cfg, err := parse([]byte(base))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cfg.Routes[0].Timeout.String(), "15s"; got != want {
		t.Errorf("route timeout = %s, want Envoy's default %s", got, want)
	}
	if cfg.HTTP.NormalizePath || cfg.HTTP.Trailers || cfg.HTTP.Underscores != bootstrap.AllowUnderscores {
		t.Errorf("http options = %+v, want Envoy's defaults", cfg.HTTP)
	}
	if cfg.HTTP.StreamIdleTimeout != 5*time.Minute || cfg.HTTP.MaxHeaders != 100 {
		t.Errorf("stream idle timeout %s, max headers %d, want Envoy's defaults", cfg.HTTP.StreamIdleTimeout, cfg.HTTP.MaxHeaders)
	}
	if cfg.Filters[0].FailurePolicy != testenv.FailClosed {
		t.Errorf("failure policy = %v, want FAIL_CLOSED where unset", cfg.Filters[0].FailurePolicy)
	}
	if diff := cmp.Diff(map[string]string{"A": "a", "B": "b"}, cfg.Filters[0].Env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestStreamLimits(t *testing.T) {
	cfg, err := parse(variant(t, "stat_prefix: s", "stat_prefix: s\n          stream_idle_timeout: 0s\n          common_http_protocol_options: {max_headers_count: 7}"))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.HTTP.StreamIdleTimeout != 0 || cfg.HTTP.MaxHeaders != 7 {
		t.Errorf("stream idle timeout %s, max headers %d, want 0s and 7", cfg.HTTP.StreamIdleTimeout, cfg.HTTP.MaxHeaders)
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		name, old, new string
		want           string
	}{
		{"not YAML", "node: {id: n1}", "node: {id: n1", "parse YAML"},
		{"duplicate key", "node: {id: n1}", "node: {id: n1}\nnode: {id: n2}", `"node"`},
		{"second document", "  clusters:", "---\n  clusters:", "more than one document"},
		{"unknown field", "stat_prefix: s", "stat_prefixx: s", `unknown field "stat_prefixx"`},
		{"wrong type", "port_value: 81", "port_value: many", "many"},
		{"negative idle timeout", "stat_prefix: s", "stat_prefix: s\n          stream_idle_timeout: -1s", hcm + ".stream_idle_timeout: is -1s, expected 0 or more"},
		{"no headers at all", "stat_prefix: s", "stat_prefix: s\n          common_http_protocol_options: {max_headers_count: 0}", "MaxHeadersCount"},
		{"bad enum", "stat_prefix: s", "stat_prefix: s\n          codec_type: HTTP9", "HTTP9"},
		{"unknown @type", "http.router.v3.Router", "http.router.v3.Rooter", "http.router.v3.Rooter"},
		{"empty stat_prefix", "stat_prefix: s", `stat_prefix: ""`, "HttpConnectionManager.StatPrefix"},
		{"negative timeout", "{cluster: up}", "{cluster: up, timeout: sometimes}", "sometimes"},
		{"admin", "static_resources:", "admin: {}\nstatic_resources:", "admin: not supported by wasmproxy"},
		{"listener TLS", "    - filters:", "    - transport_socket: {name: tls, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext}}\n      filters:",
			"static_resources.listeners[0].filter_chains[0].transport_socket: not supported by wasmproxy"},
		{"filter chain match", "    - filters:", "    - filter_chain_match: {destination_port: 1}\n      filters:", "static_resources.listeners[0].filter_chains[0].filter_chain_match: not supported"},
		{"two listeners", "  clusters:", "  - address: {socket_address: {address: 127.0.0.1, port_value: 1}}\n  clusters:", "static_resources.listeners: has 2 entries"},
		{"listener on a name", "address: 127.0.0.1, port_value: 0", "address: localhost, port_value: 0", `static_resources.listeners[0].address.socket_address.address: "localhost" is not an IP address`},
		{"UDP listener", "port_value: 0", "port_value: 0, protocol: UDP", "static_resources.listeners[0].address.socket_address.protocol: UDP"},
		{"HTTP/2 codec", "stat_prefix: s", "stat_prefix: s\n          codec_type: HTTP2", hcm + ".codec_type: HTTP2"},
		{"unescape slashes", "stat_prefix: s", "stat_prefix: s\n          path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD", hcm + ".path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD"},
		{"upgrades", "stat_prefix: s", "stat_prefix: s\n          upgrade_configs: [{upgrade_type: websocket}]", hcm + ".upgrade_configs[0]: not supported"},
		{"zero is still set", "stat_prefix: s", "stat_prefix: s\n          request_timeout: 0s", hcm + ".request_timeout: not supported"},
		{"two virtual hosts", "            - name: v", "            - {name: w, domains: [w]}\n            - name: v", hcm + ".route_config.virtual_hosts: has 2 entries"},
		{"suffix domain", `["*"]`, `["*.example.com"]`, hcm + ".route_config.virtual_hosts[0].domains[0]: *.example.com"},
		{"no routes", "              routes:\n              - match: {prefix: /}\n                route: {cluster: up}\n", "", hcm + ".route_config.virtual_hosts[0].routes: is empty"},
		{"regex route", "match: {prefix: /}", "match: {safe_regex: {regex: a}}", hcm + ".route_config.virtual_hosts[0].routes[0].match.safe_regex: not supported"},
		{"header match", "match: {prefix: /}", "match: {prefix: /, headers: [{name: a, present_match: true}]}", "routes[0].match.headers[0]: not supported"},
		{"retry policy", "{cluster: up}", "{cluster: up, retry_policy: {}}", "routes[0].route.retry_policy: not supported"},
		{"per-route filter config", "route: {cluster: up}", `route: {cluster: up}
                typed_per_filter_config: {w: {"@type": type.googleapis.com/google.protobuf.Struct, value: {}}}`, `routes[0].typed_per_filter_config["w"] (google.protobuf.Struct): not supported`},
		{"route to no cluster", "{cluster: up}", "{cluster: down}", `routes[0].route.cluster: no cluster "down"`},
		{"redirect", "route: {cluster: up}", "redirect: {https_redirect: true}", "routes[0].redirect: not supported"},
		{"router missing", "          - name: router\n            typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}\n", "", "the router must be the last http filter"},
		{"router first", "          http_filters:", "          http_filters:\n          - name: early\n            typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}", "http_filters[0] (early): the router must be the last"},
		{"type of another place", "extensions.filters.http.wasm.v3.Wasm\n", "config.core.v3.Node\n", `unknown field "config"`},
		{"wasm file missing", "f.wasm", "g.wasm", plugin + ".vm_config.code.local.filename: read the wasm module: open g.wasm"},
		{"remote code", "{local: {filename: f.wasm}}", "{remote: {sha256: aa, http_uri: {uri: u, cluster: up, timeout: 1s}}}", plugin + ".vm_config.code.remote: not supported"},
		{"other runtime", "envoy.wasm.runtime.v8", "python", plugin + ".vm_config.runtime"},
		{"env key twice", "host_env_keys: [A]", "host_env_keys: [A, B]", plugin + `.vm_config.environment_variables.host_env_keys[1]: "B" is given twice`},
		{"fail_open flag", "name: p\n", "name: p\n                fail_open: true\n", plugin + ".fail_open: not supported"},
		{"capabilities", "name: p\n", "name: p\n                capability_restriction_config: {allowed_capabilities: {proxy_log: {}}}\n", plugin + ".capability_restriction_config: not supported"},
		{"configuration of a wrong type", `{"@type": type.googleapis.com/google.protobuf.StringValue, value: "{}"}`, `{"@type": type.googleapis.com/google.protobuf.Duration, value: 1s}`, plugin + ".configuration (google.protobuf.Duration): not supported"},
		{"unknown log operator", "stat_prefix: s", `stat_prefix: s
          access_log:
          - typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
              log_format: {text_format_source: {inline_string: "%GRPC_STATUS%"}}`, "%GRPC_STATUS%"},
		{"JSON log", "stat_prefix: s", `stat_prefix: s
          access_log:
          - typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
              log_format: {json_format: {a: b}}`, "access_log[0].typed_config.log_format.json_format: not supported"},
		{"access log filter", "stat_prefix: s", `stat_prefix: s
          access_log:
          - filter: {not_health_check_filter: {}}
            typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}`, "access_log[0].filter: not supported"},
		{"EDS cluster", "  - name: up\n", "  - name: up\n    type: EDS\n", "static_resources.clusters[0].type: EDS"},
		{"cluster TLS", "  - name: up\n", "  - name: up\n    transport_socket: {name: tls}\n", "static_resources.clusters[0].transport_socket: not supported"},
		{"health checks", "  - name: up\n", "  - name: up\n    circuit_breakers: {}\n", "static_resources.clusters[0].circuit_breakers: not supported"},
		{"name in a STATIC cluster", "address: 127.0.0.1, port_value: 81", "address: localhost, port_value: 81", `"localhost" is not an IP address`},
		{"endpoint port 0", "port_value: 81", "port_value: 0", "port_value: is 0, expected 1 to 65535"},
		{"no endpoints", "endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 81}}}}]}]", "endpoints: []", "static_resources.clusters[0].load_assignment: has no endpoint"},
		{"cluster twice", "  clusters:\n", "  clusters:\n  - {name: up, load_assignment: {cluster_name: up, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 82}}}}]}]}}\n", `static_resources.clusters[1].name: cluster "up" is defined twice`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := parse(variant(t, tt.old, tt.new))
			if err == nil {
				t.Fatalf("accepted, want an error with %q", tt.want)
			}
			if cfg != nil {
				t.Error("a config beside the error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v\nwant it to contain %q", err, tt.want)
			}
		})
	}
}

func TestParseReportsAllUnsupported(t *testing.T) {
	_, err := parse(variant(t, "static_resources:", "admin: {}\nflags_path: /f\nstatic_resources:"))
	if !errors.Is(err, bootstrap.ErrUnsupported) {
		t.Fatalf("error = %v, want ErrUnsupported", err)
	}
	for _, field := range []string{"admin:", "flags_path:"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("error %q does not name %s", err, field)
		}
	}
}

func TestConfigurationBytes(t *testing.T) {
	tests := []struct{ name, any, want string }{
		{"StringValue passes as it is", `{"@type": type.googleapis.com/google.protobuf.StringValue, value: "not { json"}`, "not { json"},
		{"BytesValue passes as it is", `{"@type": type.googleapis.com/google.protobuf.BytesValue, value: AAE=}`, "\x00\x01"},
		{"Struct becomes JSON", `{"@type": type.googleapis.com/google.protobuf.Struct, value: {b: 500, a: [1.5, true, null, "<&>"]}}`, `{"a":[1.5,true,null,"<&>"],"b":500}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := parse(variant(t, `{"@type": type.googleapis.com/google.protobuf.StringValue, value: "{}"}`, tt.any))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(cfg.Filters[0].Configuration); got != tt.want {
				t.Errorf("configuration = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestHostEnvKeyThatIsNotSet(t *testing.T) {
	cfg, err := bootstrap.Parse([]byte(base), hostWith("f.wasm", nil))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := cfg.Filters[0].Env["A"]; ok {
		t.Errorf("A = %q, want it unset as in Envoy", v)
	}
}

func TestStrictDNS(t *testing.T) {
	data := variant(t, "  - name: up\n", "  - name: up\n    type: STRICT_DNS\n    dns_lookup_family: V4_ONLY\n")
	data = []byte(strings.Replace(string(data), "address: 127.0.0.1, port_value: 81", "address: api.internal, port_value: 81", 1))
	cfg, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"api.internal:81"}, cfg.Clusters[0].Endpoints); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	if got := cfg.Clusters[0].Network; got != "tcp4" {
		t.Errorf("network = %q, want tcp4", got)
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(path, []byte("node: {ident: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := bootstrap.Load(path, bootstrap.OS())
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), `"ident"`) {
		t.Errorf("error = %v, want it to name the file and the field", err)
	}
	if _, err := bootstrap.Load(filepath.Join(t.TempDir(), "none.yaml"), bootstrap.OS()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error = %v, want os.ErrNotExist", err)
	}
}
