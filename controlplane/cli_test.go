package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/controlplane/internal/domain"
	"github.com/tollgate/tollgate/controlplane/internal/domain/domaintest"
)

// desk is a control plane and a command that asks it, within this process.
type desk struct {
	*controlplanetest.ControlPlane
}

func newDesk(t *testing.T) desk {
	t.Helper()
	return newDeskWith(t, controlplanetest.Options{})
}

func newDeskWith(t *testing.T, o controlplanetest.Options) desk {
	t.Helper()
	d := desk{controlplanetest.NewWith(t, o)}
	t.Setenv("TOLLGATE_URL", d.AdminURL)
	t.Setenv("TOLLGATE_TOKEN", d.AdminToken)
	return d
}

func do(args ...string) result {
	var stdout, stderr bytes.Buffer
	code := run(args, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// must runs a command that has to succeed and returns its standard output.
func (d desk) must(t *testing.T, args ...string) string {
	t.Helper()
	got := do(args...)
	if got.code != 0 {
		t.Fatalf("%q: exit code %d: %s", args, got.code, got.stderr)
	}
	return got.stdout
}

// object is a JSON object that a command has printed.
type object map[string]any

func (d desk) mustJSON(t *testing.T, args ...string) object {
	t.Helper()
	return decoded[object](t, d.must(t, append(args, "--json")...))
}

func decoded[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

func (o object) id() string { return o["id"].(string) }

// What REST answers, a command prints with --json to the letter, and in its table with the whole id.
func TestReadsPrintWhatRESTAnswers(t *testing.T) {
	d := newDesk(t)
	account := d.mustJSON(t, "account", "create", "--name", `Böse & "Söhne"`, "--status", "active").id()
	d.must(t, "credit", "add", account, "--amount", "10", "--reason", "welcome")
	d.must(t, "credit", "adjust", account, "--amount=-3", "--reason", "too many")
	project := d.mustJSON(t, "project", "create", "--account", account, "--name", "site", "--domain", "Bücher.example").id()
	d.must(t, "domain", "start", project)
	d.must(t, "domain", "attest", project, "--reason", "seen")
	pair := d.mustJSON(t, "key", "create", "--project", project, "--scheme", "vexrail", "--name", "web", "--expires", "2027-01-01T00:00:00Z",
		"--metadata", "team=blue", "--metadata", "note=a,b;c", "--route", "GET,POST /v1/*", "--route", "/ping", "--allow-ip", "192.0.2.0/24,2001:db8::/32").id()
	token := d.mustJSON(t, "token", "create", "--url", d.AdminURL, "--role", "viewer", "--name", "v").id()
	for _, tt := range []struct {
		args []string
		path string
		// shows is in the table.
		shows string
	}{
		{[]string{"account", "show", account}, "/v1/accounts/" + account, account},
		{[]string{"account", "list"}, "/v1/accounts", account},
		{[]string{"project", "show", project}, "/v1/projects/" + project, "xn--bcher-kva.example"},
		{[]string{"project", "list", "--account", account}, "/v1/projects?account_id=" + account, project},
		{[]string{"domain", "show", project}, "/v1/projects/" + project + "/domain", "attest"},
		{[]string{"key", "show", pair}, "/v1/keys/" + pair, "GET,POST /v1/*; /ping"},
		{[]string{"key", "list", "--metadata", "team=blue", "--status", "active"}, "/v1/keys?metadata=team%3Dblue&status=active", pair},
		{[]string{"key", "search", "--name", "nothing"}, "/v1/keys?name=nothing", "ID"},
		{[]string{"credit", "wallet", account}, "/v1/accounts/" + account + "/wallet", "7"},
		{[]string{"credit", "entries", account}, "/v1/accounts/" + account + "/entries", "too many"},
		{[]string{"credit", "statement", account}, "/v1/accounts/" + account + "/statement", "closing: available 7"},
		{[]string{"usage", "--by", "day,key"}, "/v1/usage?group_by=day,key", "REQUESTS"},
		{[]string{"usage", "list"}, "/v1/usage", "REQUESTS"},
		{[]string{"audit", "--target", pair}, "/v1/audit?target=" + pair, "key.create"},
		{[]string{"audit", "list", "--since", "2026-01-01", "--action", "domain.attest"}, "/v1/audit?action=domain.attest", "seen"},
		{[]string{"token", "show", token}, "/v1/tokens/" + token, "viewer"},
		{[]string{"token", "list"}, "/v1/tokens", token},
		{[]string{"status"}, "/v1/status", "WRITABLE"},
	} {
		name := strings.Join(tt.args, " ")
		status, answer := d.Admin(t, http.MethodGet, tt.path, nil)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", tt.path, status, answer)
		}
		want := decoded[any](t, string(answer))
		if list, ok := want.(map[string]any); ok && len(list) == 3 && list["data"] != nil {
			want = list["data"]
		}
		if diff := cmp.Diff(want, decoded[any](t, d.must(t, append(tt.args, "--json")...))); diff != "" {
			t.Errorf("%s (-REST +command):\n%s", name, diff)
		}
		if table := d.must(t, tt.args...); !strings.Contains(table, tt.shows) && !strings.Contains(strings.ToUpper(table), tt.shows) {
			t.Errorf("%s: want %q in:\n%s", name, tt.shows, table)
		}
	}
	csv := d.must(t, "credit", "statement", account, "--csv")
	if _, answer := d.Admin(t, http.MethodGet, "/v1/accounts/"+account+"/statement?format=csv", nil); csv != string(answer) {
		t.Errorf("CSV %s, want %s", csv, answer)
	}
}

func TestLifeByCommand(t *testing.T) {
	d := newDesk(t)
	account := d.mustJSON(t, "account", "create", "--name", "Acme").id()
	if got := d.mustJSON(t, "account", "update", account, "--status", "active", "--name", "Acme Inc"); got["status"] != "active" || got["name"] != "Acme Inc" {
		t.Errorf("got %v", got)
	}
	if again := d.mustJSON(t, "account", "create", "--name", "Bolt", "--idempotency-key", "bolt").id(); again != d.mustJSON(t, "account", "create", "--name", "Bolt", "--idempotency-key", "bolt").id() {
		t.Error("made twice")
	}
	for range 2 {
		d.must(t, "credit", "add", account, "--amount", "5", "--idempotency-key", "invoice-1")
	}
	if again := do("credit", "add", account, "--amount", "5", "--idempotency-key", "invoice-1"); !strings.Contains(again.stderr, "nothing was done now") {
		t.Errorf("got %+v", again)
	}
	if got := d.MustWallet(t, account); got.Available != 5 {
		t.Errorf("wallet %+v", got)
	}
	key := d.mustJSON(t, "key", "create", "--account", account, "--scheme", "genrex", "--name", "ci")
	if e := d.mustJSON(t, "explain", "--key", key.id(), "--cost", "6"); e["decision"] != "deny" {
		t.Errorf("got %v", e)
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(key["secret"].(string)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if table := d.must(t, "explain", "--secret-file", file, "--scheme", "genrex", "--cost", "5"); !strings.Contains(table, "allow") || !strings.Contains(table, key.id()) {
		t.Errorf("got %s", table)
	}
	rotated := d.mustJSON(t, "key", "rotate", key.id(), "--overlap", "1h")
	if rotated["secret"] == key["secret"] || rotated.id() != key.id() {
		t.Error("no other secret of the same key")
	}
	updated := d.mustJSON(t, "key", "update", key.id(), "--status", "inactive", "--expires", "2027-01-01T00:00:00Z", "--metadata", "a=b", "--route", "/x", "--allow-ip", "192.0.2.1")
	if updated["status"] != "inactive" || updated["expires_at"] == nil || len(updated["routes"].([]any)) != 1 {
		t.Errorf("got %v", updated)
	}
	updated = d.mustJSON(t, "key", "update", key.id(), "--status", "active", "--never-expires", "--clear-metadata", "--any-route", "--any-ip")
	if updated["status"] != "active" || updated["expires_at"] != nil || len(updated["metadata"].(map[string]any))+len(updated["routes"].([]any))+len(updated["allowed_ips"].([]any)) != 0 {
		t.Errorf("got %v", updated)
	}
	replacing := d.mustJSON(t, "key", "replace", key.id())
	if replacing["replaces"] != key.id() || replacing["secret"] == nil {
		t.Error("no replacement with a secret")
	}
	if got := d.mustJSON(t, "key", "revoke", replacing.id()); got["status"] != "revoked" {
		t.Errorf("got %v", got)
	}
	project := d.mustJSON(t, "project", "create", "--account", account, "--name", "site", "--domain", "a.example.com").id()
	if got := d.mustJSON(t, "project", "update", project, "--name", "shop"); got["name"] != "shop" {
		t.Errorf("got %v", got)
	}
	d.must(t, "domain", "attest", project, "--reason", "seen")
	if got := d.mustJSON(t, "domain", "lapse", project, "--reason", "sold"); got["domain_status"] != "lapsed" {
		t.Errorf("got %v", got)
	}
	token := decoded[object](t, d.must(t, "token", "create", "--url", d.AdminURL, "--role", "billing", "--name", "b", "--expires", "2030-01-01T00:00:00Z", "--json"))
	if got := d.mustJSON(t, "token", "revoke", token.id()); got["status"] != "revoked" {
		t.Errorf("got %v", got)
	}
	if got := d.mustJSON(t, "account", "close", account, "--balance", "write_off", "--reason", "left"); got["status"] != "closed" {
		t.Errorf("got %v", got)
	}
	d.Verify(t)
}

// A change under the ETag of what was seen is made once: whoever has seen the same thing is told that it was changed.
func TestChangesHeldToWhatWasSeen(t *testing.T) {
	d := newDesk(t)
	account := d.MustAccount(t, "active", 0)
	project := d.MustProject(t, account, "verified")
	key := d.MustKey(t, account).ID
	token := d.mustJSON(t, "token", "create", "--url", d.AdminURL, "--role", "viewer", "--name", "v").id()
	for noun, tt := range map[string]struct {
		id     string
		change []string
	}{
		"account": {account, []string{"account", "update", account, "--name", "other"}},
		"project": {project, []string{"project", "update", project, "--name", "other"}},
		"key":     {key, []string{"key", "update", key, "--name", "other"}},
		"token":   {token, []string{"token", "revoke", token}},
	} {
		etag := strings.TrimSpace(d.must(t, noun, "show", tt.id, "--etag"))
		change := append(tt.change, "--if-match", etag)
		d.must(t, change...)
		if got := do(change...); got.code != 1 || !strings.Contains(got.stderr, "412 precondition_failed") {
			t.Errorf("%s, again: %+v", noun, got)
		}
	}
	etag := strings.TrimSpace(d.must(t, "key", "show", key, "--etag"))
	d.must(t, "key", "update", key, "--environment", "staging")
	for _, args := range [][]string{{"key", "rotate", key}, {"key", "replace", key}, {"key", "revoke", key}} {
		if got := do(append(args, "--if-match", etag)...); got.code != 1 || got.stdout != "" {
			t.Errorf("%q: %+v", args, got)
		}
	}
	for _, args := range [][]string{
		{"domain", "attest", project, "--reason=r"}, {"domain", "lapse", project, "--reason=r"}, {"account", "close", account, "--balance=refuse", "--reason=r"},
	} {
		if got := do(append(args, "--if-match", `"old"`)...); got.code != 1 || !strings.Contains(got.stderr, "412") {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

// A server makes backups in a folder of its own, if it was told of one.
func TestBackupByTheServer(t *testing.T) {
	d := newDesk(t)
	if got := do("backup", "--url", d.AdminURL); got.code != 1 || !strings.Contains(got.stderr, "409") {
		t.Errorf("got %+v", got)
	}
	dir := t.TempDir()
	d = newDeskWith(t, controlplanetest.Options{BackupDir: dir})
	made := decoded[object](t, d.must(t, "backup", "--url", d.AdminURL, "--json"))
	if _, err := os.Stat(filepath.Join(dir, made["name"].(string))); err != nil {
		t.Error(err)
	}
	for _, args := range [][]string{{}, {"--out=x", "--url=http://x"}, {"--out=x", "--json"}, {"--url=x"}} {
		if got := do(append([]string{"backup"}, args...)...); got.code != 2 {
			t.Errorf("%q: got %+v", args, got)
		}
	}
}

// The exit code tells whether the proof is there, and what was found is printed either way.
func TestDomainVerify(t *testing.T) {
	dns := domaintest.NewDNS(t)
	d := newDeskWith(t, controlplanetest.Options{Domains: domain.Options{Resolvers: []netip.AddrPort{dns.Addr}}})
	project := d.MustProject(t, d.MustAccount(t, "active", 0), "unverified")
	if got := do("domain", "verify", project); got.code != 1 || !strings.Contains(got.stderr, "409") {
		t.Errorf("without a challenge: %+v", got)
	}
	asked := d.mustJSON(t, "domain", "start", project, "--method", "dns")
	record := asked["challenge"].(map[string]any)["dns"].(map[string]any)
	if shown := d.must(t, "domain", "show", project); !strings.Contains(shown, record["name"].(string)+" TXT "+strconv.Quote(record["value"].(string))) {
		t.Errorf("shows %s", shown)
	}
	got := do("domain", "verify", project)
	if got.code != 1 || !strings.Contains(got.stdout, "nxdomain") || !strings.Contains(got.stderr, "the proof was not found") {
		t.Errorf("without the record: %+v", got)
	}
	dns.TXT(record["name"].(string), record["value"].(string))
	d.Clock.Advance(time.Minute)
	if got := d.must(t, "domain", "verify", project); !strings.Contains(got, "verified") || !strings.Contains(got, "proven") {
		t.Errorf("got %s", got)
	}
	d.Clock.Advance(time.Minute)
	if got := d.mustJSON(t, "domain", "verify", project); got["outcome"] != "verified" {
		t.Errorf("got %v", got)
	}
}

// A secret that was just made is on standard output, once, and nowhere else; a warning comes with it.
func TestSecretsGoToStandardOutputAlone(t *testing.T) {
	d := newDesk(t)
	account := d.MustAccount(t, "active", 0)
	secret := regexp.MustCompile(`(grx_sk_[0-9a-f]{48}|tg_viewer_[A-Za-z0-9_-]{43})`)
	var key string
	for _, args := range [][]string{
		{"key", "create", "--account", account, "--scheme", "genrex", "--name", "n"},
		{"key", "rotate", "KEY"},
		{"key", "replace", "KEY"},
		{"token", "create", "--url", d.AdminURL, "--role", "viewer", "--name", "n"},
	} {
		for _, asJSON := range []bool{false, true} {
			args := slices.Clone(args)
			if i := slices.Index(args, "KEY"); i > 0 {
				args[i] = key
			}
			if asJSON {
				args = append(args, "--json")
			}
			got := do(args...)
			if n := len(secret.FindAllString(got.stdout, -1)); got.code != 0 || n != 1 || secret.MatchString(got.stderr) || !strings.Contains(got.stderr, "shown this once") {
				t.Errorf("%q: exit code %d, %d secrets on stdout, stderr: %s", args, got.code, n, secret.ReplaceAllString(got.stderr, "SECRET"))
			}
			if id := regexp.MustCompile(`key_[a-z0-9]+`).FindString(got.stdout); id != "" {
				key = id
			}
		}
	}
	repeated := []string{"key", "create", "--account", account, "--scheme", "genrex", "--name", "n", "--idempotency-key", "once"}
	d.must(t, repeated...)
	if got := do(repeated...); got.code != 0 || secret.MatchString(got.stdout) || !strings.Contains(got.stderr, "tollgate key rotate key_") {
		t.Errorf("repeated: exit code %d, stderr: %s", got.code, got.stderr)
	}
	for _, text := range []string{d.Logs(), d.must(t, "audit", "--json")} {
		if secret.MatchString(text) {
			t.Error("a secret in the log, or in the audit log")
		}
	}
}

// A list says when it is not whole, and JSON is whole unless told otherwise.
func TestListsAreWholeOrSaySo(t *testing.T) {
	d := newDesk(t)
	for range 101 {
		d.MustAccount(t, "pending", 0)
	}
	for _, tt := range []struct {
		args []string
		rows int
		more bool
	}{
		{[]string{"--json"}, 101, false}, {[]string{"--json", "--limit=100"}, 100, true}, {[]string{"--json", "--limit=101"}, 101, false},
		{nil, 100, true}, {[]string{"--limit=0"}, 101, false}, {[]string{"--limit=1"}, 1, true},
	} {
		got := do(append([]string{"account", "list"}, tt.args...)...)
		if n := strings.Count(got.stdout, "acct_"); got.code != 0 || n != tt.rows || strings.Contains(got.stderr, "there are more") != tt.more {
			t.Errorf("%q: exit code %d, %d rows, stderr %q; want %d rows", tt.args, got.code, n, got.stderr, tt.rows)
		}
		if slices.Contains(tt.args, "--json") && (len(decoded[[]object](t, got.stdout)) != tt.rows || strings.Count(got.stdout, "\n") != tt.rows) {
			t.Errorf("%q: not a row per line", tt.args)
		}
	}
}
