//go:build !wasip1

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/controlplanetest"
)

// The cURL examples of both published pages, with nothing changed but the host and the keys, through the
// repository's own envoy.yaml.
func TestPublishedExamples(t *testing.T) {
	t.Parallel()
	cp, upstream := controlplanetest.New(t), newRecorder(t)
	proxy := startProxy(t, proxyOptions{
		gateAddress: hostPort(cp.GateURL), upstreamAddress: hostPort(upstream.URL), gateToken: cp.GateToken,
	})
	account := cp.MustAccount(t, "active", 10)
	key, pair := cp.MustKey(t, account), cp.MustPair(t, cp.MustProject(t, account, "verified"))
	tests := []struct {
		name, host   string
		keys         []string // placeholder and key by turns
		invalid, got string
		conversation string
	}{
		{
			"genrex", "https://api.genrex.io", []string{"grx_sk_your_api_key", key.Secret},
			`"code":"INVALID_API_KEY"`, `{"prompt": "Write about AI trends"}`, "",
		},
		{
			"vexrail", "https://api.vexrail.com",
			[]string{"pk_live_your_publishable_key", pair.Publishable, "sk_live_your_secret_key", pair.Secret},
			`"code":"invalid_api_key"`, "{\n\"model\": \"gpt-4o-mini\",\n\"messages\": [\n{\"role\": \"user\", \"content\": \"Hello, world!\"}\n]\n}",
			"unique-conversation-id",
		},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, err := os.ReadFile("testdata/curl/" + tt.name + ".sh")
			if err != nil {
				t.Fatal(err)
			}
			command := strings.Replace(string(text), tt.host, "http://"+proxy.address, 1)
			if got := shell(t, command); !strings.HasPrefix(got, "HTTP/1.1 401 ") || !strings.Contains(got, tt.invalid) {
				t.Errorf("with the page's own placeholder:\n%s", got)
			}
			if got := shell(t, strings.NewReplacer(tt.keys...).Replace(command)); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
				t.Fatalf("with a good key:\n%s", got)
			}
			requests := upstream.of("")
			if len(requests) != i+1 {
				t.Fatalf("the upstream was reached %d times, want %d", len(requests), i+1)
			}
			r := requests[i]
			if r.body != tt.got || r.Header.Get("Content-Type") != "application/json" ||
				r.Header.Get("X-Conversation-Id") != tt.conversation || r.Header.Get("X-Tollgate-Account-Id") != account {
				t.Errorf("the upstream got %v %s", r.Header, r.body)
			}
		})
	}
}

// shell runs command with this test binary as its curl.
func shell(t *testing.T, command string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "curl")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", command)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
