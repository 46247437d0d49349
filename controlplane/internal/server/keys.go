package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

const keyPrefix = "key_"

// Key is a key as the REST API shows it, without its secret. Like every embedded type here it is exported
// because huma looks into no other.
type Key struct {
	ID             string     `json:"id" example:"key_06f3k2v8s1w0"`
	AccountID      string     `json:"account_id" doc:"Who pays; a pair's is its project's account."`
	ProjectID      *string    `json:"project_id" doc:"The project of a key pair; null for a secret key."`
	Scheme         string     `json:"scheme"`
	Name           string     `json:"name"`
	Environment    string     `json:"environment" enum:"production,staging"`
	Prefix         string     `json:"prefix"`
	Last4          string     `json:"last4" doc:"The last characters of the secret, to tell keys apart."`
	PublishableKey *string    `json:"publishable_key" doc:"The publishable half of a key pair, which is no secret; null for a secret key."`
	Status         string     `json:"status" enum:"active,inactive,revoked"`
	ExpiresAt      *time.Time `json:"expires_at" nullable:"true" doc:"From then on the key is refused; null for never."`
	CreatedAt      time.Time  `json:"created_at"`
	UpdatedAt      time.Time  `json:"updated_at"`
	RevokedAt      *time.Time `json:"revoked_at" nullable:"true"`
	ReplacedBy     *string    `json:"replaced_by" doc:"The key that took over when this one was replaced."`
	ExternalRef    *string    `json:"external_ref" doc:"An imported key's name where it came from; null for none."`
	LastUsedAt     *time.Time `json:"last_used_at" nullable:"true" doc:"Roughly when a gate last let a request through, a minute late at most; null for never."`

	Metadata   map[string]string `json:"metadata" nullable:"false" doc:"What its owner notes about the key."`
	Routes     []routeRule       `json:"routes" nullable:"false" doc:"The only requests that the key may be used for; none: all."`
	AllowedIPs []string          `json:"allowed_ips" nullable:"false" doc:"The only networks that the key may be used from; none: all."`
}

type keyOutput struct {
	ETag string `header:"ETag" doc:"The key's state, for If-Match; when it was last used is no part of it."`
	Body Key
}

func showOneKey(k store.Key) *keyOutput { return &keyOutput{ETag: etag(k.Tag()), Body: showKey(k)} }

// newKey is the reply of creation and rotation, which alone with that of replacement holds a secret.
type newKey struct {
	Key
	Secret *string `json:"secret" doc:"The full secret, shown this once; null when the request is repeated or made none."`
}

type newKeyOutput struct {
	Replayed string `header:"Idempotency-Replayed" doc:"true if an earlier request under this key did it."`
	ETag     string `header:"ETag" doc:"The key's state, for If-Match; when it was last used is no part of it."`
	Body     newKey
}

func showKey(k store.Key) Key {
	routes, ips := showRestriction(k.Restriction)
	return Key{
		ID: k.ID, AccountID: k.AccountID, ProjectID: orNull(k.ProjectID), Scheme: k.Scheme, Name: k.Name,
		Environment: string(k.Environment), Prefix: k.Prefix, Last4: k.Last4, PublishableKey: orNull(k.Publishable),
		Status: string(k.Status), ExpiresAt: utcOrNull(k.ExpiresAt), CreatedAt: k.CreatedAt.UTC(),
		UpdatedAt: k.UpdatedAt.UTC(), RevokedAt: utcOrNull(k.RevokedAt), ReplacedBy: orNull(k.ReplacedBy),
		ExternalRef: orNull(k.ExternalRef), LastUsedAt: utcOrNull(k.LastUsedAt), Metadata: k.Metadata.Entries(), Routes: routes, AllowedIPs: ips,
	}
}

// shownOnce is the secret as the reply that made it shows it.
func shownOnce(secret apikey.Secret, replayed bool) *string {
	if replayed {
		return nil
	}
	return orNull(secret.Reveal())
}

// KeyID is the path of one key.
type KeyID struct {
	ID string `path:"id" maxLength:"200" doc:"The key's id."`
}

