package server

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// The README's table of permissions is the program's.
func TestREADMEListsEveryPermission(t *testing.T) {
	want := map[string][]string{}
	for p, roles := range grants {
		for _, r := range roles {
			want[string(p)] = append(want[string(p)], string(r))
		}
	}
	if diff := cmp.Diff(want, READMEPermissions(t)); diff != "" {
		t.Errorf("README.md (-program +README):\n%s", diff)
	}
	for p, roles := range grants {
		if !slices.Contains(roles, store.RoleOwner) || slices.Contains(roles, store.RoleGate) {
			t.Errorf("%s: an owner has every permission, a gate none", p)
		}
	}
}

// Who registers an operation without saying who may ask for it is told what to write, and there is no server.
func TestOperationsNeedPermissions(t *testing.T) {
	type input struct{}
	type path struct{ AccountID }
	for name, tt := range map[string]struct {
		register func(*Server, huma.API)
		want     string
	}{
		"none": {func(s *Server, a huma.API) {
			handle(s, a, "", huma.Operation{Method: "GET", Path: "/v1/new"}, func(context.Context, *input) (*struct{}, error) { return nil, nil })
		}, `register GET /v1/new: permission "": expected one of [accounts.close`},
		"unknown": {func(s *Server, a huma.API) {
			handle(s, a, "news.read", huma.Operation{Method: "GET", Path: "/v1/new"}, func(context.Context, *input) (*struct{}, error) { return nil, nil })
		}, `permission "news.read": expected one of [accounts.close`},
		"no confinement": {func(s *Server, a huma.API) {
			handle(s, a, readKeys, huma.Operation{Method: "GET", Path: "/v1/new"}, func(context.Context, *input) (*struct{}, error) { return nil, nil })
		}, "register GET /v1/new: account tokens have the permission keys.read, so *server.input needs a method confine"},
		"not for accounts": {func(s *Server, a huma.API) {
			handle(s, a, readAudit, huma.Operation{Method: "GET", Path: "/v1/new"}, func(context.Context, *input) (*struct{}, error) { return nil, nil })
		}, ""},
		"confined by its path": {func(s *Server, a huma.API) {
			handle(s, a, readKeys, huma.Operation{Method: "GET", Path: "/v1/new/{id}"}, func(context.Context, *path) (*struct{}, error) { return nil, nil })
		}, ""},
	} {
		s := &Server{rules: map[string][]store.Role{}}
		tt.register(s, humagin.New(gin.New(), adminConfig()))
		switch {
		case tt.want == "" && len(s.faults) > 0:
			t.Errorf("%s: got %v", name, s.faults)
		case tt.want != "" && (len(s.faults) != 1 || !strings.Contains(s.faults[0].Error(), tt.want)):
			t.Errorf("%s: got %v, want %q", name, s.faults, tt.want)
		}
	}
}

// A fault in one registration is the answer of New.
func TestNewFailsOnFaultyOperations(t *testing.T) {
	old := grants[readKeys]
	defer func() { grants[readKeys] = old }()
	delete(grants, readKeys)
	st, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "t.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	_, err = New(Config{Store: st, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err == nil || !strings.Contains(err.Error(), `register GET /v1/keys: permission "keys.read"`) {
		t.Errorf("got %v", err)
	}
}
