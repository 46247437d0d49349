//go:build !wasip1

package main

import (
	"fmt"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/testenv"
)

// What the control plane may be asked for a request: nothing, or for one acquire that it answers.
var (
	unasked = []string{}
	askOnce = []string{"tollgate POST /gate/v1/acquire 200"}
)

// passed is a request that the control plane let through.
var passed = testenv.Want{Decision: testenv.Forwarded, Status: 200, Callouts: askOnce}

// The published error rows, given without asking. asked makes them what the control plane said.
var (
	invalidRequest      = genrex(400, apikey.InvalidRequest, "INVALID_REQUEST", "Credential or Host headers are repeated or conflict", "")
	unauthenticated     = genrex(401, apikey.MissingCredential, "UNAUTHENTICATED", "Missing authentication credentials", `Bearer realm="genrex"`)
	invalidKey          = genrex(401, apikey.InvalidKey, "INVALID_API_KEY", "API key is invalid or does not exist", `Bearer realm="genrex", error="invalid_token"`)
	accountDisabled     = genrex(403, apikey.AccountNotActive, "ACCOUNT_DISABLED", "Account is disabled", "")
	insufficientCredits = genrex(402, apikey.InsufficientCredits, "INSUFFICIENT_CREDITS", "Account has insufficient credits", "")
	unavailable         = genrex(503, apikey.Unavailable, "SERVICE_UNAVAILABLE", "The service cannot check this key right now; try again", "")
	badPath             = genrex(400, "bad_path", "INVALID_REQUEST", "The path has empty or dot segments, or escaped or backward slashes", "")
	noRoute             = genrex(404, "no_route", "NOT_FOUND", "No route matches this path", "")

	pairInvalidRequest = vexrail(400, apikey.InvalidRequest, "invalid_request", "Credential or Host headers are repeated or conflict", "invalid_request_error")
	pairMissing        = vexrail(401, apikey.MissingCredential, "missing_api_key", "Missing x-publishable-key or x-secret-key", "invalid_request_error")
	pairInvalid        = vexrail(401, apikey.InvalidKey, "invalid_api_key", "Invalid key", "invalid_request_error")
	pairMismatch       = vexrail(401, apikey.KeyPairMismatch, "key_pair_mismatch", "Key pair mismatch (keys from different pairs)", "invalid_request_error")
	pairInactive       = vexrail(401, apikey.InactiveKey, "inactive_api_key", "Inactive key", "invalid_request_error")
	pairAccountOff     = vexrail(403, apikey.AccountNotActive, "account_not_active", "Publisher account is not activated", "permission_error")
	pairDomainOff      = vexrail(403, apikey.DomainNotVerified, "domain_not_verified", "Domain not verified", "permission_error")
	pairNoCredits      = vexrail(403, apikey.InsufficientCredits, "insufficient_credits", "Insufficient credit balance", "insufficient_quota")
)

func genrex(status int, reason apikey.Reason, code, message, challenge string) testenv.Want {
	return refusal(status, reason, fmt.Sprintf(`{"error":{"code":%q,"message":%q}}`, code, message), challenge)
}

// vexrail has the body shape of OpenAI.
func vexrail(status int, reason apikey.Reason, code, message, kind string) testenv.Want {
	challenge := map[bool]string{true: `ApiKey realm="vexrail"`}[status == 401]
	return refusal(status, reason, fmt.Sprintf(`{"error":{"message":%q,"type":%q,"param":null,"code":%q}}`, message, kind, code), challenge)
}

// refusal is an answer of the filter itself, whole, of which the upstream knows nothing.
func refusal(status int, reason apikey.Reason, body, challenge string) testenv.Want {
	w := testenv.Want{
		Decision: testenv.Answered, Status: status, Body: body + "\n", Callouts: unasked,
		Headers: map[string]string{"content-type": "application/json", "cache-control": "no-store",
			"www-authenticate": challenge, "retry-after": map[bool]string{true: "1"}[status == 503]},
	}
	if status == 503 {
		w.Callouts = nil // asked or not, there was no answer
	}
	return because(w, reason)
}

// because is the same refusal for a reason that only the operator is told.
func because(w testenv.Want, reason apikey.Reason) testenv.Want {
	w.FilterState = map[string]string{"wasm.tollgate": fmt.Sprintf("decision=deny status=%d reason=%s", w.Status, reason)}
	return w
}

func asked(w testenv.Want) testenv.Want {
	w.Callouts = askOnce
	return w
}

// counting adds metrics of the filter that have to move by one.
func counting(w testenv.Want, names ...string) testenv.Want {
	w.Metrics = map[string]int64{}
	for _, name := range names {
		w.Metrics["tollgate."+name] = 1
	}
	return w
}
