package domaintest

import (
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate/tollgate/controlplane/internal/domain"
)

// Web is a web server with and without TLS, for example.com and the names right below it. Its methods are safe for
// concurrent use.
type Web struct {
	Plain, Secure netip.AddrPort
	// Roots trust the certificate.
	Roots *x509.CertPool

	mu       sync.Mutex
	handler  http.Handler
	requests []string
}

// NewWeb starts both servers, which end with the test. They answer 404 until Serve is called.
func NewWeb(t testing.TB) *Web {
	t.Helper()
	w := &Web{handler: http.NotFoundHandler(), Roots: x509.NewCertPool()}
	plain, secure := httptest.NewUnstartedServer(w), httptest.NewUnstartedServer(w)
	for _, s := range []*httptest.Server{plain, secure} {
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
	}
	plain.Start()
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	w.Plain = netip.MustParseAddrPort(strings.TrimPrefix(plain.URL, "http://"))
	w.Secure = netip.MustParseAddrPort(strings.TrimPrefix(secure.URL, "https://"))
	w.Roots.AddCert(secure.Certificate())
	return w
}

// Serve has both servers answer with h.
func (w *Web) Serve(h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handler = h
}

// Requests returns the requests so far, each as "http host/path".
func (w *Web) Requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.requests...)
}

// ServeHTTP is called by the servers.
func (w *Web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	scheme := "http "
	if r.TLS != nil {
		scheme = "https "
	}
	host, _, _ := strings.Cut(r.Host, ":")
	w.mu.Lock()
	h := w.handler
	w.requests = append(w.requests, scheme+host+r.URL.Path)
	w.mu.Unlock()
	h.ServeHTTP(rw, r)
}

// Network is the internet on which the web server is the only machine.
func (w *Web) Network() *domain.TestNetwork {
	return &domain.TestNetwork{
		Allow: []netip.AddrPort{w.Plain, w.Secure}, HTTPPort: w.Plain.Port(), HTTPSPort: w.Secure.Port(), RootCAs: w.Roots,
	}
}
