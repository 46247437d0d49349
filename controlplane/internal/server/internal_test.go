package server

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// newServer returns a server over a real store, that store and the log.
func newServer(t *testing.T) (*Server, *store.Store, *bytes.Buffer) {
	t.Helper()
	return newServerAt(t, filepath.Join(t.TempDir(), "t.db"))
}

func newServerAt(t *testing.T, path string) (*Server, *store.Store, *bytes.Buffer) {
	t.Helper()
	st, err := store.Open(t.Context(), store.Options{Path: path, Actor: store.LocalActor})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	log := new(bytes.Buffer)
	s, err := New(Config{Store: st, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s, st, log
}

func TestNewNeedsAStore(t *testing.T) {
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "Store") {
		t.Errorf("got %v", err)
	}
}

// An error that no table names, and a panic, tell the client nothing but the request id; the log has the rest.
func TestWhatIsUnexpectedStaysInside(t *testing.T) {
	for name, handler := range map[string]func(*Server) gin.HandlerFunc{
		"error": func(s *Server) gin.HandlerFunc {
			return func(c *gin.Context) { s.abort(c, errors.New("inner workings")) }
		},
		"panic": func(*Server) gin.HandlerFunc {
			return func(*gin.Context) { panic("inner workings") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, log := newServer(t)
			e := s.engine("admin")
			e.GET("/x", handler(s))
			w := httptest.NewRecorder()
			e.ServeHTTP(w, httptest.NewRequest("GET", "/x", nil))
			var p Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
				t.Fatal(err)
			}
			if w.Code != 500 || p.Code != codeInternal || p.RequestID == "" || strings.Contains(w.Body.String(), "inner") {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			if !strings.Contains(log.String(), "inner workings") || !strings.Contains(log.String(), p.RequestID) {
				t.Errorf("log: %s", log)
			}
			if name == "panic" && !strings.Contains(log.String(), "internal_test.go") {
				t.Errorf("the log lacks the stack: %s", log)
			}
		})
	}
}

// A panic after the first byte cannot become a 500: the connection breaks instead of ending as if all were well.
func TestPanicInMidAnswerBreaksTheConnection(t *testing.T) {
	s, _, _ := newServer(t)
	e := s.engine("admin")
	e.GET("/x", func(c *gin.Context) {
		c.String(http.StatusOK, "half")
		panic("late")
	})
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("got panic %v, want http.ErrAbortHandler", v)
		}
	}()
	e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/x", nil))
}

// acquireMessage asks for a key that does not exist.
var acquireMessage = fmt.Sprintf(`{"gate":"g","boot":"b","op_id":"b-o","scheme":"genrex","digests":["%s"],"cost":1,"want":1,"mode":"strict"}`,
	apikey.DigestOf("x").Hex())

func do(h http.Handler, method, path, token, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// A database that breaks under the server is an internal error to admins and "could not decide" to gates. Its
// own words go to the log alone.
func TestBrokenDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	s, st, log := newServerAt(t, path)
	admin, err := IssueToken(t.Context(), st, store.NewToken{Name: "a", Role: store.RoleOwner})
	if err != nil {
		t.Fatal(err)
	}
	gate, err := IssueToken(t.Context(), st, store.NewToken{Name: "g", Role: store.RoleGate})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ruin := func(table string) {
		t.Helper()
		if _, err := db.Exec("PRAGMA foreign_keys=OFF; DROP TABLE " + table); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, w *httptest.ResponseRecorder, status int, code Code) {
		t.Helper()
		var p Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		if w.Code != status || p.Code != code || strings.Contains(w.Body.String(), "table") {
			t.Errorf("%s: got %d %s", when, w.Code, w.Body)
		}
		if !strings.Contains(log.String(), p.RequestID) || !strings.Contains(log.String(), "no such table") {
			t.Errorf("%s: the log does not tell: %s", when, log)
		}
	}
	ruin("keys")
	check("keys", do(s.Admin(), "GET", "/v1/keys", admin.Reveal(), ""), 500, codeInternal)
	check("acquire", do(s.Gate(), "POST", api.AcquirePath, gate.Reveal(), acquireMessage), 503, codeUnavailable)
	ruin("tokens")
	check("admin token", do(s.Admin(), "GET", "/v1/accounts", admin.Reveal(), ""), 500, codeInternal)
	check("gate token", do(s.Gate(), "POST", api.AcquirePath, "tg_gate_other", acquireMessage), 503, codeUnavailable)
}

