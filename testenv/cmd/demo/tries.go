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

// demo is what the lines to try need: accounts and keys in every state that a request can meet.
type demo struct {
	admin
	ctx context.Context
	err error
}

// do is call, once nothing has failed before. What was made is decoded into out.
func (d *demo) do(method, path string, body, out any) {
	if d.err == nil {
		d.err = d.call(d.ctx, method, path, body, out)
	}
}

// made is what the admin REST tells of anything that it made.
type made struct {
	ID             string
	Secret         string
	PublishableKey string `json:"publishable_key"`
}

func (d *demo) account(name string, credits int64) (id string) {
	var account, ignored made
	d.do(http.MethodPost, "/v1/accounts", map[string]any{"name": name, "status": "active"}, &account)
	if credits > 0 {
		d.do(http.MethodPost, "/v1/accounts/"+account.ID+"/credits", map[string]any{"amount": credits}, &ignored)
	}
	return account.ID
}

// key makes a genrex key of an account.
func (d *demo) key(account string) (key made) {
	d.do(http.MethodPost, "/v1/keys", map[string]any{"account_id": account, "scheme": "genrex", "name": "demo"}, &key)
	return key
}

// pair makes a project with a verified domain and a vexrail key pair of it.
func (d *demo) pair(account string) (project string, pair made) {
	var p, ignored made
	d.do(http.MethodPost, "/v1/projects", map[string]any{"account_id": account, "name": "demo", "domain": "demo.example"}, &p)
	d.do(http.MethodPost, "/v1/projects/"+p.ID+"/domain/attest", map[string]any{"reason": "demo"}, &ignored)
	d.do(http.MethodPost, "/v1/keys", map[string]any{"project_id": p.ID, "scheme": "vexrail", "name": "demo"}, &pair)
	return p.ID, pair
}

// change sends a request whose answer does not matter beyond its success.
func (d *demo) change(method, path string, body map[string]any) {
	var ignored made
	d.do(method, path, body, &ignored)
}

// prepare makes the demo's accounts and keys and returns the lines to try.
func prepare(ctx context.Context, o options, r running) ([]try, error) {
	d := &demo{admin: admin{base: "http://" + o.admin, token: r.operator}, ctx: ctx}
	rich := d.account("demo", 1000)
	lines := append(d.genrexTries(o, rich), d.vexrailTries(o, rich)...)
	lines = append(lines, try{"200", "the wallet: every 200 above on a charged route took one of 1000 credits, and nothing else did",
		"curl -i http://" + o.admin + "/v1/accounts/" + rich + "/wallet -H 'Authorization: Bearer " + r.operator + "'"})
	good := d.key(rich).Secret
	stopped := strconv.Itoa(r.controlPlane.pid())
	lines = append(lines, try{"503 SERVICE_UNAVAILABLE", "the control plane does not answer; this line stops it for a moment",
		"kill -STOP " + stopped + "; " + create(o, bearer(good)) + "; kill -CONT " + stopped})
	return lines, d.err
}

// create is the cURL example of the genrex page with other credentials.
func create(o options, credentials ...string) string {
	return "curl -i -X POST http://" + o.to + "/v1/document/create" + flags(credentials) +
		` -H 'Content-Type: application/json' -d '{"prompt": "Write about AI trends"}'`
}

// complete is the cURL example of the vexrail page with other credentials.
func complete(o options, credentials ...string) string {
	return "curl -i -X POST http://" + o.to + "/v1/chat/completions" + flags(credentials) +
		` -H 'Content-Type: application/json' -d '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello, world!"}]}'`
}

func flags(headers []string) string {
	line := ""
	for _, h := range headers {
		line += " -H '" + h + "'"
	}
	return line
}

func bearer(key string) string  { return "Authorization: Bearer " + key }
func xkey(key string) string    { return "X-API-Key: " + key }
func public(key string) string  { return "x-publishable-key: " + key }
func private(key string) string { return "x-secret-key: " + key }

func (d *demo) genrexTries(o options, rich string) []try {
	good := d.key(rich).Secret
	broke := d.key(d.account("demo without credits", 0)).Secret
	disabledAccount := d.account("demo disabled", 10)
	disabled := d.key(disabledAccount).Secret
	d.change(http.MethodPatch, "/v1/accounts/"+disabledAccount, map[string]any{"status": "disabled"})
	revoked := d.key(rich)
	d.change(http.MethodPost, "/v1/keys/"+revoked.ID+"/revoke", map[string]any{})
	return []try{
		{"200", "a good key; one credit is debited", create(o, bearer(good))},
		{"200", "the same key by the other header", create(o, xkey(good))},
		{"200", "an open route: no key asked for", "curl -i http://" + o.to + "/healthz"},
		{"401 UNAUTHENTICATED", "no key", create(o)},
		{"401 INVALID_API_KEY", "a malformed key; the control plane is not asked", create(o, bearer("grx_sk_your_api_key"))},
		{"401 INVALID_API_KEY", "a key that nobody has", create(o, bearer("grx_sk_"+strings.Repeat("0", 48)))},
		{"401 INVALID_API_KEY", "a revoked key", create(o, bearer(revoked.Secret))},
		{"400 INVALID_REQUEST", "two credentials", create(o, bearer(good), xkey(good))},
		{"403 ACCOUNT_DISABLED", "the account is disabled", create(o, bearer(disabled))},
		{"402 INSUFFICIENT_CREDITS", "the account has no credits", create(o, bearer(broke))},
		{"404 NOT_FOUND", "no route", "curl -i http://" + o.to + "/v2/other"},
		{"400", "an escaped slash, which others might decode; the proxy itself refuses",
			"curl -i http://" + o.to + "/v1/document/a%2Fb -H '" + bearer(good) + "'"},
	}
}

func (d *demo) vexrailTries(o options, rich string) []try {
	_, good := d.pair(rich)
	_, other := d.pair(rich)
	_, inactive := d.pair(rich)
	d.change(http.MethodPatch, "/v1/keys/"+inactive.ID, map[string]any{"status": "inactive"})
	lapsedProject, lapsed := d.pair(rich)
	d.change(http.MethodPost, "/v1/projects/"+lapsedProject+"/domain/lapse", map[string]any{"reason": "demo"})
	_, broke := d.pair(d.account("demo pair without credits", 0))
	disabledAccount := d.account("demo pair disabled", 10)
	_, disabled := d.pair(disabledAccount)
	d.change(http.MethodPatch, "/v1/accounts/"+disabledAccount, map[string]any{"status": "disabled"})
	both := func(k made) []string { return []string{public(k.PublishableKey), private(k.Secret)} }
	return []try{
		{"200", "a good key pair; one credit is debited", complete(o, append(both(good), "x-conversation-id: unique-conversation-id")...)},
		{"401 missing_api_key", "half of a pair", complete(o, public(good.PublishableKey))},
		{"401 invalid_api_key", "a secret that nobody has", complete(o, public(good.PublishableKey), private("sk_live_"+strings.Repeat("0", 32)))},
		{"401 key_pair_mismatch", "the halves of two pairs", complete(o, public(good.PublishableKey), private(other.Secret))},
		{"401 inactive_api_key", "an inactive pair", complete(o, both(inactive)...)},
		{"403 account_not_active", "the account is disabled", complete(o, both(disabled)...)},
		{"403 domain_not_verified", "the project's domain has lapsed", complete(o, both(lapsed)...)},
		{"403 insufficient_credits", "the account has no credits", complete(o, both(broke)...)},
	}
}
