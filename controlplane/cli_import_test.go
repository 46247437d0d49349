package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

// imported is a secret of genrex's form, always the same for n.
func imported(n int) string {
	return "grx_sk_" + fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, n)))[:48]
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var anySecret = regexp.MustCompile(`grx_sk_[0-9a-f]{10,}`)

func TestImportFromFiles(t *testing.T) {
	d := newDesk(t)
	account := d.MustAccount(t, "active", 0)
	csv := write(t, "keys.csv", "\ufeffsecret,account_id,scheme,name,environment,expires_at,external_ref,metadata.team,routes,allowed_ips\r\n"+
		imported(1)+","+account+",genrex,\"one, of\ntwo lines\",staging,2036-01-01T00:00:00Z,r1,blue,\"GET,POST /v1/*;/ping\",192.0.2.0/24;2001:db8::/32\r\n"+
		imported(2)+",,,two,,,,,,\r\n")
	if got := do("key", "import", "--file", csv, "--account", account, "--scheme", "genrex"); got.code != 1 || !strings.Contains(got.stderr, "line 2: name: ") {
		t.Errorf("a control character: got %+v", got)
	}
	csv = write(t, "keys.csv", strings.Replace(mustRead(t, csv), "\ntwo lines", "", 1))
	got := decoded[[]object](t, d.must(t, "key", "import", "--file", csv, "--account", account, "--scheme", "genrex", "--json"))
	if len(got) != 2 || got[0]["result"] != "created" || got[0]["line"] != 2.0 || got[0]["external_ref"] != "r1" || got[1]["line"] != 3.0 {
		t.Errorf("got %v", got)
	}
	key := d.mustJSON(t, "key", "show", got[0].id())
	if key["name"] != "one, of" || key["environment"] != "staging" || key["expires_at"] == nil || len(key["routes"].([]any)) != 2 ||
		len(key["allowed_ips"].([]any)) != 2 || key["metadata"].(map[string]any)["team"] != "blue" {
		t.Errorf("got %v", key)
	}
	if again := d.must(t, "key", "import", "--file", csv, "--account", account, "--scheme", "genrex"); again != "created   0\nexisting  2\nrefused   0\n" {
		t.Errorf("again: %s", again)
	}
	json := write(t, "keys.ndjson", fmt.Sprintf("\n{\"digest\":%q,\"last4\":\"abcd\",\"account_id\":%q,\"scheme\":\"genrex\",\"name\":\"n\"}\n\n{\"secret\":%q,\"account_id\":%q,\"scheme\":\"genrex\",\"name\":\"n\"}",
		apikey.DigestOf(imported(3)).Hex(), account, imported(1), account))
	if got := d.must(t, "key", "import", "--file", json); got != "created   1\nexisting  1\nrefused   0\n" {
		t.Errorf("got %s", got)
	}
	if e := d.must(t, "explain", "--digest", apikey.DigestOf(imported(3)).Hex(), "--scheme", "genrex"); !strings.Contains(e, "allow") {
		t.Errorf("the digest opens nothing: %s", e)
	}
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A file with lines that cannot be read is not sent; every one of them is named, and nothing of what is in them.
func TestImportNamesEveryBadLine(t *testing.T) {
	d := newDesk(t)
	account := d.MustAccount(t, "active", 0)
	rest := `,"account_id":"` + account + `","scheme":"genrex","name":"n"}`
	for name, tt := range map[string]struct {
		file  string
		lines []string
	}{
		"JSON": {
			`{"secret":"` + imported(1) + `"` + rest + "\n" + `{"secret":"` + imported(2) + `","digest":"x"` + rest + "\n" +
				`{"secret":"` + imported(3) + "\n" + `{"` + imported(4) + `":1` + rest + "\n" + `{"secret":5` + rest + "\n" +
				`{"secret":"` + imported(6) + `","expires_at":"` + imported(7) + `"` + rest + "\n" + `{"secret":"` + imported(8) + `","nam":1` + rest + "\n" +
				`{"secret":"` + imported(9) + `","scheme":"genrex","name":"n"}` + "\n" + `{"secret":"` + imported(10) + `"` + rest + `{}` + "\n",
			[]string{"line 2: secret: expected exactly one", "line 3: expected one JSON", "line 4: …: unknown field", "line 5: secret: expected another",
				"line 6: expires_at: expected a time", "line 7: nam: unknown field", "line 8: account_id: ", "line 9: expected one JSON"},
		},
		"CSV": {
			"secret,account_id,scheme,name,routes,expires_at\n" + imported(1) + "," + account + ",genrex,n,," + "\n" + imported(2) + ",,,\n" +
				imported(3) + "," + account + ",genrex,n," + imported(4) + ",\n" + imported(5) + "," + account + ",genrex,n,,tomorrow\n" + "," + account + ",genrex,n,,\n",
			[]string{"line 3: expected CSV: wrong number of fields", "line 4: routes: expected a path", "line 5: expires_at", "line 6: secret"},
		},
		"CSV without a header": {imported(1) + "," + account + ",genrex,n\n", []string{"line 1: …: unknown column"}},
		"a column twice":       {"name,secret,name\n", []string{"line 1: name: expected each column once"}},
		"an open quote":        {"secret,name\n" + imported(1) + ",\"n\n", []string{`line 2: expected CSV: extraneous or missing " in quoted-field`}},
		"a long line":          {"{\"secret\":\"" + strings.Repeat("x", 1<<20) + "\"}", []string{"line 1: expected a shorter line"}},
		"nothing":              {"", []string{"found none"}},
		"a header alone":       {"secret,name\n", []string{"found none"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := do("key", "import", "--file", write(t, "f", tt.file))
			if got.code != 1 || got.stdout != "" || anySecret.MatchString(got.stderr) {
				t.Errorf("got exit code %d, stdout %q, stderr %q", got.code, got.stdout, got.stderr)
			}
			if named := strings.Count(got.stderr, ": line "); named != len(tt.lines) && tt.lines[0] != "found none" {
				t.Errorf("%d lines are named, want %d: %s", named, len(tt.lines), got.stderr)
			}
			for _, line := range tt.lines {
				if !strings.Contains(got.stderr, line) {
					t.Errorf("want %q in %s", line, got.stderr)
				}
			}
		})
	}
	if got := d.must(t, "key", "list", "--json"); got != "[]\n" {
		t.Errorf("keys were made: %s", got)
	}
	if got := do("key", "import", "--file", filepath.Join(t.TempDir(), "none")); got.code != 1 || !strings.Contains(got.stderr, "--file") {
		t.Errorf("got %+v", got)
	}
}

// Of two batches one has a key of somebody else: that line is named and its batch left out, the other is imported. Once
// it is gone, the same command imports the rest.
func TestImportGoesOnWhereItStopped(t *testing.T) {
	d := newDesk(t)
	account := d.MustAccount(t, "active", 0)
	foreign := d.MustKey(t, d.MustAccount(t, "active", 0)).Secret
	const n = 1100
	lines := []string{"secret,name"}
	for i := range n {
		lines = append(lines, imported(i)+",n")
	}
	good := write(t, "good.csv", strings.Join(lines, "\n"))
	lines[500] = foreign + ",n"
	bad := write(t, "bad.csv", strings.Join(lines, "\n"))
	args := []string{"key", "import", "--account", account, "--scheme", "genrex", "--file"}
	got := do(append(args, bad)...)
	if got.code != 1 || got.stdout != "created   100\nexisting  0\nrefused   1000\n" || !strings.Contains(got.stderr, "line 501: secret: ") || anySecret.MatchString(got.stderr) {
		t.Errorf("got exit code %d, stdout %q, stderr %q", got.code, got.stdout, got.stderr)
	}
	// A server that goes away after the first batch.
	target, err := url.Parse(d.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(target)
	flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) > 1 {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer flaky.Close()
	got = do(append(args, good, "--url", flaky.URL)...)
	if got.code != 5 || got.stdout != "" || !strings.Contains(got.stderr, "stopped at line 1002, 1000 keys are there; repeat the command") {
		t.Errorf("got exit code %d, stdout %q, stderr %q", got.code, got.stdout, got.stderr)
	}
	if got := d.must(t, append(args, good)...); got != "created   0\nexisting  1100\nrefused   0\n" {
		t.Errorf("got %s", got)
	}
	if strings.Contains(d.Logs(), "grx_sk_") {
		t.Error("a secret in the log")
	}
}
