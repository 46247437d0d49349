package server

import (
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/domain"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// Config is what a Server is made of. Store is required; the zero value of every other field works.
type Config struct {
	// Store answers every request. The caller keeps it and closes it after the last handler has returned.
	Store *store.Store
	// Schemes are those in which keys are issued and gates ask, each name once; nil means apikey.Presets().
	Schemes []*apikey.Scheme
	// Logger receives one record per admin request and per internal error; nil means slog.Default().
	Logger *slog.Logger
	// Now tells how old a remembered gate token is, which tokens have expired, when who has failed too often may try again, and
	// when a gate was heard of; nil means time.Now.
	Now func() time.Time
	// Domains looks for the answers to challenges; nil asks the system's resolvers. Rechecks says when RecheckDomains looks
	// at a proof again.
	Domains  *domain.Verifier
	Rechecks domain.Schedule
	// BackupDir is where POST /v1/backups puts backups; empty means that it puts none.
	BackupDir string
}

// Server holds the three handlers. It is safe for concurrent use and owns nothing that needs closing.
type Server struct {
	store   *store.Store
	log     *slog.Logger
	metrics *metrics
	now     func() time.Time
	gates   *tokenCache
	uses    *tokenUses
	// failures are those to authenticate, on whatever listener.
	failures *throttle
	schemes  schemes
	// strangers are the schemes that only gates know.
	strangers strangers
	started   time.Time
	heard     *heard
	backupDir string
	// draining is set once the process is about to stop.
	draining atomic.Bool
	domains  *domain.Verifier
	rechecks domain.Schedule
	looks    looks
	flights  *flights

	// rules are the roles that may ask for an operation, by its method and gin's pattern of its path.
	rules map[string][]store.Role
	// faults are what is wrong with the registered operations.
	faults []error

	admin, gate, ops http.Handler
}

// New builds the handlers. It starts no listener and no goroutine.
func New(c Config) (*Server, error) {
	if c.Store == nil {
		return nil, errors.New("new server: Store: expected an open store")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Schemes == nil {
		c.Schemes = apikey.Presets()
	}
	schemes, err := newSchemes(c.Schemes)
	if err != nil {
		return nil, err
	}
	if c.Domains == nil {
		if c.Domains, err = domain.New(domain.Options{}); err != nil {
			return nil, err
		}
	}
	s := &Server{
		store: c.Store, now: c.Now, uses: newTokenUses(), failures: newThrottle(c.Now), log: c.Logger, metrics: newMetrics(c.Store), schemes: schemes,
		rules: map[string][]store.Role{}, domains: c.Domains, rechecks: c.Rechecks, flights: newFlights(),
	}
	s.started, s.heard, s.backupDir = c.Now(), newHeard(c.Now), c.BackupDir
	s.metrics.registry.MustRegister(newHealthMetrics(s))
	s.gates = newTokenCache(c.Store.TokenByDigest, c.Now)
	admin, err := s.adminEngine()
	if err != nil {
		return nil, err
	}
	s.admin, s.gate, s.ops = admin, s.gateEngine(), s.opsEngine()
	return s, nil
}

// Admin serves the REST API under /v1 and its description at /openapi.json.
func (s *Server) Admin() http.Handler { return s.admin }

// Gate serves api.AcquirePath and api.SyncPath.
func (s *Server) Gate() http.Handler { return s.gate }

// Ops serves /healthz, /readyz and /metrics, without authentication: it belongs on a private address.
func (s *Server) Ops() http.Handler { return s.ops }

// Drain makes /readyz say that the process is about to stop.
func (s *Server) Drain() { s.draining.Store(true) }

func init() { gin.SetMode(gin.ReleaseMode) }

// engine returns a gin engine that answers everything, unknown paths and methods and panics included, with
// RFC 9457 and a request id.
func (s *Server) engine(listener string) *gin.Engine {
	e := gin.New()
	e.RedirectTrailingSlash = false
	e.HandleMethodNotAllowed = true
	// An escaped slash belongs to an id; it does not make another route.
	e.UseRawPath = true
	e.UnescapePathValues = true
	e.Use(s.identify, s.observe(listener), s.recovery)
	e.NoRoute(func(c *gin.Context) { s.abort(c, errRoute) })
	e.NoMethod(func(c *gin.Context) { s.abort(c, errMethod) })
	return e
}

// NewGateServer is NewHTTPServer for the gate listener. The idle limit outlasts that of Envoy's connection pools (one hour),
// so that it is the proxy that closes a connection at rest and no callout meets one that is just being closed.
func NewGateServer(h http.Handler, log *slog.Logger) *http.Server {
	s := NewHTTPServer(h, log)
	s.IdleTimeout = 65 * time.Minute
	return s
}

// NewHTTPServer wraps h with the time limits that a listener of the control plane has. How long a connection may rest bounds how
// many of them one client can collect.
func NewHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
