package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"time"
)

const keysPath = "/v1/keys"

// Key is an API key without its secret.
type Key struct {
	ID        string `json:"id"`
	AccountID string `json:"account_id"`
	// ProjectID and PublishableKey are a pair's.
	ProjectID      *string `json:"project_id"`
	Scheme         string  `json:"scheme"`
	Name           string  `json:"name"`
	Environment    string  `json:"environment"`
	Prefix         string  `json:"prefix"`
	Last4          string  `json:"last4"`
	PublishableKey *string `json:"publishable_key"`
	// Status is active, inactive or revoked.
	Status     string     `json:"status"`
	ExpiresAt  *time.Time `json:"expires_at"`
	CreatedAt  time.Time  `json:"created_at"`
	UpdatedAt  time.Time  `json:"updated_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
	ReplacedBy *string    `json:"replaced_by"`
	// ExternalRef is an imported key's name where it came from.
	ExternalRef *string           `json:"external_ref"`
	LastUsedAt  *time.Time        `json:"last_used_at"`
	Metadata    map[string]string `json:"metadata"`
	// Routes and AllowedIPs are where alone the key may be used; none of them: everywhere.
	Routes     []Route  `json:"routes"`
	AllowedIPs []string `json:"allowed_ips"`
}

// Route is a kind of request: by Path or by Prefix, and if there are Methods by these alone.
type Route struct {
	Path    string   `json:"path,omitempty"`
	Prefix  string   `json:"prefix,omitempty"`
	Methods []string `json:"methods,omitempty"`
}

// KeyWithSecret is a key whose secret was just made. Secret is empty if the answer repeats an earlier one or no secret
// was made.
type KeyWithSecret struct {
	Key
	Secret Secret `json:"secret"`
}

// ReplacingKey is the key that took another one's place.
type ReplacingKey struct {
	Key
	Secret   Secret `json:"secret"`
	Replaces string `json:"replaces"`
}

// NewKey is a key to be made: of an account, or a pair of a project.
type NewKey struct {
	AccountID string `json:"account_id,omitempty"`
	ProjectID string `json:"project_id,omitempty"`
	Scheme    string `json:"scheme"`
	Name      string `json:"name"`
	// Environment is production or staging.
	Environment string            `json:"environment,omitempty"`
	ExpiresAt   *time.Time        `json:"expires_at,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Routes      []Route           `json:"routes,omitempty"`
	AllowedIPs  []string          `json:"allowed_ips,omitempty"`
}

// KeyUpdate is what changes about a key; what is nil stays as it is.
type KeyUpdate struct {
	Name *string `json:"name,omitempty"`
	// Status may become active or inactive.
	Status      *string            `json:"status,omitempty"`
	Environment *string            `json:"environment,omitempty"`
	ExpiresAt   *Expiry            `json:"expires_at,omitempty"`
	Metadata    *map[string]string `json:"metadata,omitempty"`
	Routes      *[]Route           `json:"routes,omitempty"`
	AllowedIPs  *[]string          `json:"allowed_ips,omitempty"`
}

// Expiry is when a key ends; its zero value is never.
type Expiry struct{ At time.Time }

// MarshalJSON writes null for never.
func (e Expiry) MarshalJSON() ([]byte, error) {
	if e.At.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(e.At)
}

// KeyFilter says which keys are listed: those to which all that is given applies.
type KeyFilter struct {
	AccountID   string `query:"account_id"`
	ProjectID   string `query:"project_id"`
	Scheme      string `query:"scheme"`
	Environment string `query:"environment"`
	Status      string `query:"status"`
	// Prefix is how the shown prefix or the publishable key begins, Last4 how the secret ends.
	Prefix string `query:"prefix"`
	Last4  string `query:"last4"`
	// Name is a part of the name, Metadata an entry as name=value.
	Name        string `query:"name"`
	ExternalRef string `query:"external_ref"`
	Metadata    string `query:"metadata"`
}

// Rotation says which halves are renewed (secret, publishable, both), and how long the old ones work beside the new.
type Rotation struct {
	OverlapSeconds int64  `json:"overlap_seconds,omitempty"`
	Halves         string `json:"halves,omitempty"`
}

// CreateKey makes a key or a pair.
func (c *Client) CreateKey(ctx context.Context, in NewKey, opts ...CallOption) (KeyWithSecret, error) {
	return once[KeyWithSecret](ctx, c, keysPath, in, opts)
}

// Keys lists keys, the newest first.
func (c *Client) Keys(ctx context.Context, f KeyFilter) iter.Seq2[Key, error] {
	return list[Key](ctx, c, keysPath, f)
}

// Key returns one key.
func (c *Client) Key(ctx context.Context, id string, opts ...CallOption) (Key, error) {
	return read[Key](ctx, c, at(keysPath+"/", id), nil, opts...)
}

// UpdateKey changes what is not the secret.
func (c *Client) UpdateKey(ctx context.Context, id string, in KeyUpdate, opts ...CallOption) (Key, error) {
	return change[Key](ctx, c, http.MethodPatch, at(keysPath+"/", id), in, opts)
}

// RotateKey renews a key's secret, or a pair's halves, under the same id.
func (c *Client) RotateKey(ctx context.Context, id string, in Rotation, opts ...CallOption) (KeyWithSecret, error) {
	return once[KeyWithSecret](ctx, c, at(keysPath+"/", id, "/rotate"), in, opts)
}

// ReplaceKey revokes a key at once and makes a new one in its place.
func (c *Client) ReplaceKey(ctx context.Context, id string, opts ...CallOption) (ReplacingKey, error) {
	return once[ReplacingKey](ctx, c, at(keysPath+"/", id, "/replace"), nil, opts)
}

// RevokeKey revokes a key for good.
func (c *Client) RevokeKey(ctx context.Context, id string, opts ...CallOption) (Key, error) {
	return change[Key](ctx, c, http.MethodPost, at(keysPath+"/", id, "/revoke"), nil, opts)
}
