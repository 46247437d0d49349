package bootstrap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tollgate/tollgate/testenv"
)

func (cfg *Config) setFilters(filters []*hcmv3.HttpFilter, host Host) error {
	var errs []error
	for i, f := range filters {
		path := fmt.Sprintf("%s.http_filters[%d]", hcmPath, i)
		last := i == len(filters)-1
		if isRouter := f.GetTypedConfig().MessageIs((*routerv3.Router)(nil)); isRouter != last {
			errs = append(errs, fmt.Errorf("%s (%s): the router must be the last http filter, and only the last", path, f.GetName()))
			continue
		} else if isRouter {
			continue
		}
		config := new(filterv3.Wasm)
		if err := unpack(f.GetTypedConfig(), config, path+".typed_config"); err != nil {
			errs = append(errs, err)
			continue
		}
		filter, err := translateWasm(config.GetConfig(), path+".typed_config.config", host)
		errs = append(errs, err)
		cfg.Filters = append(cfg.Filters, filter)
	}
	if len(errs) == 0 && len(cfg.Filters) == 0 {
		errs = append(errs, fmt.Errorf("%s.http_filters: no envoy.filters.http.wasm filter, expected at least one before the router", hcmPath))
	}
	return errors.Join(errs...)
}

func translateWasm(p *wasmv3.PluginConfig, path string, host Host) (WasmFilter, error) {
	vm := p.GetVmConfig()
	out := WasmFilter{Plugin: testenv.Plugin{
		Name:          p.GetName(),
		RootID:        p.GetRootId(),
		VMID:          vm.GetVmId(),
		ReloadBackoff: durationOr(p.GetReloadConfig().GetBackoff().GetBaseInterval(), testenv.DefaultReloadBackoff),
	}}
	var errs [4]error
	out.Configuration, errs[0] = configurationBytes(p.GetConfiguration(), path+".configuration")
	out.VMConfiguration, errs[1] = configurationBytes(vm.GetConfiguration(), path+".vm_config.configuration")
	out.Env, errs[2] = environment(vm.GetEnvironmentVariables(), path+".vm_config.environment_variables", host)
	errs[3] = out.setPolicy(p.GetFailurePolicy(), path)
	if r := vm.GetRuntime(); r != "" && !strings.HasPrefix(r, "envoy.wasm.runtime.") {
		errs[3] = errors.Join(errs[3], fmt.Errorf("%s.vm_config.runtime: %q, expected envoy.wasm.runtime.v8", path, r))
	}
	return out, errors.Join(append(errs[:], out.setCode(vm, path+".vm_config.code", host))...)
}

func (f *WasmFilter) setPolicy(p wasmv3.FailurePolicy, path string) error {
	switch p {
	case wasmv3.FailurePolicy_UNSPECIFIED, wasmv3.FailurePolicy_FAIL_CLOSED:
		f.FailurePolicy = testenv.FailClosed
	case wasmv3.FailurePolicy_FAIL_RELOAD:
		f.FailurePolicy = testenv.FailReload
	case wasmv3.FailurePolicy_FAIL_OPEN:
		f.FailurePolicy = testenv.FailOpen
	default:
		return unsupportedValue(path+".failure_policy", p, "FAIL_RELOAD, FAIL_CLOSED or FAIL_OPEN")
	}
	return nil
}

func (f *WasmFilter) setCode(vm *wasmv3.VmConfig, path string, host Host) error {
	local := vm.GetCode().GetLocal()
	if b := local.GetInlineBytes(); len(b) > 0 {
		f.Code, f.Source = b, path+".local.inline_bytes"
		return nil
	}
	name := local.GetFilename()
	if name == "" {
		return fmt.Errorf("%s.local.filename: missing, expected the path of a .wasm file", path)
	}
	code, err := host.ReadFile(name)
	if err != nil {
		return fmt.Errorf("%s.local.filename: read the wasm module: %w", path, err)
	}
	f.Code, f.Source = code, name
	return nil
}

// environment gathers what the guest may see. A host variable that is not set stays unset, as in
// Envoy; a name given twice is refused, as in Envoy.
func environment(e *wasmv3.EnvironmentVariables, path string, host Host) (map[string]string, error) {
	env := make(map[string]string, len(e.GetKeyValues())+len(e.GetHostEnvKeys()))
	for k, v := range e.GetKeyValues() {
		env[k] = v
	}
	seen := make(map[string]bool)
	for i, k := range e.GetHostEnvKeys() {
		_, set := e.GetKeyValues()[k]
		if set || seen[k] {
			return nil, fmt.Errorf("%s.host_env_keys[%d]: %q is given twice, expected each name once", path, i, k)
		}
		seen[k] = true
		if v, ok := host.LookupEnv(k); ok {
			env[k] = v
		}
	}
	return env, nil
}

// configurationBytes returns what the guest reads: a Struct as JSON, the wrappers as they are.
func configurationBytes(packed *anypb.Any, path string) ([]byte, error) {
	if packed == nil {
		return nil, nil
	}
	msg, err := packed.UnmarshalNew()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch m := msg.(type) {
	case *wrapperspb.StringValue:
		return []byte(m.GetValue()), nil
	case *wrapperspb.BytesValue:
		return m.GetValue(), nil
	case *structpb.Struct:
		return structJSON(m, path)
	}
	return nil, unsupportedValue(path, packed.GetTypeUrl(), "google.protobuf.Struct, StringValue or BytesValue")
}

// structJSON prints through encoding/json: protojson varies its spacing on purpose, and a filter
// that keys anything on its configuration text must see the same bytes at each start.
func structJSON(m *structpb.Struct, path string) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m.AsMap()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