func TestClosedStore(t *testing.T) {
	s, st, _ := newServer(t)
	admin, err := IssueToken(t.Context(), st, store.NewToken{Name: "a", Role: store.RoleOwner})
	if err != nil {
		t.Fatal(err)
	}
	gate, err := IssueToken(t.Context(), st, store.NewToken{Name: "g", Role: store.RoleGate})
	if err != nil {
		t.Fatal(err)
	}
	if w := do(s.Gate(), "POST", api.AcquirePath, gate.Reveal(), acquireMessage); w.Code != 200 {
		t.Fatalf("open store: %d %s", w.Code, w.Body)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"admin": do(s.Admin(), "GET", "/v1/accounts", admin.Reveal(), ""),
		"gate":  do(s.Gate(), "POST", api.AcquirePath, gate.Reveal(), acquireMessage),
		"ready": do(s.Ops(), "GET", "/readyz", "", ""),
	} {
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"unavailable"`) {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
	if w := do(s.Ops(), "GET", "/healthz", "", ""); w.Code != 200 {
		t.Errorf("healthz: got %d: the process lives", w.Code)
	}
}

func TestTokenText(t *testing.T) {
	_, st, _ := newServer(t)
	seen := map[string]bool{}
	for _, role := range []store.Role{store.RoleOwner, store.RoleOperator, store.RoleBilling, store.RoleViewer, store.RoleGate} {
		token, err := IssueToken(t.Context(), st, store.NewToken{Name: "n", Role: role})
		if err != nil {
			t.Fatal(err)
		}
		random, ok := strings.CutPrefix(token.Reveal(), "tg_"+string(role)+"_")
		if !ok || len(random) != 43 || seen[random] {
			t.Errorf("%s: not tg_%s_ and 43 new characters", role, role)
		}
		seen[random] = true
		found, err := st.TokenByDigest(t.Context(), apikey.DigestOf(token.Reveal()))
		if err != nil || found.Role != role {
			t.Errorf("%s: found %+v, %v", role, found, err)
		}
	}
}

// The cache answers for at most its lifetime, never invents a token and forgets one that is gone.
func TestTokenCache(t *testing.T) {
	now := time.Unix(1000, 0)
	asked, gone := 0, false
	known := apikey.DigestOf("known")
	c := newTokenCache(func(_ context.Context, d apikey.Digest) (store.Token, error) {
		asked++
		if d != known || gone {
			return store.Token{}, store.ErrNotFound
		}
		return store.Token{ID: "t1"}, nil
	}, func() time.Time { return now })
	find := func(d apikey.Digest, wantErr error, wantAsked int) {
		t.Helper()
		_, err := c.find(t.Context(), d)
		if !errors.Is(err, wantErr) || asked != wantAsked {
			t.Fatalf("got %v after %d lookups, want %v after %d", err, asked, wantErr, wantAsked)
		}
	}
	find(known, nil, 1)
	now = now.Add(tokenCacheTTL - 1)
	find(known, nil, 1)
	find(apikey.DigestOf("other"), store.ErrNotFound, 2)
	find(apikey.DigestOf("other"), store.ErrNotFound, 3)
	gone = true
	now = now.Add(1)
	find(known, store.ErrNotFound, 4)
	gone = false
	find(known, nil, 5)
	for i := range 3 * tokenCacheSize {
		d := apikey.DigestOf(fmt.Sprint(i))
		known = d
		if _, err := c.find(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.known) > tokenCacheSize {
		t.Errorf("remembers %d tokens, at most %d allowed", len(c.known), tokenCacheSize)
	}
}

// What parseJSON accepts, encoding/json reads to the same value, and writing and reading it again changes
// nothing: no name was dropped and no character replaced on the way.
func FuzzParseJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":1,"b":[true,null,"\ud83d\ude00"],"c":{"a":1e400}}`, `{"a":1,"a":2}`, `"\ud800"`, `"\udc00\ud800"`, `"\\ud800"`, "{} x", "\xff", `[[]]`, `1`, `{"a"`, `,`, `{"a":1,}`, `"\ud83d\u0041"`, `"\u`, "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := parseJSON(body, len(body))
		if err != nil {
			var p *Problem
			if !errors.As(err, &p) || p.Status != 400 || len(p.Errors) != 1 {
				t.Fatalf("not a 400 problem with one field: %v", err)
			}
			return
		}
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		var want any
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("accepted %q, which encoding/json refuses: %v", body, err)
		}
		if !reflect.DeepEqual(plain(got), want) {
			t.Fatalf("%q: got %#v, want %#v", body, plain(got), want)
		}
		if bytes.Contains(body, []byte("\ufffd")) || bytes.Contains(bytes.ToLower(body), []byte("fffd")) {
			return
		}
		if text, _ := json.Marshal(want); bytes.Contains(text, []byte("\ufffd")) || bytes.Contains(text, []byte(`\ufffd`)) {
			t.Fatalf("%q: a character was replaced", body)
		}
	})
}

// plain turns jsonNull back into nil.
func plain(v any) any {
	switch v := v.(type) {
	case jsonNull:
		return nil
	case map[string]any:
		for k, e := range v {
			v[k] = plain(e)
		}
	case []any:
		for i, e := range v {
			v[i] = plain(e)
		}
	}
	return v
}
