package client

import (
	"context"
	"encoding/json"
	"time"
)

// Import is a batch of at most MaxImport keys that were made elsewhere: all of them are made, or none.
type Import struct {
	Keys []ImportedKey `json:"keys"`
}

// MaxImport is how many keys a batch may have, and MaxImportBytes how long its JSON may be.
const (
	MaxImport      = 1000
	MaxImportBytes = 4 << 20
)

// ImportedKey is a key by its Secret, or by its Digest (apikey.DigestOf, in hex) and how it ends.
type ImportedKey struct {
	Secret         Secret            `json:"secret,omitempty"`
	Digest         string            `json:"digest,omitempty"`
	Last4          string            `json:"last4,omitempty"`
	PublishableKey string            `json:"publishable_key,omitempty"`
	AccountID      string            `json:"account_id,omitempty"`
	ProjectID      string            `json:"project_id,omitempty"`
	Scheme         string            `json:"scheme"`
	Name           string            `json:"name"`
	Environment    string            `json:"environment,omitempty"`
	ExpiresAt      *time.Time        `json:"expires_at,omitempty"`
	ExternalRef    string            `json:"external_ref,omitempty"`
	Metadata       map[string]string `json:"metadata,omitempty"`
	Routes         []Route           `json:"routes,omitempty"`
	AllowedIPs     []string          `json:"allowed_ips,omitempty"`
}

// Imported is what became of a batch, in its order.
type Imported struct {
	Created  int           `json:"created"`
	Existing int           `json:"existing"`
	Keys     []ImportedRow `json:"keys"`
}

// ImportedRow tells of one key. Result is created, or existing if its owner had it before.
type ImportedRow struct {
	ID     string `json:"id"`
	Result string `json:"result"`
}

// ImportKeys imports a batch. A Problem names every bad row as body.keys[N], from 0.
func (c *Client) ImportKeys(ctx context.Context, in Import, opts ...CallOption) (Imported, error) {
	return once[Imported](ctx, c, keysPath+"/import", sending(in), opts)
}

// sending is an Import on its way: the one place where a secret is encoded as it is.
type sending Import

// MarshalJSON reveals the secrets.
func (s sending) MarshalJSON() ([]byte, error) {
	// What is outside covers the field inside.
	type row struct {
		ImportedKey
		Secret string `json:"secret,omitempty"`
	}
	rows := make([]row, len(s.Keys))
	for i, k := range s.Keys {
		rows[i] = row{k, k.Secret.Reveal()}
	}
	return json.Marshal(struct {
		Keys []row `json:"keys"`
	}{rows})
}
