package bootstrap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	listenerPath    = "static_resources.listeners[0]"
	chainPath       = listenerPath + ".filter_chains[0]"
	hcmPath         = chainPath + ".filters[0].typed_config"
	virtualHostPath = hcmPath + ".route_config.virtual_hosts[0]"
)

// What Envoy assumes where the file is silent.
const (
	defaultRouteTimeout      = 15 * time.Second
	defaultIdleTimeout       = time.Hour
	defaultMaxRequestHeaders = 60 << 10
	defaultMaxHeaders        = 100
	defaultStreamIdleTimeout = 5 * time.Minute
)

func translate(msg *bootstrapv3.Bootstrap, host Host) (*Config, error) {
	cfg := &Config{NodeID: msg.GetNode().GetId()}
	res := msg.GetStaticResources()
	listener, err := only(res.GetListeners(), "static_resources.listeners")
	if err != nil {
		return nil, err
	}
	if cfg.Listen, err = socketAddress(listener.GetAddress(), listenerPath+".address", true); err != nil {
		return nil, err
	}
	hcm, err := connectionManager(listener)
	if err != nil {
		return nil, err
	}
	errs := []error{
		cfg.setHTTP(hcm),
		cfg.setVirtualHost(hcm.GetRouteConfig()),
		cfg.setFilters(hcm.GetHttpFilters(), host),
		cfg.setAccessLogs(hcm.GetAccessLog()),
		cfg.setClusters(res.GetClusters()),
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return cfg, nil
}

// only returns the single element of list.
func only[T any](list []T, path string) (T, error) {
	if len(list) != 1 {
		var none T
		return none, fmt.Errorf("%s: has %d entries, expected exactly one: %w", path, len(list), ErrUnsupported)
	}
	return list[0], nil
}

func connectionManager(listener *listenerv3.Listener) (*hcmv3.HttpConnectionManager, error) {
	chain, err := only(listener.GetFilterChains(), listenerPath+".filter_chains")
	if err != nil {
		return nil, err
	}
	filter, err := only(chain.GetFilters(), chainPath+".filters")
	if err != nil {
		return nil, err
	}
	hcm := new(hcmv3.HttpConnectionManager)
	if err := unpack(filter.GetTypedConfig(), hcm, hcmPath); err != nil {
		return nil, err
	}
	return hcm, nil
}

func (cfg *Config) setHTTP(hcm *hcmv3.HttpConnectionManager) error {
	o := &cfg.HTTP
	o.NormalizePath = hcm.GetNormalizePath().GetValue()
	o.MergeSlashes = hcm.GetMergeSlashes()
	o.UseRemoteAddress = hcm.GetUseRemoteAddress().GetValue()
	o.Trailers = hcm.GetHttpProtocolOptions().GetEnableTrailers()
	o.MaxHeaderBytes = defaultMaxRequestHeaders
	if kb := hcm.GetMaxRequestHeadersKb(); kb != nil {
		o.MaxHeaderBytes = int(kb.GetValue()) << 10
	}
	o.MaxHeaders = defaultMaxHeaders
	if n := hcm.GetCommonHttpProtocolOptions().GetMaxHeadersCount(); n != nil {
		o.MaxHeaders = int(n.GetValue())
	}
	o.StreamIdleTimeout = durationOr(hcm.GetStreamIdleTimeout(), defaultStreamIdleTimeout)
	o.HeaderReadTimeout = hcm.GetRequestHeadersTimeout().AsDuration()
	o.IdleTimeout = durationOr(hcm.GetCommonHttpProtocolOptions().GetIdleTimeout(), defaultIdleTimeout)
	return errors.Join(
		checkCodec(hcm),
		notNegative(hcmPath+".stream_idle_timeout", o.StreamIdleTimeout),
		o.setEscapedSlashes(hcm.GetPathWithEscapedSlashesAction()),
		o.setUnderscores(hcm.GetCommonHttpProtocolOptions().GetHeadersWithUnderscoresAction()),
	)
}

func checkCodec(hcm *hcmv3.HttpConnectionManager) error {
	var errs []error
	switch c := hcm.GetCodecType(); c {
	case hcmv3.HttpConnectionManager_AUTO, hcmv3.HttpConnectionManager_HTTP1:
	default:
		errs = append(errs, unsupportedValue(hcmPath+".codec_type", c, "AUTO or HTTP1"))
	}
	// PASS_THROUGH is what wasmproxy does. OVERWRITE, the default, is accepted because it cannot
	// be told from an unset field: wasmproxy adds no "server: envoy", since it is not Envoy.
	if s := hcm.GetServerHeaderTransformation(); s == hcmv3.HttpConnectionManager_APPEND_IF_ABSENT {
		errs = append(errs, unsupportedValue(hcmPath+".server_header_transformation", s, "PASS_THROUGH"))
	}
	return errors.Join(errs...)
}

func (o *HTTPOptions) setEscapedSlashes(a hcmv3.HttpConnectionManager_PathWithEscapedSlashesAction) error {
	switch a {
	case hcmv3.HttpConnectionManager_IMPLEMENTATION_SPECIFIC_DEFAULT, hcmv3.HttpConnectionManager_KEEP_UNCHANGED:
	case hcmv3.HttpConnectionManager_REJECT_REQUEST:
		o.RejectEscapedSlashes = true
	default:
		return unsupportedValue(hcmPath+".path_with_escaped_slashes_action", a, "KEEP_UNCHANGED or REJECT_REQUEST")
	}
	return nil
}

func (o *HTTPOptions) setUnderscores(a corev3.HttpProtocolOptions_HeadersWithUnderscoresAction) error {
	switch a {
	case corev3.HttpProtocolOptions_ALLOW:
		o.Underscores = AllowUnderscores
	case corev3.HttpProtocolOptions_REJECT_REQUEST:
		o.Underscores = RejectRequest
	case corev3.HttpProtocolOptions_DROP_HEADER:
		o.Underscores = DropHeader
	default:
		return unsupportedValue(hcmPath+".common_http_protocol_options.headers_with_underscores_action", a, "ALLOW, REJECT_REQUEST or DROP_HEADER")
	}
	return nil
}

func (cfg *Config) setVirtualHost(rc *routev3.RouteConfiguration) error {
	vh, err := only(rc.GetVirtualHosts(), hcmPath+".route_config.virtual_hosts")
	if err != nil {
		return err
	}
	cfg.VirtualHostName = vh.GetName()
	var errs []error
	for i, d := range vh.GetDomains() {
		if d != "*" && strings.Contains(d, "*") {
			errs = append(errs, unsupportedValue(fmt.Sprintf("%s.domains[%d]", virtualHostPath, i), d, `"*" or a whole name`))
		}
		cfg.Domains = append(cfg.Domains, strings.ToLower(d))
	}
	for i, r := range vh.GetRoutes() {
		route, err := translateRoute(r, fmt.Sprintf("%s.routes[%d]", virtualHostPath, i))
		errs = append(errs, err)
		cfg.Routes = append(cfg.Routes, route)
	}
	if len(cfg.Routes) == 0 {
		errs = append(errs, fmt.Errorf("%s.routes: is empty, expected at least one", virtualHostPath))
	}
	return errors.Join(errs...)
}

func translateRoute(r *routev3.Route, path string) (Route, error) {
	route := Route{
		Name:    r.GetName(),
		Path:    r.GetMatch().GetPath(),
		Prefix:  r.GetMatch().GetPrefix(),
		Cluster: r.GetRoute().GetCluster(),
		Timeout: durationOr(r.GetRoute().GetTimeout(), defaultRouteTimeout),
	}
	if (route.Path == "") == (route.Prefix == "") {
		return route, fmt.Errorf("%s.match: expected a non-empty prefix or path", path)
	}
	if route.Cluster == "" {
		return route, fmt.Errorf("%s.route.cluster: is empty, expected the name of a cluster", path)
	}
	return route, nil
}

// socketAddress returns host:port. mustBeIP holds for every address that Envoy does not resolve.
func socketAddress(a *corev3.Address, path string, mustBeIP bool) (string, error) {
	sa := a.GetSocketAddress()
	if sa == nil {
		return "", fmt.Errorf("%s.socket_address: missing: %w", path, ErrUnsupported)
	}
	if p := sa.GetProtocol(); p != corev3.SocketAddress_TCP {
		return "", unsupportedValue(path+".socket_address.protocol", p, "TCP")
	}
	if _, err := netip.ParseAddr(sa.GetAddress()); err != nil && mustBeIP {
		return "", fmt.Errorf("%s.socket_address.address: %q is not an IP address", path, sa.GetAddress())
	}
	return net.JoinHostPort(sa.GetAddress(), strconv.FormatUint(uint64(sa.GetPortValue()), 10)), nil
}

func durationOr(d *durationpb.Duration, fallback time.Duration) time.Duration {
	if d == nil {
		return fallback
	}
	return d.AsDuration()
}

func notNegative(path string, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%s: is %s, expected 0 or more", path, d)
	}
	return nil
}

func unsupportedValue(path string, got any, expected string) error {
	return fmt.Errorf("%s: %v: %w, expected %s", path, got, ErrUnsupported, expected)
}

// unpack reads an Any into the one type that its place allows.
func unpack(packed *anypb.Any, into proto.Message, path string) error {
	if !packed.MessageIs(into) {
		return fmt.Errorf("%s: is %q, expected %s: %w", path, packed.GetTypeUrl(), into.ProtoReflect().Descriptor().FullName(), ErrUnsupported)
	}
	if err := packed.UnmarshalTo(into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