type createKeyBody struct {
	AccountID   string      `json:"account_id,omitempty" minLength:"1" maxLength:"200" doc:"The owner of a secret key."`
	ProjectID   string      `json:"project_id,omitempty" minLength:"1" maxLength:"200" doc:"The owner of a key pair."`
	Scheme      string      `json:"scheme" doc:"The name of a configured scheme, such as genrex or vexrail; its type says who owns the key."`
	Name        string      `json:"name" minLength:"1" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"no control characters"`
	Environment string      `json:"environment,omitempty" enum:"production,staging" default:"production"`
	ExpiresAt   *instant    `json:"expires_at,omitempty" doc:"In the future; without it the key never expires."`
	Metadata    metadata    `json:"metadata,omitempty" doc:"Notes of the key's owner."`
	Routes      []routeRule `json:"routes,omitempty" nullable:"false" maxItems:"16" doc:"The only requests that the key may be used for."`
	AllowedIPs  []string    `json:"allowed_ips,omitempty" nullable:"false" maxItems:"32" doc:"The only networks that the key may be used from."`
}

type createKeyInput struct {
	IdempotencyInput
	Body createKeyBody
}

type revokeKeyInput struct {
	KeyID
	IfMatchInput
	// Body takes no field; that it is declared makes huma refuse one.
	Body *struct{} `nameHint:"RevokeKeyBody"`
}

func (s *Server) registerKeys(a huma.API) {
	handle(s, a, writeKeys, huma.Operation{
		OperationID: "create-key", Method: http.MethodPost, Path: "/v1/keys", Summary: "Create a key",
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusNotFound, http.StatusConflict},
	}, s.createKey)
	handle(s, a, readKeys, huma.Operation{
		OperationID: "list-keys", Method: http.MethodGet, Path: "/v1/keys", Summary: "List keys, or search for them",
	}, s.listKeys)
	handle(s, a, readKeys, huma.Operation{
		OperationID: "get-key", Method: http.MethodGet, Path: "/v1/keys/{id}", Summary: "Show a key",
	}, s.getKey)
	handle(s, a, updateKeys, huma.Operation{
		OperationID: "update-key", Method: http.MethodPatch, Path: "/v1/keys/{id}", Summary: "Rename, disable or enable a key, or change its environment, end or metadata",
		Errors: []int{http.StatusConflict},
	}, s.updateKey)
	handle(s, a, writeKeys, huma.Operation{
		OperationID: "revoke-key", Method: http.MethodPost, Path: "/v1/keys/{id}/revoke", Summary: "Revoke a key for good",
	}, s.revokeKey)
	s.registerKeyChanges(a)
	s.registerKeyImport(a)
}

func (s *Server) createKey(ctx context.Context, in *createKeyInput) (*newKeyOutput, error) {
	scheme, err := s.checkNewKey(&in.Body)
	if err != nil {
		return nil, err
	}
	idem, err := in.idempotent(ctx, "POST /v1/keys", in.Body)
	if err != nil {
		return nil, err
	}
	row, secret, err := mintKey(&in.Body, scheme)
	if errors.Is(err, apikey.ErrTooWeak) {
		return nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body.scheme",
			"expected a scheme whose format is long enough to make secrets in")
	}
	if err != nil {
		return nil, err
	}
	k, replayed, err := s.store.CreateKey(ctx, row, idem)
	if errors.Is(err, store.ErrNotFound) {
		return nil, unknownOwner(scheme)
	}
	// Everything else was checked before.
	if errors.Is(err, store.ErrInvalid) && row.ExpiresAt != nil {
		return nil, badExpiry()
	}
	if err != nil {
		return nil, fmt.Errorf("create key: %w", err)
	}
	return &newKeyOutput{Replayed: replay(replayed), ETag: etag(k.Tag()), Body: newKey{Key: showKey(k), Secret: shownOnce(secret, replayed)}}, nil
}

