package server

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

type explainInput struct {
	Body struct {
		KeyID   string   `json:"key_id,omitempty" maxLength:"200" pattern:"^[!-~]+$" patternDescription:"visible ASCII characters" doc:"The key, asked about as with its newest secret."`
		Scheme  string   `json:"scheme,omitempty" minLength:"1" maxLength:"200" doc:"In place of key_id, with digests: the scheme of the route."`
		Digests []string `json:"digests,omitempty" minItems:"1" maxItems:"2" pattern:"^[0-9a-f]{64}$" patternDescription:"64 lower-case hexadecimal digits" doc:"SHA-256 of the secret; of a pair, of the publishable half and of the secret half."`
		Cost    int64    `json:"cost,omitempty" minimum:"0" maximum:"9007199254740991" doc:"The cost of the route, in credits; at 0 no balance is asked for."`
		Method  string   `json:"method,omitempty" maxLength:"16" pattern:"^[A-Z]+$" patternDescription:"upper-case letters" doc:"Of the request; with path and ip, it matters where the key is restricted."`
		Path    string   `json:"path,omitempty" maxLength:"256" pattern:"^/" patternDescription:"a path, decoded and without its query" doc:"Of the request, decoded and without its query."`
		IP      string   `json:"ip,omitempty" format:"ip" doc:"The client's address, as the proxy sees it."`
	} `nameHint:"ExplainBody"`
}

// explanation is a decision as the REST API shows it.
type explanation struct {
	Decision  string  `json:"decision" enum:"allow,deny"`
	Verdict   string  `json:"verdict" enum:"granted,unknown_key,key_pair_mismatch,inactive_key,account_not_active,domain_not_verified,key_restricted,insufficient_credits" doc:"What a gate is told."`
	Answer    *answer `json:"answer,omitempty" doc:"What the client is answered in the scheme's words; absent if the request passes."`
	Scheme    string  `json:"scheme"`
	KeyID     *string `json:"key_id" doc:"Null if the key is unknown."`
	ProjectID *string `json:"project_id"`
	AccountID *string `json:"account_id"`
	Available *int64  `json:"available" doc:"The account's available balance."`
	Reserved  *int64  `json:"reserved" doc:"What gates hold in leases: a gate that holds one for this key goes on by it."`
	Steps     []check `json:"steps" nullable:"false" doc:"What is asked, in the order in which it is asked."`
}

type answer struct {
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

type check struct {
	Check   string `json:"check" enum:"key,pair,active,account,domain,restriction,credits"`
	Outcome string `json:"outcome" enum:"passed,failed,not_asked,not_reached" doc:"A decision ends at the first check that fails."`
	Detail  string `json:"detail"`
}

type explainOutput struct{ Body explanation }

func (s *Server) registerExplain(a huma.API) {
	handle(s, a, explainKeys, huma.Operation{
		OperationID: "explain", Method: http.MethodPost, Path: "/v1/explain", Summary: "Say what a gate would decide, step by step, without charging",
		Errors: []int{http.StatusNotFound},
	}, s.explain)
}

func (s *Server) explain(ctx context.Context, in *explainInput) (*explainOutput, error) {
	b := &in.Body
	if (b.KeyID == "") == (b.Scheme == "" && len(b.Digests) == 0) {
		return nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body", "expected key_id, or scheme and digests")
	}
	scheme := s.schemes[b.Scheme]
	if b.KeyID != "" {
		key, err := s.store.Key(ctx, b.KeyID)
		if err != nil {
			return nil, fmt.Errorf("explain: %w", err)
		}
		if scheme, err = s.schemes.ofKey(key); err != nil {
			return nil, err
		}
	}
	if err := s.explainable(scheme, in); err != nil {
		return nil, err
	}
	q := store.Question{KeyID: b.KeyID, Scheme: b.Scheme, Digests: b.Digests, Cost: b.Cost, Method: b.Method, Path: b.Path, Address: b.IP}
	e, err := s.store.Explain(ctx, q, requirements(scheme))
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	return &explainOutput{Body: showExplanation(e, scheme)}, nil
}

// explainable checks what depends on the scheme, nil if it is none.
func (s *Server) explainable(scheme *apikey.Scheme, in *explainInput) error {
	b := &in.Body
	bad := func(field, expected string) error {
		return badField(http.StatusUnprocessableEntity, codeInvalidRequest, field, expected)
	}
	switch {
	case scheme == nil:
		return bad("body.scheme", "expected one of: "+s.schemes.names())
	case b.KeyID == "" && len(b.Digests) != len(scheme.Formats()):
		return bad("body.digests", fmt.Sprintf("expected %d, one for each part of a key", len(scheme.Formats())))
	case b.Cost > 0 && !scheme.Balance:
		return bad("body.cost", "expected 0, because the scheme asks for no balance")
	}
	return nil
}

func showExplanation(e store.Explanation, scheme *apikey.Scheme) explanation {
	out := explanation{
		Decision: "allow", Verdict: string(e.Verdict), Scheme: scheme.Name, KeyID: orNull(e.KeyID), ProjectID: orNull(e.ProjectID),
		AccountID: orNull(e.AccountID),
	}
	if e.AccountID != "" {
		out.Available, out.Reserved = &e.Available, &e.Reserved
	}
	if e.Verdict != api.Granted {
		row := scheme.Errors.Rows[reasonOf(e.Verdict)]
		out.Decision, out.Answer = "deny", &answer{row.Status, row.Code, row.Message}
	}
	for _, step := range e.Steps {
		out.Steps = append(out.Steps, check{step.Check, string(step.Outcome), step.Detail})
	}
	return out
}

// reasonOf is the row of error tables for a verdict that denies. All but one are called the same.
func reasonOf(v api.Verdict) apikey.Reason {
	if v == api.UnknownKey {
		return apikey.InvalidKey
	}
	return apikey.Reason(v)
}
