package testenv

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// corazaRules is the configuration of Coraza's own envoy.yaml: detection is on, with every OWASP rule.
const corazaRules = `{
	"directives_map": {"owasp": ["Include @demo-conf", "Include @crs-setup-conf", "Include @owasp_crs/*.conf"]},
	"default_directives": "owasp",
	"metric_labels": {"owner": "coraza"}
}`

// databaseError is what a server says whose SQL an attacker broke.
const databaseError = "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version"

// leakingUpstream shows a database error at /leak and echoes elsewhere.
var leakingUpstream = HandlerCluster(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/leak" {
		w.Header().Set("content-type", "text/plain")
		_, _ = w.Write([]byte(databaseError))
		return
	}
	echo(w, r)
}))

func newCoraza(t *testing.T) *Host {
	t.Helper()
	return New(t, Options{Profile: Envoy140, Upstream: leakingUpstream}, Plugin{
		Filter: thirdPartyFilter(t, corazaModule), Name: "coraza", Configuration: []byte(corazaRules),
		Env: map[string]string{"GODEBUG": "gctrace=1"},
	})
}

// visit is a request of a browser, chunked if it has a body.
func visit(path, contentType, body string) Request {
	r := Request{
		Path: path, Headers: []Header{{"user-agent", "Mozilla/5.0"}, {"accept", "*/*"}},
		Attributes: Attributes{
			Source: "10.0.0.1:4242", Destination: "10.0.0.9:80", Request: RequestAttributes{Protocol: "HTTP/1.1"},
		},
	}
	if body != "" {
		r.Method, r.Body, r.ChunkSize = http.MethodPost, []byte(body), 3
		r.Headers = append(r.Headers, Header{"content-type", contentType})
	}
	return r
}

const (
	form       = "application/x-www-form-urlencoded"
	jsonFormat = "application/json"
)

// interruptions is the counter of what a rule stopped.
func interruptions(rule, phase string) string {
	return "waf_filter.tx.interruptions_ruleid=" + rule + "_phase=http_" + phase + "_owner=coraza"
}

func forwarded(body string) Want {
	return Want{
		Decision: Forwarded, Status: http.StatusOK, Body: body, LogsNot: []string{"Access denied"}, Callouts: []string{},
		Metrics: map[string]int64{"waf_filter.tx.total": 1},
	}
}

// denied is an answer of Coraza because of a rule. Its scores then add up to too much, in one of two phases.
func denied(rule, phase string) Want {
	scoring := map[string]string{"request_headers": "949111", "request_body": "949110"}[phase]
	return Want{
		Decision: Answered, Status: http.StatusForbidden,
		Logs:    []string{`[id "` + rule + `"]`, `[client "10.0.0.1"]`, "Inbound Anomaly Score Exceeded"},
		Metrics: map[string]int64{"waf_filter.tx.total": 1, interruptions(scoring, phase): 1},
	}
}

// One Host serves all of it: Coraza takes seconds to read its rules.
func TestCoraza(t *testing.T) {
	t.Parallel()
	h := newCoraza(t)
	h.Run(t,
		Scenario{"clean query", visit("/?id=42", "", ""), forwarded("ok")},
		Scenario{"SQL injection in the query", visit("/?id=1%27%20or%20%271%27=%271", "", ""), denied("942100", "request_headers")},
		Scenario{"path traversal", visit("/etc/../../etc/passwd", "", ""), denied("930100", "request_headers")},
		Scenario{"clean form", visit("/", form, "a=hello"), forwarded("a=hello")},
		Scenario{"script in a form", visit("/", form, "a=%3Cscript%3Ealert(1)%3C/script%3E"), denied("941100", "request_body")},
		Scenario{"clean JSON", visit("/", jsonFormat, `{"a":"fine"}`), forwarded(`{"a":"fine"}`)},
		Scenario{"SQL injection in JSON", visit("/", jsonFormat, `{"a":"1' or '1'='1 union select password from users"}`),
			denied("942100", "request_body")},
	)
	if got := countLogs(h.Logs(), LevelCritical, `[id "942100"]`); got != 2 {
		t.Errorf("%d critical messages about rule 942100, want 2", got)
	}
	t.Run("response body", func(t *testing.T) { checkBlanked(t, h) })
	t.Run("collections", func(t *testing.T) { checkCollected(t, h) })
}

// checkBlanked shows what Coraza does once it cannot deny a response: it blanks the body, of which the client gets no byte
// before the rules have seen all of it.
func checkBlanked(t *testing.T, h *Host) {
	t.Helper()
	for _, chunk := range []int{0, 7} {
		r := visit("/leak", "", "")
		r.ResponseChunkSize = chunk
		got := h.Check(t, r, Want{
			Decision: Forwarded, Status: http.StatusOK,
			Logs:    []string{`phase="http_response_body"`, "body replaced"},
			Metrics: map[string]int64{interruptions("959100", "response_body"): 1},
		})
		if want := make([]byte, len(databaseError)); !bytes.Equal(got.Body, want) {
			t.Errorf("in chunks of %d: body %q, want %d zero bytes", chunk, got.Body, len(want))
		}
	}
}

// checkCollected sends requests until Go's collector has run once more.
func checkCollected(t *testing.T, h *Host) {
	t.Helper()
	const most = 500
	collections := func() int { return countLogs(h.Logs(), LevelError, "gc ") }
	before := collections()
	if before == 0 {
		t.Error("no collection while the rules were read; is gctrace not logged any more?")
	}
	for range most {
		h.Check(t, visit("/", form, "a=hello"), forwarded("a=hello"))
		if collections() > before {
			return
		}
	}
	t.Errorf("no collection in %d requests", most)
}

// countLogs counts messages of a level that have part in them.
func countLogs(records []LogRecord, level Level, part string) int {
	n := 0
	for _, r := range records {
		if r.Level == level && strings.Contains(r.Message, part) {
			n++
		}
	}
	return n
}
