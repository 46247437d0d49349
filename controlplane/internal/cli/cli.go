// Package cli is the part of the tollgate command that asks a running control plane: one type per noun, whose fields
// are verbs. It owns flags, tables, JSON for programs and the exit codes; how requests are made is package client's, and
// what is allowed is the server's. It knows no database.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/tollgate/tollgate/controlplane/client"
)

// Streams is where a command writes.
type Streams struct {
	// Out gets what was asked for, and nothing else. Err gets the rest, never a secret.
	Out, Err io.Writer
	// Bar returns a bar on Err, which shows nothing where that is no terminal.
	Bar func() Bar
}

func (s *Streams) newBar() Bar {
	if s.Bar == nil {
		return noBar{}
	}
	return s.Bar()
}

type noBar struct{}

func (noBar) Show(string, int64, int64) {}
func (noBar) End()                      {}

// Bar shows how far a long work has come.
type Bar interface {
	Show(step string, done, total int64)
	End()
}

// Commands are the nouns.
type Commands struct {
	Account Account `cmd:"" help:"Manage who pays." example:"tollgate account create --name Acme --status active"`
	Project Project `cmd:"" help:"Manage the projects of accounts." example:"tollgate project create --account acct_… --name site --domain app.example.com"`
	Domain  Domain  `cmd:"" help:"Verify the domains of projects." example:"tollgate domain start proj_… && tollgate domain verify proj_…"`
	Key     Key     `cmd:"" help:"Manage API keys and key pairs." example:"tollgate key create --account acct_… --scheme genrex --name ci"`
	Credit  Credit  `cmd:"" help:"Move credits, and read balances, ledger and statements." example:"tollgate credit add acct_… --amount 1000 --reason 'invoice 17'"`
	Usage   Usage   `cmd:"" help:"Sum the requests that gates have counted." example:"tollgate usage --by conversation --account acct_…"`
	Audit   Audit   `cmd:"" help:"List what was changed, by whom, from what to what." example:"tollgate audit --account acct_…"`
	Explain Explain `cmd:"" help:"Say what a gate would decide, step by step, without charging." example:"tollgate explain --key key_… --cost 1"`
	Status  Status  `cmd:"" help:"Tell how a running server is, and which gates it has heard of." example:"tollgate status --url https://tollgate.example"`
}

// The exit codes, beside 0 and that of a wrong command line.
const (
	ExitFailed      = 1
	ExitDenied      = 3
	ExitNotFound    = 4
	ExitUnavailable = 5
)

// ExitCodes documents them.
const ExitCodes = `Exit codes: 0 done; 1 refused or failed; 2 wrong command line; 3 not authenticated, or not allowed; 4 not found;
5 the server was not reached or cannot answer now: try again later.`

// errNoToken means that nobody said who is asking.
var errNoToken = errors.New("expected an admin's token in the environment as TOLLGATE_TOKEN, or in a file named by --token-file")

// ExitCode is that of a command that ended with err.
func ExitCode(err error) int {
	var p *client.Problem
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNoToken):
		return ExitDenied
	case errors.Is(err, client.ErrUnreachable):
		return ExitUnavailable
	case !errors.As(err, &p):
		return ExitFailed
	}
	switch p.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return ExitDenied
	case http.StatusNotFound:
		return ExitNotFound
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return ExitUnavailable
	}
	return ExitFailed
}

// Connection says whom to ask, and as whom. The token itself is no flag: other users of a machine see command lines.
type Connection struct {
	URL       string `name:"url" env:"TOLLGATE_URL" default:"http://127.0.0.1:8090" placeholder:"URL" help:"The admin listener of the server (${default})."`
	TokenFile string `name:"token-file" placeholder:"FILE" help:"A file with the admin's token; without it, TOLLGATE_TOKEN of the environment."`
	Tries     int    `name:"tries" default:"5" placeholder:"N" help:"How often a request is sent at most that is safe to repeat, with pauses that grow (${default})."`
}

// NewConnection is a Connection for a command that does not always ask a server.
func NewConnection(url, tokenFile string) *Connection {
	return &Connection{URL: url, TokenFile: tokenFile, Tries: 5}
}

// Validate is called by kong.
func (c *Connection) Validate() error {
	// The token has a form of its own: this is about the URL.
	if _, err := client.New(c.URL, "x", client.Options{}); err != nil {
		return fmt.Errorf("--url: %w", client.ErrBadBase)
	}
	if c.Tries < 1 {
		return errors.New("--tries: expected 1 or more")
	}
	return nil
}

// maxTokenFile is far above the length of a token.
const maxTokenFile = 4 << 10

func (c *Connection) token() (string, error) {
	if c.TokenFile == "" {
		if token := os.Getenv("TOLLGATE_TOKEN"); token != "" {
			return token, nil
		}
		return "", errNoToken
	}
	f, err := os.Open(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// client connects to nothing yet.
func (c *Connection) client() (*client.Client, error) {
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	return client.New(c.URL, token, client.Options{UserAgent: "tollgate", Tries: c.Tries})
}

// ask lets do ask the server until it is done or a signal comes.
func (c *Connection) ask(do func(context.Context, *client.Client) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	cl, err := c.client()
	if err != nil {
		return err
	}
	return do(ctx, cl)
}

// format is how answers are printed.
type format struct {
	JSON bool `name:"json" help:"Print what the server answers: one JSON object, or of a list one array with a row per line."`
}

// asking is what every command takes.
type asking struct {
	Connection
	format
}

// repeatable is what those take that move credits or make a secret.
type repeatable struct {
	IdempotencyKey string `name:"idempotency-key" placeholder:"KEY" help:"Do it once, however often the command is repeated with this; by default one is made up for each run."`
}

// options are those of the request; what the answer says about it goes into m.
func (r *repeatable) options(m *client.Meta) []client.CallOption {
	opts := []client.CallOption{client.Into(m)}
	if r.IdempotencyKey != "" {
		opts = append(opts, client.IdempotencyKey(r.IdempotencyKey))
	}
	return opts
}

// conditional is what those take that change one thing.
type conditional struct {
	IfMatch string `name:"if-match" placeholder:"ETAG" help:"Only if it is still as it was when show --etag printed this."`
}

// conditions are the request's.
func (c *conditional) conditions() []client.CallOption {
	if c.IfMatch == "" {
		return nil
	}
	return []client.CallOption{client.IfMatch(c.IfMatch)}
}

// seen is what those take that show one thing which can be changed.
type seen struct {
	asking
	ETag bool `name:"etag" help:"Print its ETag alone, for --if-match of a change."`
}

// look asks for a T and shows it or its ETag.
func look[T any](s *Streams, l *seen, columns []column[T], get func(context.Context, *client.Client, client.CallOption) (T, error)) error {
	return l.ask(func(ctx context.Context, c *client.Client) error {
		var m client.Meta
		v, err := get(ctx, c, client.Into(&m))
		if err != nil {
			return err
		}
		if !l.ETag {
			return show(s, l.format, columns, v)
		}
		if _, err := fmt.Fprintln(s.Out, m.ETag); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		return nil
	})
}

// note tells of a repeated command that nothing was done this time.
func note(s *Streams, m client.Meta) {
	if m.Replayed {
		_, _ = fmt.Fprintln(s.Err, "tollgate: an earlier request under this idempotency key did it; nothing was done now")
	}
}
