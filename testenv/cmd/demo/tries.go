package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// try is one line to copy: what it shows, and the status it has to bring.
type try struct {
	expect, why, command string
}

type tokens struct{ operator, gate string }

func database(dir string) string { return filepath.Join(dir, "tollgate.db") }

// createTokens makes the two tokens the demo needs, as an operator would.
func createTokens(ctx context.Context, o options, dir string) (tokens, error) {
	create := func(role string) (string, error) {
		cmd := exec.CommandContext(ctx, o.tollgate, "token", "create", "--db", database(dir), "--role", role, "--name", "demo")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("create %s token with %s (run `make build` first): %w\n%s", role, o.tollgate, err, stderr.String())
		}
		return strings.TrimSpace(string(out)), nil
	}
	operator, err := create("operator")
	if err != nil {
		return tokens{}, err
	}
	gate, err := create("gate")
	return tokens{operator: operator, gate: gate}, err
}

// admin is a client of the admin REST.
type admin struct {
	base, token string
}

// call sends body and decodes the reply into out.
func (a admin) call(ctx context.Context, method, path string, body, out any) error {
	payload, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", method, path, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(payload))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text)
	}
	return json.Unmarshal(text, out)
}

// customer makes an account with credits and a key of it.
func (a admin) customer(ctx context.Context, name string, credits int64) (account, keyID, secret string, err error) {
	var made struct{ ID, Secret string }
	if err := a.call(ctx, http.MethodPost, "/v1/accounts", map[string]any{"name": name, "status": "active"}, &made); err != nil {
		return "", "", "", err
	}
	account = made.ID
	if credits > 0 {
		if err := a.call(ctx, http.MethodPost, "/v1/accounts/"+account+"/credits", map[string]any{"amount": credits}, &made); err != nil {
			return "", "", "", err
		}
	}
	err = a.call(ctx, http.MethodPost, "/v1/keys", map[string]any{"account_id": account, "scheme": "genrex", "name": name}, &made)
	return account, made.ID, made.Secret, err
}

// prepare makes the demo's accounts and keys and returns the lines to try.
func prepare(ctx context.Context, o options, r running) ([]try, error) {
	a := admin{base: "http://" + o.admin, token: r.operator}
	rich, _, good, err := a.customer(ctx, "demo", 1000)
	if err != nil {
		return nil, err
	}
	_, _, broke, err := a.customer(ctx, "demo without credits", 0)
	if err != nil {
		return nil, err
	}
	disabledAccount, _, disabled, err := a.customer(ctx, "demo disabled", 10)
	if err != nil {
		return nil, err
	}
	var ignored struct{}
	if err := a.call(ctx, http.MethodPatch, "/v1/accounts/"+disabledAccount, map[string]any{"status": "disabled"}, &ignored); err != nil {
		return nil, err
	}
	_, revokedID, revoked, err := a.customer(ctx, "demo with a revoked key", 10)
	if err != nil {
		return nil, err
	}
	if err := a.call(ctx, http.MethodPost, "/v1/keys/"+revokedID+"/revoke", map[string]any{}, &ignored); err != nil {
		return nil, err
	}

	create := func(credentials ...string) string {
		line := "curl -i -X POST http://" + o.to + "/v1/document/create"
		for _, c := range credentials {
			line += " -H '" + c + "'"
		}
		return line + ` -H 'Content-Type: application/json' -d '{"prompt": "Write about AI trends"}'`
	}
	bearer := func(key string) string { return "Authorization: Bearer " + key }
	xkey := func(key string) string { return "X-API-Key: " + key }
	stopped := strconv.Itoa(r.controlPlane.pid())
	return []try{
		{"200", "a good key; one credit is debited", create(bearer(good))},
		{"200", "the same key by the other header", create(xkey(good))},
		{"200", "an open route: no key asked for", "curl -i http://" + o.to + "/healthz"},
		{"401 UNAUTHENTICATED", "no key", create()},
		{"401 INVALID_API_KEY", "a malformed key; the control plane is not asked", create(bearer("grx_sk_your_api_key"))},
		{"401 INVALID_API_KEY", "a key that nobody has", create(bearer("grx_sk_" + strings.Repeat("0", 48)))},
		{"401 INVALID_API_KEY", "a revoked key", create(bearer(revoked))},
		{"400 INVALID_REQUEST", "two credentials", create(bearer(good), xkey(good))},
		{"403 ACCOUNT_DISABLED", "the account is disabled", create(bearer(disabled))},
		{"402 INSUFFICIENT_CREDITS", "the account has no credits", create(bearer(broke))},
		{"404 NOT_FOUND", "no route", "curl -i http://" + o.to + "/v2/other"},
		{"400", "an escaped slash, which others might decode; the proxy itself refuses", "curl -i http://" + o.to + "/v1/document/a%2Fb -H '" + bearer(good) + "'"},
		{"503 SERVICE_UNAVAILABLE", "the control plane does not answer; this line stops it for a moment",
			"kill -STOP " + stopped + "; " + create(bearer(good)) + "; kill -CONT " + stopped},
		{"200", "the wallet: 2 or 3 credits less than 1000 (the debit behind the 503 may have been made)",
			"curl -i http://" + o.admin + "/v1/accounts/" + rich + "/wallet -H '" + bearer(r.operator) + "'"},
	}, nil
}
