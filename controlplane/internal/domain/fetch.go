package domain

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxRedirects = 3
	maxBody      = 64 << 10
	maxHeaders   = 64 << 10
	// connectTime is for all addresses of one name together: a port whose packets are dropped has to leave time for the
	// other port.
	connectTime = 2 * time.Second
	maxIPs      = 4
)

// fetcher looks for one challenge's file, seeing DNS as one resolver does.
type fetcher struct {
	v        *Verifier
	resolver resolver
	// site is the registrable part of the domain, which no redirect may leave.
	site string
}

// fetch looks for the file on http, and on https if nothing answers there. Status is that of the last answer, 0 without
// one.
func (v *Verifier) fetch(ctx context.Context, r resolver, c Challenge) (o Outcome, status int) {
	f := &fetcher{v: v, resolver: r, site: registrable(c.Domain)}
	for _, scheme := range []string{"http", "https"} {
		o, status = f.follow(ctx, f.url(scheme, c.Domain, filePath), c.Token)
		if o != Unreachable {
			break
		}
	}
	return o, status
}

// url makes an URL without anything that could be read in two ways. The usual port is not written.
func (f *fetcher) url(scheme, host, path string) *url.URL {
	if port := f.v.port(scheme); port != usualPorts[scheme] {
		host = net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	return &url.URL{Scheme: scheme, Host: host, Path: path}
}

// follow fetches u, or where it redirects to.
func (f *fetcher) follow(ctx context.Context, u *url.URL, token string) (Outcome, int) {
	transport := f.transport()
	defer transport.CloseIdleConnections()
	for range maxRedirects + 1 {
		resp, o := get(ctx, transport, u)
		if o != "" {
			return o, 0
		}
		next, o := f.judge(ctx, resp, u, token)
		_ = resp.Body.Close()
		if next == nil {
			return o, resp.StatusCode
		}
		u = next
	}
	return RedirectRefused, 0
}

// get sends one request that tells nothing of this machine, and returns the answer whatever its status.
func get(ctx context.Context, transport *http.Transport, u *url.URL) (*http.Response, Outcome) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, Unreachable
	}
	req.Header.Set("User-Agent", "tollgate-domain-check")
	// RoundTrip follows nothing, keeps no cookies and knows no credentials.
	resp, err := transport.RoundTrip(req)
	switch {
	case err == nil:
		return resp, ""
	case ctx.Err() != nil:
		return nil, Timeout
	}
	return nil, found(err, Unreachable)
}

// judge returns where an answer redirects to, or the outcome that it is.
func (f *fetcher) judge(ctx context.Context, resp *http.Response, from *url.URL, token string) (*url.URL, Outcome) {
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		if locations := resp.Header.Values("Location"); len(locations) == 1 {
			if next := f.target(from, locations[0]); next != nil {
				return next, ""
			}
		}
		return nil, RedirectRefused
	default:
		return nil, HTTPStatus
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case len(body) > maxBody:
		return nil, TooLarge
	case ctx.Err() != nil:
		return nil, Timeout
	case err != nil:
		return nil, Unreachable
	case strings.TrimSpace(string(body)) != token:
		return nil, WrongValue
	}
	return nil, Verified
}

// target returns where location leads, or nil if it is refused: another registrable domain, an address, another port,
// another scheme or back from https, a user. Of the location only the parts that were judged are used.
func (f *fetcher) target(from *url.URL, location string) *url.URL {
	to, err := from.Parse(location)
	if err != nil || to.Opaque != "" || to.User != nil || usualPorts[to.Scheme] == 0 || from.Scheme == "https" && to.Scheme != "https" {
		return nil
	}
	if port := to.Port(); port != "" && port != strconv.Itoa(int(f.v.port(to.Scheme))) {
		return nil
	}
	host, err := Normalize(to.Hostname())
	if err != nil || registrable(host) != f.site {
		return nil
	}
	u := f.url(to.Scheme, host, to.Path)
	u.RawPath, u.RawQuery = to.RawPath, to.RawQuery
	return u
}

// transport returns one that connects by connect alone, with nothing taken from the environment.
func (f *fetcher) transport() *http.Transport {
	var http1 http.Protocols
	http1.SetHTTP1(true)
	return &http.Transport{
		Proxy: nil, DialContext: f.connect, DialTLSContext: f.connectTLS, Protocols: &http1,
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeaders,
	}
}

// connectTLS is connect and a handshake in which the server has to prove its name.
func (f *fetcher) connectTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := f.connect(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(addr)
	secure := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: f.v.roots(), MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, errors.Join(finding{TLS}, err)
	}
	return secure, nil
}

// connect connects to one of the addresses of addr's name.
func (f *fetcher) connect(ctx context.Context, _, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	ips, err := f.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	dialer := net.Dialer{ControlContext: f.v.control, Timeout: connectTime / time.Duration(len(ips)), KeepAlive: -1}
	errs := []error{finding{RefusedAddress}}
	for _, ip := range ips {
		to := netip.AddrPortFrom(ip, uint16(number))
		// Asked here too, because a mapped address has another form by the time the dialer asks.
		if !f.v.allows(to) {
			continue
		}
		conn, err := dialer.DialContext(ctx, "tcp", to.String())
		if err == nil {
			return conn, nil
		}
		errs = []error{finding{found(err, Unreachable)}}
	}
	return nil, errors.Join(errs...)
}

// addresses returns the first few addresses of host, those of IPv4 first.
func (f *fetcher) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	var ips []netip.Addr
	var outcome Outcome
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		records, o := f.resolver.lookup(ctx, host, kind)
		if outcome == "" || outcome == NoRecord {
			outcome = o
		}
		for _, r := range records {
			ips = append(ips, r.ip)
		}
	}
	if len(ips) == 0 {
		return nil, finding{outcome}
	}
	return ips[:min(len(ips), maxIPs)], nil
}

// control is called with the address that the kernel is about to connect to: the last one who can refuse it.
func (v *Verifier) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !v.allows(to) {
		return finding{RefusedAddress}
	}
	if v.test != nil && v.test.Connect != nil {
		return v.test.Connect(to)
	}
	return nil
}
