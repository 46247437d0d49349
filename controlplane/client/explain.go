package client

import (
	"context"
	"net/http"
)

// Question is a request that a gate might get: by the id of a key, or by the scheme of the route and the digests of what
// was presented (apikey.DigestOf), never the secret itself.
type Question struct {
	KeyID   string   `json:"key_id,omitempty"`
	Scheme  string   `json:"scheme,omitempty"`
	Digests []string `json:"digests,omitempty"`
	// Cost is the route's.
	Cost int64 `json:"cost,omitempty"`
	// Method, Path (decoded, without its query) and IP matter where the key is restricted.
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	IP     string `json:"ip,omitempty"`
}

// Explanation is what a gate would decide, and why.
type Explanation struct {
	// Decision is allow or deny.
	Decision string `json:"decision"`
	Verdict  string `json:"verdict"`
	// Answer is what the client is answered; nil if the request passes.
	Answer    *ClientAnswer `json:"answer,omitempty"`
	Scheme    string        `json:"scheme"`
	KeyID     *string       `json:"key_id"`
	ProjectID *string       `json:"project_id"`
	AccountID *string       `json:"account_id"`
	Available *int64        `json:"available"`
	Reserved  *int64        `json:"reserved"`
	Steps     []Step        `json:"steps"`
}

// ClientAnswer is a refusal in the words of a scheme.
type ClientAnswer struct {
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Step is one check of a decision. Outcome is passed, failed, not_asked or not_reached.
type Step struct {
	Check   string `json:"check"`
	Outcome string `json:"outcome"`
	Detail  string `json:"detail"`
}

// Explain says what a gate would decide, without charging.
func (c *Client) Explain(ctx context.Context, in Question, opts ...CallOption) (Explanation, error) {
	return change[Explanation](ctx, c, http.MethodPost, "/v1/explain", in, opts)
}
