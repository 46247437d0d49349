package apikey

// Type is how a scheme presents a key.
type Type string

// The types of scheme.
const (
	// SecretKey is one secret that belongs to an account.
	SecretKey Type = "secret_key"
	// KeyPair is a publishable half and a secret half that belong to a project.
	KeyPair Type = "key_pair"
)

// Scheme is one way of presenting a key and of being refused. Filter and control plane read the same definition:
// the filter uses all of it, the control plane the formats and requirements.
type Scheme struct {
	Name string
	Type Type
	// Secret is the shape of the secret; Publishable of a pair's other half, which is no secret.
	Secret, Publishable Format
	// Bearer: a SecretKey may come as "Authorization: Bearer <key>" (RFC 6750 §2.1).
	Bearer bool
	// SecretHeader is the header whose whole value is the secret, in lower case. Of a SecretKey it may be empty
	// if Bearer is set. PublishableHeader is that of a pair's other half.
	SecretHeader, PublishableHeader string
	// ConversationHeader is an optional header for grouping requests, in lower case; empty for none.
	ConversationHeader string
	// DomainVerified: the key's project needs a verified domain. Only for pairs.
	DomainVerified bool
	// Balance: requests are charged. Without it a route's cost has to be 0.
	Balance bool
	// Errors says how refusals look.
	Errors Errors
}

// Headers lists the scheme's credential headers in lower case.
func (s *Scheme) Headers() []string {
	var names []string
	if s.Bearer {
		names = append(names, "authorization")
	}
	for _, name := range []string{s.PublishableHeader, s.SecretHeader} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// Formats lists the shapes of the scheme's keys, in the order of their digests on the wire: a pair's publishable
// half first.
func (s *Scheme) Formats() []*Format {
	if s.Type == KeyPair {
		return []*Format{&s.Publishable, &s.Secret}
	}
	return []*Format{&s.Secret}
}

// Style is the shape of an error body.
type Style string

// The styles.
const (
	// StyleCode is {"error":{"code","message"}}.
	StyleCode Style = "code"
	// StyleOpenAI is {"error":{"message","type","param","code"}}, which OpenAI's client libraries show.
	StyleOpenAI Style = "openai"
)

// Errors is a scheme's error table.
type Errors struct {
	Style Style
	// Challenge is the auth-scheme and Realm the realm of WWW-Authenticate, which every 401 carries. For
	// "Bearer" an invalid key adds error="invalid_token" (RFC 6750 §3.1).
	Challenge, Realm string
	// Rows has one row for each reason of Reasons.
	Rows map[Reason]Row
}

// Row is one line of an error table.
type Row struct {
	// Status is 400 to 599.
	Status int
	// Code is what clients branch on, Message what people read; visible ASCII and spaces, without " and \.
	Code, Message string
}

// Reason is why a request is refused, as error tables name it.
type Reason string

// The reasons, in the order in which they are checked.
const (
	InvalidRequest      Reason = "invalid_request"
	MissingCredential   Reason = "missing_credential"
	InvalidKey          Reason = "invalid_key"
	KeyPairMismatch     Reason = "key_pair_mismatch"
	InactiveKey         Reason = "inactive_key"
	AccountNotActive    Reason = "account_not_active"
	DomainNotVerified   Reason = "domain_not_verified"
	KeyRestricted       Reason = "key_restricted"
	InsufficientCredits Reason = "insufficient_credits"
	Unavailable         Reason = "unavailable"
)

// Reasons lists every reason that an error table has a row for.
var Reasons = []Reason{
	InvalidRequest, MissingCredential, InvalidKey, KeyPairMismatch, InactiveKey, AccountNotActive,
	DomainNotVerified, KeyRestricted, InsufficientCredits, Unavailable,
}

// genrexPreset is contracts/genrex.txt as published. Messages are the page's descriptions; 400, 503 and
// KEY_RESTRICTED, which the page does not list, are Tollgate's.
func genrexPreset() Scheme {
	invalid := Row{401, "INVALID_API_KEY", "API key is invalid or does not exist"}
	return Scheme{
		Type: SecretKey, Secret: Genrex, Bearer: true, SecretHeader: "x-api-key", Balance: true,
		Errors: Errors{Style: StyleCode, Challenge: "Bearer", Realm: "genrex", Rows: map[Reason]Row{
			InvalidRequest:      {400, "INVALID_REQUEST", "Credential or Host headers are repeated or conflict"},
			MissingCredential:   {401, "UNAUTHENTICATED", "Missing authentication credentials"},
			InvalidKey:          invalid,
			KeyPairMismatch:     invalid,
			InactiveKey:         invalid,
			AccountNotActive:    {403, "ACCOUNT_DISABLED", "Account is disabled"},
			DomainNotVerified:   {403, "DOMAIN_NOT_VERIFIED", "Project domain is not verified"},
			KeyRestricted:       {403, "KEY_RESTRICTED", "API key may not be used for this request"},
			InsufficientCredits: {402, "INSUFFICIENT_CREDITS", "Account has insufficient credits"},
			Unavailable:         {503, "SERVICE_UNAVAILABLE", "The service cannot check this key right now; try again"},
		}},
	}
}

// vexrailPreset is contracts/vexrail.txt as published. The page names scenarios and statuses; codes are
// design.md §2's, and messages the page's scenarios.
func vexrailPreset() Scheme {
	return Scheme{
		Type:        KeyPair,
		Publishable: Format{Prefix: "pk_live_", Length: 32, Alphabet: Base62, Public: true},
		Secret:      Format{Prefix: "sk_live_", Length: 32, Alphabet: Base62},

		PublishableHeader: "x-publishable-key", SecretHeader: "x-secret-key",
		ConversationHeader: "x-conversation-id",
		DomainVerified:     true, Balance: true,
		Errors: Errors{Style: StyleOpenAI, Challenge: "ApiKey", Realm: "vexrail", Rows: map[Reason]Row{
			InvalidRequest:      {400, "invalid_request", "Credential or Host headers are repeated or conflict"},
			MissingCredential:   {401, "missing_api_key", "Missing x-publishable-key or x-secret-key"},
			InvalidKey:          {401, "invalid_api_key", "Invalid key"},
			KeyPairMismatch:     {401, "key_pair_mismatch", "Key pair mismatch (keys from different pairs)"},
			InactiveKey:         {401, "inactive_api_key", "Inactive key"},
			AccountNotActive:    {403, "account_not_active", "Publisher account is not activated"},
			DomainNotVerified:   {403, "domain_not_verified", "Domain not verified"},
			KeyRestricted:       {403, "key_restricted", "Key may not be used for this request"},
			InsufficientCredits: {403, "insufficient_credits", "Insufficient credit balance"},
			Unavailable:         {503, "service_unavailable", "The service cannot check this key right now; try again"},
		}},
	}
}
