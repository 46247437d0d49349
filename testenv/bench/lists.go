package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// admin asks one control plane's admin listener, one request after another.
type admin struct {
	b    *bench
	cp   controlPlane
	name string
	// imported counts the keys that were.
	imported int
}

func (b *bench) admin(cp controlPlane, name string) *admin { return &admin{b: b, cp: cp, name: name} }

// listedKey is what is read of a key.
type listedKey struct {
	ID        string
	AccountID string `json:"account_id"`
	Last4     string
}

type keyPage struct {
	Data       []listedKey
	NextCursor *string `json:"next_cursor"`
}

func (a *admin) send(method, path string, body io.Reader) []byte {
	r, err := http.NewRequest(method, "http://"+a.cp.admin+path, body)
	a.b.check(err)
	r.Header.Set("Authorization", "Bearer "+a.cp.owner)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	a.b.check(err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	a.b.check(err)
	if resp.StatusCode/100 != 2 {
		a.b.Fatalf("%s %s: %s: %s", method, path, resp.Status, data)
	}
	return data
}

func (a *admin) keys(query string) (page keyPage) {
	a.b.check(json.Unmarshal(a.send("GET", "/v1/keys?limit=100&"+query, nil), &page))
	return page
}

// importBatch is how many keys one request of an import may have.
const importBatch = 1000

// importOne imports a batch of keys that nobody has.
func (a *admin) importOne(account string) {
	var body bytes.Buffer
	body.WriteString(`{"keys":[`)
	for i := range importBatch {
		if i > 0 {
			body.WriteByte(',')
		}
		a.imported++
		fmt.Fprintf(&body, `{"account_id":%q,"scheme":"genrex","name":"imported %d","digest":"%x"}`, account, a.imported,
			sha256.Sum256(fmt.Appendf(nil, "imported %d", a.imported)))
	}
	body.WriteString("]}")
	a.send("POST", "/v1/keys/import", &body)
}

// lists measures what an admin waits for, with many keys and with few.
func (b *bench) lists(admins []*admin) string {
	type ask struct {
		name string
		of   func(a *admin, first listedKey, next string) func()
	}
	query := func(name, text string) ask {
		return ask{name, func(a *admin, k listedKey, next string) func() {
			q := strings.NewReplacer("{account}", k.AccountID, "{last4}", k.Last4, "{cursor}", url.QueryEscape(next)).Replace(text)
			return func() { a.keys(q) }
		}}
	}
	const each = 20
	var tables []string
	for _, one := range []ask{
		query("the first page of 100 keys", ""),
		query("the page after twenty others", "cursor={cursor}"),
		query("an account's keys", "account_id={account}"),
		query("keys by the last four characters of the secret", "last4={last4}"),
		query("keys by their prefix", "prefix=grx_sk_"),
		query("keys by a part of the name that none has", "name=absent"),
		{"an import of 1,000 keys by digest", func(a *admin, k listedKey, _ string) func() { return func() { a.importOne(k.AccountID) } }},
	} {
		t := table{title: one.name, unit: unit{"ms", time.Millisecond}, rounds: b.rounds(3), baseline: admins[0].name}
		times := each
		if strings.HasPrefix(one.name, "an import") || strings.Contains(one.name, "none has") {
			times = 1
		}
		for _, a := range admins {
			page := a.keys("")
			first := page.Data[0]
			for range 20 {
				page = a.keys("cursor=" + url.QueryEscape(*page.NextCursor))
			}
			do := one.of(a, first, *page.NextCursor)
			t.ways = append(t.ways, way{a.name, func() time.Duration {
				began := time.Now()
				for range times {
					do()
				}
				return time.Since(began) / time.Duration(times)
			}, nil})
		}
		tables = append(tables, t.measure())
	}
	return "What an admin waits for, over HTTP, one request after another:\n\n" + strings.Join(tables, "\n")
}
