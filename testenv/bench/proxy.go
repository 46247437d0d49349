package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// proxyConfiguration is wasmproxy's, from one file for all variants: the ports of upstream and control plane, the wasm file,
// and the mode of the route.
const proxyConfiguration = `{
  "node": {"id": "bench", "cluster": "bench"},
  "static_resources": {
    "listeners": [{"name": "api", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
      "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench", "codec_type": "HTTP1", "use_remote_address": true, "normalize_path": true, "merge_slashes": true,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"},
        "server_header_transformation": "PASS_THROUGH",
        "route_config": {"name": "local", "virtual_hosts": [{"name": "api", "domains": ["*"],
          "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]}]},
        "http_filters": [
          {"name": "wasm", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": {
            "name": "bench", "root_id": "bench", "failure_policy": "FAIL_RELOAD",
            "vm_config": {"vm_id": "bench", "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": %[3]q}},
              "environment_variables": {"host_env_keys": ["TOLLGATE_GATE_TOKEN"]}},
            "configuration": {"@type": "type.googleapis.com/google.protobuf.Struct", "value": {
              "control_plane": {"cluster": "tollgate", "token_env": "TOLLGATE_GATE_TOKEN", "timeout_ms": 30000},
              "schemes": {"genrex": {"preset": "genrex"}},
              "routes": [{"prefix": "/v1/", "scheme": "genrex", "cost": 1, "mode": %[4]q}]}}}}},
          {"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": true}}]}}]}]}],
    "clusters": [
      {"name": "upstream", "type": "STATIC", "connect_timeout": "2s", "load_assignment": {"cluster_name": "upstream",
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": %[1]s}}}}]}]}},
      {"name": "tollgate", "type": "STATIC", "connect_timeout": "2s", "load_assignment": {"cluster_name": "tollgate",
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": %[2]s}}}}]}]}}
    ]
  }
}`

// proxy starts a wasmproxy and returns the address of its listener and its process.
func (b *bench) proxy(program, wasm, mode, upstreamPort string, cp controlPlane) (address string, pid int) {
	f, err := os.CreateTemp(b.dir, "envoy-*.json")
	b.check(err)
	_, gatePort, err := net.SplitHostPort(cp.gate)
	b.check(err)
	absolute, err := filepath.Abs(wasm)
	b.check(err)
	_, err = fmt.Fprintf(f, proxyConfiguration, upstreamPort, gatePort, absolute, mode)
	b.check(err)
	b.check(f.Close())
	cmd := exec.Command(program, "--config", f.Name(), "--drain-timeout", "1s")
	cmd.Env = append(os.Environ(), "TOLLGATE_GATE_TOKEN="+cp.token)
	b.start(cmd, func(line string) bool {
		_, after, ok := strings.Cut(line, "msg=listening address=")
		address, _, _ = strings.Cut(after, " ")
		return ok
	})
	return address, cmd.Process.Pid
}

// upstreamServer answers everything with 200, and returns its port.
func (b *bench) upstreamServer() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	b.check(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok")) // the client is gone
	})}
	go func() { _ = server.Serve(l) }() // until Close
	b.Cleanup(func() { _ = server.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	b.check(err)
	return port
}

// measureProxy drives wasmproxy from end to end: client, proxy, upstream and control plane share the machine.
func measureProxy(b *bench) string {
	const each = 6000
	s := b.store()
	database, _ := s.filled(manyAccounts, manyAccounts)
	cp := b.controlPlane(b.build("tollgate", "./controlplane"), database, "--lease-ttl", "1m", "--lease-max-credits", "100000")
	program, port := b.build("wasmproxy", "./testenv/cmd/wasmproxy"), b.upstreamServer()
	spendings := &spendings{}
	send := func(name, wasm, mode string) func() time.Duration {
		address, pid := b.proxy(program, wasm, mode, port, cp)
		c := b.client(address, callers, "ok", getRequest)
		c.send(300 * hotKeys / 10)
		return spendings.of(name, pid, c, each)
	}
	const none, empty, callout, leased = "no filter", "the SDK's empty filter", "a callout per request (strict)", "tollgate, live leases"
	t := table{
		title: "64 connections", unit: unit{"requests/s", 0}, perSecond: true, rounds: b.rounds(7), baseline: none,
		more: []column{{callout, map[string]*goal{leased: atLeast(2)}}},
		ways: []way{
			{none, send(none, b.guest("deaf"), "lease"), nil},
			{empty, send(empty, b.empty, "lease"), nil},
			{callout, send(callout, b.tollgate, "strict"), nil},
			{leased, send(leased, b.tollgate, "lease"), atLeast(0.9).but(proxyDominates)},
		},
	}
	return "`wasmproxy` with two VMs on loopback, keep-alive; client, proxy, upstream and control plane share the machine. wasmproxy does not " +
		"start without a wasm filter: \"no filter\" is one that exports no function for any event of a stream. The client and the upstream are " +
		"one process.\n\n" + t.measure() + "\n" + spendings.table(t.ways)
}

// getRequest appends a request of one of the hot keys.
func getRequest(dst []byte, number int) []byte {
	dst = append(dst, "GET /v1/document/1 HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer "...)
	dst = append(dst, hotSecrets[number%hotKeys]...)
	return append(dst, "\r\nAccept: application/json\r\nUser-Agent: bench/1.0\r\nAccept-Encoding: gzip\r\n\r\n"...)
}

var hotSecrets = func() (secrets [hotKeys]string) {
	for i := range secrets {
		secrets[i] = secret(i)
	}
	return secrets
}()

// proxyDominates is from perf of wasmproxy under this load, with and without the filter, 2026-11-27.
const proxyDominates = "the guest's code, 14 % of the proxy's processor time and more than 40 % of what the filter adds to it: it takes about three times as " +
	"long as where nothing else runs, since the proxy's own work empties the caches. The rest is nine entries into the guest for each request, " +
	"hostcalls, and switches of threads; mutexes are below 0.2 %"
