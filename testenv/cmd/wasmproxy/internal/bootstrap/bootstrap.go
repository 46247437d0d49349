// Package bootstrap reads an Envoy bootstrap file into the small model that wasmproxy runs.
//
// It owns the question "is this file understood?". The file is held against Envoy's own protos and
// their validation rules first, and then against the list of fields that wasmproxy honours: a field
// that is set and not on that list is an error that names it by path, so that nothing an operator
// wrote is silently ignored. It refuses what protos cannot see too: routes to clusters that do not
// exist, a router that is not last, a wasm file that is not there.
//
// It opens no socket and compiles no module.
package bootstrap

import (
	"errors"
	"fmt"
	"os"
)

// ErrUnsupported marks configuration that Envoy may accept and wasmproxy does not.
var ErrUnsupported = errors.New("not supported by wasmproxy")

// Host is what translation asks of the machine it runs on.
type Host struct {
	// LookupEnv finds the variables that host_env_keys names.
	LookupEnv func(key string) (string, bool)
	// ReadFile reads a wasm module; relative names start at the working directory, as in Envoy.
	ReadFile func(name string) ([]byte, error)
}

// OS is the host the process runs on.
func OS() Host {
	return Host{LookupEnv: os.LookupEnv, ReadFile: os.ReadFile}
}

// Load reads and translates the file at path. Errors name the field at fault; a file with several
// faults of one kind reports them together.
func Load(path string, host Host) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read bootstrap: %w", err)
	}
	cfg, err := Parse(data, host)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cfg, nil
}

// Parse translates the text of a bootstrap file, YAML or JSON.
func Parse(data []byte, host Host) (*Config, error) {
	msg, err := decode(data)
	if err != nil {
		return nil, err
	}
	if err := validate(msg); err != nil {
		return nil, err
	}
	if err := checkUnderstood(msg); err != nil {
		return nil, err
	}
	cfg, err := translate(msg, host)
	if err != nil {
		return nil, err
	}
	if err := checkReferences(cfg); err != nil {
		return nil, err
	}
	return cfg, nil
}

func checkReferences(cfg *Config) error {
	known := make(map[string]bool, len(cfg.Clusters))
	var errs []error
	for i, c := range cfg.Clusters {
		if known[c.Name] {
			errs = append(errs, fmt.Errorf("static_resources.clusters[%d].name: cluster %q is defined twice", i, c.Name))
		}
		known[c.Name] = true
	}
	for i, r := range cfg.Routes {
		if !known[r.Cluster] {
			errs = append(errs, fmt.Errorf("%s.routes[%d].route.cluster: no cluster %q in static_resources.clusters", virtualHostPath, i, r.Cluster))
		}
	}
	return errors.Join(errs...)
}
