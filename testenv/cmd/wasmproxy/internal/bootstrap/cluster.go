package bootstrap

import (
	"errors"
	"fmt"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
)

const (
	defaultConnectTimeout = 5 * time.Second
	httpOptionsName       = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
)

func (cfg *Config) setClusters(clusters []*clusterv3.Cluster) error {
	var errs []error
	for i, c := range clusters {
		cluster, err := translateCluster(c, fmt.Sprintf("static_resources.clusters[%d]", i))
		errs = append(errs, err)
		cfg.Clusters = append(cfg.Clusters, cluster)
	}
	return errors.Join(errs...)
}

func translateCluster(c *clusterv3.Cluster, path string) (Cluster, error) {
	out := Cluster{Name: c.GetName(), ConnectTimeout: durationOr(c.GetConnectTimeout(), defaultConnectTimeout)}
	resolved := false
	switch t := c.GetType(); t {
	case clusterv3.Cluster_STATIC:
	case clusterv3.Cluster_STRICT_DNS:
		resolved = true
	default:
		return out, unsupportedValue(path+".type", t, "STATIC or STRICT_DNS")
	}
	if p := c.GetLbPolicy(); p != clusterv3.Cluster_ROUND_ROBIN {
		return out, unsupportedValue(path+".lb_policy", p, "ROUND_ROBIN")
	}
	return out, errors.Join(
		out.setFamily(c.GetDnsLookupFamily(), path),
		out.setEndpoints(c, path, resolved),
		out.setHTTPOptions(c, path),
	)
}

func (c *Cluster) setFamily(f clusterv3.Cluster_DnsLookupFamily, path string) error {
	switch f {
	case clusterv3.Cluster_AUTO:
		c.Network = "tcp"
	case clusterv3.Cluster_V4_ONLY:
		c.Network = "tcp4"
	case clusterv3.Cluster_V6_ONLY:
		c.Network = "tcp6"
	default:
		return unsupportedValue(path+".dns_lookup_family", f, "AUTO, V4_ONLY or V6_ONLY")
	}
	return nil
}

func (c *Cluster) setEndpoints(msg *clusterv3.Cluster, path string, resolved bool) error {
	var errs []error
	for i, locality := range msg.GetLoadAssignment().GetEndpoints() {
		for j, e := range locality.GetLbEndpoints() {
			at := fmt.Sprintf("%s.load_assignment.endpoints[%d].lb_endpoints[%d].endpoint.address", path, i, j)
			addr := e.GetEndpoint().GetAddress()
			hostPort, err := socketAddress(addr, at, !resolved)
			if err == nil && addr.GetSocketAddress().GetPortValue() == 0 {
				err = fmt.Errorf("%s.socket_address.port_value: is 0, expected 1 to 65535", at)
			}
			errs = append(errs, err)
			c.Endpoints = append(c.Endpoints, hostPort)
		}
	}
	if len(c.Endpoints) == 0 {
		errs = append(errs, fmt.Errorf("%s.load_assignment: has no endpoint, expected at least one", path))
	}
	return errors.Join(errs...)
}

func (c *Cluster) setHTTPOptions(msg *clusterv3.Cluster, path string) error {
	for name, packed := range msg.GetTypedExtensionProtocolOptions() {
		at := fmt.Sprintf("%s.typed_extension_protocol_options[%q]", path, name)
		if name != httpOptionsName {
			return fmt.Errorf("%s: %w, expected the key %q", at, ErrUnsupported, httpOptionsName)
		}
		options := new(httpv3.HttpProtocolOptions)
		if err := unpack(packed, options, at); err != nil {
			return err
		}
		c.Trailers = options.GetExplicitHttpConfig().GetHttpProtocolOptions().GetEnableTrailers()
	}
	return nil
}