// checkNewKey finds what no schema can tell of, puts the times that mean the same into the same form, and returns
// the key's scheme.
func (s *Server) checkNewKey(b *createKeyBody) (*apikey.Scheme, error) {
	if err := fits("body.name", b.Name, store.MaxNameLen); err != nil {
		return nil, err
	}
	scheme, err := s.schemes.toIssue(b.Scheme)
	if err != nil {
		return nil, err
	}
	if err := checkOwner(b, scheme); err != nil {
		return nil, err
	}
	if _, err := b.Metadata.checked(); err != nil {
		return nil, err
	}
	if _, err := restrictionOf(b.Routes, b.AllowedIPs); err != nil {
		return nil, err
	}
	if b.ExpiresAt != nil {
		at, err := expiry(b.ExpiresAt.Time)
		if err != nil {
			return nil, err
		}
		b.ExpiresAt = &instant{*at}
	}
	return scheme, nil
}

// checkOwner: a secret key belongs to an account, a pair to a project and through it to an account.
func checkOwner(b *createKeyBody, scheme *apikey.Scheme) error {
	type field struct{ name, value string }
	owner, other, kind := field{"body.account_id", b.AccountID}, field{"body.project_id", b.ProjectID}, "secret key"
	if scheme.Type == apikey.KeyPair {
		owner, other, kind = other, owner, "key pair"
	}
	var errs []FieldError
	if owner.value == "" {
		errs = append(errs, FieldError{Location: owner.name, Message: "expected the owner of a " + kind + ", got none"})
	}
	if other.value != "" {
		errs = append(errs, FieldError{Location: other.name, Message: "expected none: the owner of a " + kind + " is given by " + owner.name})
	}
	if len(errs) == 0 {
		return nil
	}
	return newProblem(http.StatusUnprocessableEntity, codeInvalidRequest, summary(errs), errs...)
}

func unknownOwner(scheme *apikey.Scheme) *Problem {
	if scheme.Type == apikey.KeyPair {
		return unknownProject()
	}
	return unknownAccount()
}

func unknownAccount() *Problem {
	return badField(http.StatusNotFound, codeNotFound, "body.account_id", "expected the id of an account")
}

func unknownProject() *Problem {
	return badField(http.StatusNotFound, codeNotFound, "body.project_id", "expected the id of a project")
}

func (in *createKeyInput) confine(ctx context.Context, s *Server, accountID string) error {
	if id := in.Body.AccountID; id != "" && ownAccount(id, accountID) != nil {
		return unknownAccount()
	}
	if in.Body.ProjectID == "" {
		return nil
	}
	err := s.ownProject(ctx, in.Body.ProjectID, accountID)
	if errors.Is(err, store.ErrNotFound) {
		return unknownProject()
	}
	return err
}

// mintKey makes the key that b asks for. Its secret is in the second result alone.
func mintKey(b *createKeyBody, scheme *apikey.Scheme) (store.NewKey, apikey.Secret, error) {
	secret, half, err := mintSecret(scheme)
	if err != nil {
		return store.NewKey{}, "", err
	}
	row := store.NewKey{
		AccountID: b.AccountID, ProjectID: b.ProjectID, Scheme: b.Scheme, Name: b.Name,
		Environment: store.Environment(b.Environment), Prefix: scheme.Secret.Prefix, Last4: half.Last4, Digest: half.Digest,
		RequireDomain: scheme.DomainVerified,
	}
	if row.Metadata, err = b.Metadata.checked(); err != nil {
		return store.NewKey{}, "", err
	}
	if row.Restriction, err = restrictionOf(b.Routes, b.AllowedIPs); err != nil {
		return store.NewKey{}, "", err
	}
	if b.ExpiresAt != nil {
		row.ExpiresAt = &b.ExpiresAt.Time
	}
	if scheme.Type == apikey.KeyPair {
		publishable, err := mintPublishable(scheme)
		if err != nil {
			return store.NewKey{}, "", err
		}
		row.Publishable, row.PublishableDigest = publishable.Text, publishable.Digest
	}
	return row, secret, nil
}

func (s *Server) getKey(ctx context.Context, in *KeyID) (*keyOutput, error) {
	k, err := s.store.Key(ctx, in.ID)
	if err != nil {
		return nil, fmt.Errorf("show key: %w", err)
	}
	return showOneKey(k), nil
}

func (s *Server) revokeKey(ctx context.Context, in *revokeKeyInput) (*keyOutput, error) {
	k, err := s.store.RevokeKey(ctx, in.ID)
	if err != nil {
		return nil, fmt.Errorf("revoke key: %w", err)
	}
	return showOneKey(k), nil
}
