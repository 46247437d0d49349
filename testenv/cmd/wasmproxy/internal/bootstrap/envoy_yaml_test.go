package bootstrap_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/plugin/access"
	"github.com/tollgate/tollgate/testenv"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
)

// envoyYAML is the file at the root of the repository.
func envoyYAML(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.FromSlash("../../../../../envoy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// hostWith serves one wasm file of a few bytes and the given environment.
func hostWith(wasmName string, env map[string]string) bootstrap.Host {
	return bootstrap.Host{
		LookupEnv: func(k string) (string, bool) { v, ok := env[k]; return v, ok },
		ReadFile: func(name string) ([]byte, error) {
			if name != wasmName {
				return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
			}
			return []byte("\x00asm"), nil
		},
	}
}

func TestRepositoryEnvoyYAML(t *testing.T) {
	cfg, err := bootstrap.Parse(envoyYAML(t), hostWith("build/tollgate.wasm", map[string]string{"TOLLGATE_GATE_TOKEN": "gate-token"}))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cfg.Listen, "127.0.0.1:10000"; got != want {
		t.Errorf("listen = %q, want %q", got, want)
	}
	wantHTTP := bootstrap.HTTPOptions{
		NormalizePath: true, MergeSlashes: true, RejectEscapedSlashes: true,
		Underscores: bootstrap.RejectRequest, UseRemoteAddress: true,
		MaxHeaderBytes: 60 << 10, MaxHeaders: 100,
		HeaderReadTimeout: 10 * time.Second, IdleTimeout: time.Minute, StreamIdleTimeout: 5 * time.Minute,
	}
	if diff := cmp.Diff(wantHTTP, cfg.HTTP); diff != "" {
		t.Errorf("http options (-want +got):\n%s", diff)
	}
	wantRoutes := []bootstrap.Route{{Name: "upstream", Prefix: "/", Cluster: "upstream", Timeout: time.Minute}}
	if diff := cmp.Diff(wantRoutes, cfg.Routes); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	wantClusters := []bootstrap.Cluster{
		{Name: "upstream", Endpoints: []string{"127.0.0.1:8080"}, Network: "tcp", ConnectTimeout: 2 * time.Second},
		{Name: "tollgate", Endpoints: []string{"127.0.0.1:8092"}, Network: "tcp", ConnectTimeout: 250 * time.Millisecond},
	}
	if diff := cmp.Diff(wantClusters, cfg.Clusters); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
	if len(cfg.AccessLogs) != 1 || cfg.AccessLogs[0].Path != "" {
		t.Errorf("access logs = %+v, want one on standard output", cfg.AccessLogs)
	}
}

// Envoy hands the plugin's configuration over unread, so a fault in it shows only when the filter
// starts. Here the filter's own parser reads it.
func TestRepositoryEnvoyYAMLPluginConfiguration(t *testing.T) {
	cfg, err := bootstrap.Parse(envoyYAML(t), hostWith("build/tollgate.wasm", map[string]string{"TOLLGATE_GATE_TOKEN": "gate-token"}))
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Filters) != 1 {
		t.Fatalf("%d wasm filters, want 1", len(cfg.Filters))
	}
	filter := cfg.Filters[0]
	plugin, err := access.ParseConfig(filter.Configuration)
	if err != nil {
		t.Fatalf("the filter refuses its configuration: %v", err)
	}
	if !slices.ContainsFunc(cfg.Clusters, func(c bootstrap.Cluster) bool { return c.Name == plugin.ControlPlane.Cluster }) {
		t.Errorf("control_plane.cluster %q is no cluster of envoy.yaml", plugin.ControlPlane.Cluster)
	}
	if _, ok := filter.Env[plugin.ControlPlane.TokenEnv]; !ok {
		t.Errorf("control_plane.token_env %q is not among host_env_keys", plugin.ControlPlane.TokenEnv)
	}
	if filter.FailurePolicy != testenv.FailReload {
		t.Errorf("failure_policy = %v, want FAIL_RELOAD", filter.FailurePolicy)
	}
}
