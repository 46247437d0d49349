package main

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestExitCodesOfRequests(t *testing.T) {
	d := newDesk(t)
	account := d.MustAccount(t, "active", 0)
	viewer := d.MustToken(t, "viewer")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	_ = l.Close()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	defer page.Close()
	const secret = "grx_sk_0123456789abcdef0123456789abcdef0123456789abcdef"
	tokens := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(tokens, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "--token-file=" + path
	}
	for _, tt := range []struct {
		name   string
		args   []string
		token  string
		code   int
		stderr string
	}{
		{"good", []string{"account", "show", account}, d.AdminToken, 0, ""},
		{"token in a file", []string{"account", "show", account, file("good", d.AdminToken+"\n")}, "", 0, ""},
		{"refused", []string{"credit", "adjust", account, "--amount=-1", "--reason=r"}, d.AdminToken, 1, "409 insufficient_credits"},
		{"bad field", []string{"project", "create", "--account", account, "--name=n", "--domain=localhost"}, d.AdminToken, 1, "body.domain"},
		{"a whole secret", []string{"key", "list", "--prefix", secret}, d.AdminToken, 1, "query.prefix"},
		{"unknown verb", []string{"account", "destroy"}, d.AdminToken, 2, "destroy"},
		{"no id", []string{"account", "show"}, d.AdminToken, 2, "<account>"},
		{"nothing to change", []string{"account", "update", account}, d.AdminToken, 2, "--name or --status"},
		{"no owner", []string{"key", "create", "--scheme=genrex", "--name=n"}, d.AdminToken, 2, "--account"},
		{"two owners", []string{"key", "create", "--scheme=genrex", "--name=n", "--account=a", "--project=b"}, d.AdminToken, 2, "can't be used together"},
		{"unknown status", []string{"key", "list", "--status=lost"}, d.AdminToken, 2, "--status"},
		{"no path", []string{"key", "update", "k", "--route=v1"}, d.AdminToken, 2, "expected a path"},
		{"no tries", []string{"account", "list", "--tries=0"}, d.AdminToken, 2, "--tries"},
		{"negative limit", []string{"key", "list", "--limit=-1"}, d.AdminToken, 2, "--limit"},
		{"no URL", []string{"account", "list", "--url=me:secret@host"}, d.AdminToken, 2, "--url: expected the root"},
		{"CSV and JSON", []string{"credit", "statement", account, "--csv", "--json"}, d.AdminToken, 2, "--csv"},
		{"scheme of a key", []string{"explain", "--key=k", "--scheme=genrex"}, d.AdminToken, 2, "--scheme"},
		{"db and url", []string{"token", "create", "--db=x", "--url=http://x", "--role=gate", "--name=n"}, d.AdminToken, 2, "--url: expected without --db"},
		{"JSON of a database", []string{"token", "create", "--db=x", "--json", "--role=gate", "--name=n"}, d.AdminToken, 2, "expected with --url"},
		{"no token", []string{"account", "list"}, "", 3, "TOLLGATE_TOKEN"},
		{"unknown token", []string{"account", "list"}, "tg_owner_nonesuch", 3, "401 unauthenticated"},
		{"broken token", []string{"account", "list"}, "tg owner", 1, "visible ASCII"},
		{"not allowed", []string{"account", "create", "--name=n"}, viewer, 3, "403 forbidden"},
		{"no such account", []string{"account", "show", "acct_none"}, d.AdminToken, 4, "404 not_found"},
		{"no such key", []string{"key", "rotate", "key_none"}, d.AdminToken, 4, "404 not_found"},
		{"nobody there", []string{"account", "list", "--tries=2", "--url", nobody}, d.AdminToken, 5, "could not be reached"},
		{"nobody there, with a secret", []string{"key", "list", "--prefix", secret, "--tries=1", "--url", nobody}, d.AdminToken, 5, nobody},
		{"somebody else there", []string{"account", "list", "--url", page.URL}, d.AdminToken, 1, "not a control plane's"},
		{"no token file", []string{"account", "list", "--token-file=" + tokens + "/none"}, "", 1, "--token-file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TOLLGATE_TOKEN", tt.token)
			got := do(tt.args...)
			if got.code != tt.code || !strings.Contains(got.stderr, tt.stderr) || tt.code != 0 && got.stdout != "" {
				t.Errorf("got exit code %d, want %d\nstdout: %s\nstderr: %s", got.code, tt.code, got.stdout, got.stderr)
			}
			for _, hidden := range []string{d.AdminToken, viewer, secret, "nonesuch", "secret@"} {
				if strings.Contains(got.stdout+got.stderr, hidden) {
					t.Errorf("prints a secret: %s%s", got.stdout, got.stderr)
				}
			}
		})
	}
}

// Whoever waits for a secret is not told that all is well when the answer with it was lost, although what it was made for
// is there.
func TestALostSecretIsAnError(t *testing.T) {
	d := newDesk(t)
	account := d.MustAccount(t, "active", 0)
	key := d.MustKey(t, account).ID
	for _, args := range [][]string{
		{"key", "create", "--account", account, "--scheme", "genrex", "--name", "n"}, {"key", "rotate", key}, {"key", "replace", key},
		{"token", "create", "--role", "viewer", "--name", "n"},
	} {
		got := do(append(args, "--json", "--url", d.losingFirst(t))...)
		if got.code != 1 || anySecret.MatchString(got.stdout) || !strings.Contains(got.stderr, "lost") {
			t.Errorf("%q: got %+v", args, got)
		}
	}
	if got := d.must(t, "key", "list", "--status", "active", "--json"); strings.Count(got, `"id"`) != 2 {
		t.Errorf("made more than once: %s", got)
	}
}

// losingFirst is the URL of a network that loses the first answer.
func (d desk) losingFirst(t *testing.T) string {
	t.Helper()
	target, err := url.Parse(d.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	var lost atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(*http.Response) error {
		if lost.Swap(true) {
			return nil
		}
		return errors.New("lost")
	}
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	network := httptest.NewServer(proxy)
	t.Cleanup(network.Close)
	return network.URL
}

// token create writes to a database unless it is told otherwise: flags come before the environment.
func TestWhereTokenCreateGoes(t *testing.T) {
	d := newDesk(t)
	db := filepath.Join(t.TempDir(), "here.db")
	create := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(d.must(t, append([]string{"token", "create", "--role=viewer", "--name=n"}, args...)...))
	}
	for name, tt := range map[string]struct {
		env, args []string
		remote    bool
	}{
		"db":                     {nil, []string{"--db", db}, false},
		"db in the environment":  {[]string{"TOLLGATE_DB", db}, nil, false},
		"url":                    {[]string{"TOLLGATE_DB", db}, []string{"--url", d.AdminURL}, true},
		"url in the environment": {nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.env != nil {
				t.Setenv(tt.env[0], tt.env[1])
			}
			token := create(tt.args...)
			t.Setenv("TOLLGATE_TOKEN", token)
			if got := do("account", "list"); (got.code == 0) != tt.remote {
				t.Errorf("the server knows the token: %v, want %v", got.code == 0, tt.remote)
			}
		})
	}
}
