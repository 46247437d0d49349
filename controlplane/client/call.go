package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 32 << 20

// CallOption is something about one call that most calls do not say.
type CallOption func(*call)

// Meta is what an answer says beside its body.
type Meta struct {
	// Replayed tells that an earlier request under the same Idempotency-Key did it. Secrets are not shown again.
	Replayed bool
	// ETag is the version of what was answered, for IfMatch.
	ETag      string
	RequestID string
}

// IdempotencyKey sends this key (1 to 200 visible ASCII characters) in place of one that is made up. It has a use only
// where a program has to repeat a call by itself, after a crash say. Operations that take none ignore it.
func IdempotencyKey(key string) CallOption { return func(c *call) { c.key = key } }

// IfMatch makes a change only if what is changed still has this ETag.
func IfMatch(etag string) CallOption { return func(c *call) { c.header.Set("If-Match", etag) } }

// Into stores in m what the answer says beside its body.
func Into(m *Meta) CallOption { return func(c *call) { c.meta = m } }

// call is one operation on its way.
type call struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
	// idempotent means that the operation takes an Idempotency-Key, key.
	idempotent bool
	key        string
	meta       *Meta
	// slow means that an attempt takes as long as it takes.
	slow bool
	// sink gets the body of a success instead of a struct; begun means that it may have got something.
	sink  io.Writer
	begun bool
}

// safe reports whether the call may be sent again when nobody knows whether it was done.
func (c *call) safe() bool { return c.method == http.MethodGet || c.idempotent }

// operation names the call for people, without its query.
func (c *call) operation() string { return c.method + " " + c.path }

// newCall makes a call. A nil body is none.
func newCall(method, path string, body any, opts []CallOption) (*call, error) {
	c := &call{method: method, path: path, header: http.Header{}}
	for _, o := range opts {
		o(c)
	}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.operation(), err)
		}
		c.body = text
		c.header.Set("Content-Type", "application/json")
	}
	return c, nil
}

// under gives the call its Idempotency-Key.
func (c *call) under() {
	c.idempotent = true
	if c.key == "" {
		c.key = rand.Text()
	}
	c.header.Set("Idempotency-Key", c.key)
}

// read asks for T at path.
func read[T any](ctx context.Context, c *Client, path string, query any, opts ...CallOption) (T, error) {
	var out T
	call, err := newCall(http.MethodGet, path, nil, opts)
	if err == nil {
		call.query = queryOf(query)
		err = c.do(ctx, call, &out)
	}
	return out, err
}

// change asks for a change that may not be repeated blindly.
func change[T any](ctx context.Context, c *Client, method, path string, body any, opts []CallOption) (T, error) {
	var out T
	call, err := newCall(method, path, body, opts)
	if err == nil {
		err = c.do(ctx, call, &out)
	}
	return out, err
}

// once asks for a change under an Idempotency-Key.
func once[T any](ctx context.Context, c *Client, path string, body any, opts []CallOption) (T, error) {
	var out T
	call, err := newCall(http.MethodPost, path, body, opts)
	if err == nil {
		call.under()
		err = c.do(ctx, call, &out)
	}
	return out, err
}

// at is a path with an id of the caller in it.
func at(prefix, id string, suffix ...string) string {
	path := prefix + url.PathEscape(id)
	for _, s := range suffix {
		path += s
	}
	return path
}

// send does one attempt and decodes a success into out, unless that is nil.
func (c *Client) send(ctx context.Context, call *call, out any) error {
	if !call.slow {
		bounded, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		ctx = bounded
	}
	target := c.base + call.path
	if len(call.query) > 0 {
		target += "?" + call.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, call.method, target, bytes.NewReader(call.body))
	if err != nil {
		return err
	}
	req.Header = call.header.Clone()
	req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	req.Header.Set("User-Agent", c.agent)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if call.sink != nil && resp.StatusCode == http.StatusOK {
		call.begun = true
		_, err := io.Copy(call.sink, resp.Body)
		return err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return err
	}
	if len(body) > maxAnswer {
		return fmt.Errorf("%w: longer than %d bytes", ErrAnswer, maxAnswer)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return problemOf(resp, body)
	}
	if call.meta != nil {
		*call.meta = Meta{
			Replayed: resp.Header.Get("Idempotency-Replayed") == "true", ETag: resp.Header.Get("ETag"), RequestID: resp.Header.Get("X-Request-Id"),
		}
	}
	if err := json.Unmarshal(body, out); err != nil {
		// What the decoder says may quote the body.
		return fmt.Errorf("%w: no JSON of the kind that was expected", ErrAnswer)
	}
	return nil
}
