package bootstrap

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

// The places that carry most of the configuration, as walk spells them.
const (
	listenerKey    = "static_resources.listeners[]"
	hcmKey         = listenerKey + ".filter_chains[].filters[].typed_config@HttpConnectionManager"
	virtualHostKey = hcmKey + ".route_config.virtual_hosts[]"
	httpFilterKey  = hcmKey + ".http_filters[]"
	pluginKey      = httpFilterKey + ".typed_config@Wasm.config"
	accessLogKey   = hcmKey + ".access_log[]"
	clusterKey     = "static_resources.clusters[]"
	clusterHTTPKey = clusterKey + ".typed_extension_protocol_options[]@HttpProtocolOptions"
)

// understood lists every field that may be set. A name below which all is understood ends the
// descent, so a configuration Struct or a Duration needs one line.
//
// These change nothing here and are allowed because they cannot change what a request meets:
// names and stat prefixes label Envoy's own statistics, which wasmproxy does not keep; node.cluster
// labels the node; vm_config.runtime picks an engine, here always wazero; suppress_envoy_headers
// asks for what wasmproxy does anyway.
var understood = newKeySet(
	under("node", "id", "cluster"),
	under(listenerKey,
		"name", "stat_prefix",
		"address.socket_address.address", "address.socket_address.port_value", "address.socket_address.protocol",
		"filter_chains[].name", "filter_chains[].filters[].name",
	),
	under(hcmKey,
		"stat_prefix", "codec_type", "normalize_path", "merge_slashes", "path_with_escaped_slashes_action",
		"use_remote_address", "server_header_transformation", "max_request_headers_kb", "request_headers_timeout",
		"stream_idle_timeout", "common_http_protocol_options.max_headers_count",
		"common_http_protocol_options.headers_with_underscores_action", "common_http_protocol_options.idle_timeout",
		"http_protocol_options.enable_trailers", "route_config.name",
	),
	under(virtualHostKey,
		"name", "domains[]",
		"routes[].name", "routes[].match.prefix", "routes[].match.path",
		"routes[].route.cluster", "routes[].route.timeout",
	),
	under(httpFilterKey, "name", "typed_config@Router.suppress_envoy_headers"),
	under(pluginKey,
		"name", "root_id", "configuration@Struct", "configuration@StringValue", "configuration@BytesValue",
		"failure_policy", "reload_config.backoff.base_interval",
		"vm_config.vm_id", "vm_config.runtime",
		"vm_config.code.local.filename", "vm_config.code.local.inline_bytes",
		"vm_config.configuration@Struct", "vm_config.configuration@StringValue", "vm_config.configuration@BytesValue",
		"vm_config.environment_variables.host_env_keys[]", "vm_config.environment_variables.key_values[]",
	),
	under(accessLogKey, "name"),
	under(accessLogKey+".typed_config@StdoutAccessLog.log_format", "text_format_source.inline_string", "formatters[].name", "formatters[].typed_config@ReqWithoutQuery"),
	under(accessLogKey+".typed_config@FileAccessLog", "path"),
	under(accessLogKey+".typed_config@FileAccessLog.log_format", "text_format_source.inline_string", "formatters[].name", "formatters[].typed_config@ReqWithoutQuery"),
	under(clusterKey,
		"name", "type", "connect_timeout", "lb_policy", "dns_lookup_family",
		"load_assignment.cluster_name",
	),
	under(clusterKey+".load_assignment.endpoints[].lb_endpoints[].endpoint.address.socket_address", "address", "port_value", "protocol"),
	under(clusterHTTPKey+".explicit_http_config.http_protocol_options", "enable_trailers"),
)

// checkUnderstood refuses every populated field of msg that understood does not list.
func checkUnderstood(msg proto.Message) error {
	var unknown []string
	err := walk(msg, func(f field) (bool, error) {
		switch {
		case understood.leaf[f.key]:
			return false, nil
		case understood.branch[f.key]:
			return true, nil
		}
		unknown = append(unknown, describe(f))
		return false, nil
	})
	slices.Sort(unknown)
	errs := []error{err}
	for _, u := range unknown {
		errs = append(errs, fmt.Errorf("%s: %w", u, ErrUnsupported))
	}
	return errors.Join(errs...)
}

// describe adds the type of a packed message: the path alone would blame the field that holds it.
func describe(f field) string {
	if f.unpacked == nil {
		return f.path
	}
	return fmt.Sprintf("%s (%s)", f.path, f.unpacked.ProtoReflect().Descriptor().FullName())
}

// keySet holds the keys that end a descent and those that lead to them.
type keySet struct{ leaf, branch map[string]bool }

func newKeySet(groups ...[]string) keySet {
	s := keySet{leaf: map[string]bool{}, branch: map[string]bool{}}
	for _, key := range slices.Concat(groups...) {
		s.leaf[key] = true
		for i, c := range key {
			// "@" is no boundary: a packed message is visited under its full key only.
			if c == '.' {
				s.branch[key[:i]] = true
			}
		}
	}
	return s
}

func under(prefix string, names ...string) []string {
	keys := make([]string, len(names))
	for i, n := range names {
		keys[i] = strings.Join([]string{prefix, n}, ".")
	}
	return keys
}
