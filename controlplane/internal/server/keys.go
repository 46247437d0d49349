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
	ID        string     `json:"id" example:"key_06f3k2v8s1w0"`
	AccountID string     `json:"account_id"`
	Scheme    string     `json:"scheme"`
	Name      string     `json:"name"`
	Prefix    string     `json:"prefix"`
	Last4     string     `json:"last4" doc:"The last characters of the secret, to tell keys apart."`
	Status    string     `json:"status" enum:"active,inactive,revoked"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
	RevokedAt *time.Time `json:"revoked_at" nullable:"true"`
}

type keyOutput struct{ Body Key }

// newKey is the one reply that holds a secret.
type newKey struct {
	Key
	Secret *string `json:"secret" doc:"The full key, shown this once; null when the request is repeated."`
}

func showKey(k store.Key) Key {
	out := Key{
		ID: k.ID, AccountID: k.AccountID, Scheme: k.Scheme, Name: k.Name, Prefix: k.Prefix, Last4: k.Last4,
		Status: string(k.Status), CreatedAt: k.CreatedAt.UTC(), UpdatedAt: k.UpdatedAt.UTC(),
	}
	if k.RevokedAt != nil {
		at := k.RevokedAt.UTC()
		out.RevokedAt = &at
	}
	return out
}

// KeyID is the path of one key.
type KeyID struct {
	ID string `path:"id" maxLength:"200" doc:"The key's id."`
}

type createKeyBody struct {
	AccountID string `json:"account_id" minLength:"1" maxLength:"200"`
	Scheme    string `json:"scheme" enum:"genrex"`
	Name      string `json:"name" minLength:"1" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"no control characters"`
}

type createKeyInput struct {
	IdempotencyInput
	Body createKeyBody
}

type createKeyOutput struct {
	Replayed string `header:"Idempotency-Replayed" doc:"true if an earlier request under this key did it."`
	Body     newKey
}

type updateKeyInput struct {
	KeyID
	Body struct {
		Name   *string `json:"name,omitempty" minLength:"1" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"no control characters"`
		Status *string `json:"status,omitempty" enum:"active,inactive"`
	} `nameHint:"UpdateKeyBody"`
}

type revokeKeyInput struct {
	KeyID
	// Body takes no field; that it is declared makes huma refuse one.
	Body *struct{} `nameHint:"RevokeKeyBody"`
}

func (s *Server) registerKeys(a huma.API) {
	handle(s, a, huma.Operation{
		OperationID: "create-key", Method: http.MethodPost, Path: "/v1/keys", Summary: "Create a key",
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusNotFound, http.StatusConflict},
	}, s.createKey)
	handle(s, a, huma.Operation{
		OperationID: "list-keys", Method: http.MethodGet, Path: "/v1/keys", Summary: "List keys",
	}, s.listKeys)
	handle(s, a, huma.Operation{
		OperationID: "get-key", Method: http.MethodGet, Path: "/v1/keys/{id}", Summary: "Show a key",
	}, s.getKey)
	handle(s, a, huma.Operation{
		OperationID: "update-key", Method: http.MethodPatch, Path: "/v1/keys/{id}", Summary: "Rename, disable or enable a key",
		Errors: []int{http.StatusConflict},
	}, s.updateKey)
	handle(s, a, huma.Operation{
		OperationID: "revoke-key", Method: http.MethodPost, Path: "/v1/keys/{id}/revoke", Summary: "Revoke a key for good",
	}, s.revokeKey)
}

func (s *Server) createKey(ctx context.Context, in *createKeyInput) (*createKeyOutput, error) {
	if err := fits("body.name", in.Body.Name, store.MaxNameLen); err != nil {
		return nil, err
	}
	idem, err := in.idempotent(ctx, "POST /v1/keys", in.Body)
	if err != nil {
		return nil, err
	}
	secret, err := apikey.Genrex.Generate()
	if err != nil {
		return nil, err
	}
	k, replayed, err := s.store.CreateKey(ctx, store.NewKey{
		AccountID: in.Body.AccountID, Scheme: in.Body.Scheme, Name: in.Body.Name,
		Prefix: apikey.Genrex.Prefix, Last4: secret.Last4(), Digest: apikey.DigestOf(secret.Reveal()),
	}, idem)
	if errors.Is(err, store.ErrNotFound) {
		return nil, badField(http.StatusNotFound, codeNotFound, "body.account_id", "expected the id of an account")
	}
	if err != nil {
		return nil, fmt.Errorf("create key: %w", err)
	}
	out := &createKeyOutput{Replayed: replay(replayed), Body: newKey{Key: showKey(k)}}
	if !replayed {
		text := secret.Reveal()
		out.Body.Secret = &text
	}
	return out, nil
}

func (s *Server) listKeys(ctx context.Context, in *struct {
	PageQuery
	AccountID string `query:"account_id" maxLength:"200" doc:"Only this account's keys."`
}) (*listOutput[Key], error) {
	page, err := in.page("keys", keyPrefix)
	if err != nil {
		return nil, err
	}
	rows, more, err := s.store.Keys(ctx, store.KeyFilter{AccountID: in.AccountID}, page)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return newList("keys", rows, more, showKey, func(k store.Key) string { return k.ID }), nil
}

func (s *Server) getKey(ctx context.Context, in *KeyID) (*keyOutput, error) {
	k, err := s.store.Key(ctx, in.ID)
	if err != nil {
		return nil, fmt.Errorf("show key: %w", err)
	}
	return &keyOutput{Body: showKey(k)}, nil
}

func (s *Server) updateKey(ctx context.Context, in *updateKeyInput) (*keyOutput, error) {
	b := in.Body
	if b.Name == nil && b.Status == nil {
		return nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body", "expected name or status or both")
	}
	update := store.KeyUpdate{Name: b.Name}
	if b.Name != nil {
		if err := fits("body.name", *b.Name, store.MaxNameLen); err != nil {
			return nil, err
		}
	}
	if b.Status != nil {
		status := store.KeyStatus(*b.Status)
		update.Status = &status
	}
	k, err := s.store.UpdateKey(ctx, in.ID, update)
	if err != nil {
		return nil, fmt.Errorf("update key: %w", err)
	}
	return &keyOutput{Body: showKey(k)}, nil
}

func (s *Server) revokeKey(ctx context.Context, in *revokeKeyInput) (*keyOutput, error) {
	k, err := s.store.RevokeKey(ctx, in.ID)
	if err != nil {
		return nil, fmt.Errorf("revoke key: %w", err)
	}
	return &keyOutput{Body: showKey(k)}, nil
}
