package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// The halves of a key that a rotation renews.
const (
	halfSecret      = "secret"
	halfPublishable = "publishable"
	halfBoth        = "both"
)

type rotateKeyBody struct {
	OverlapSeconds int64  `json:"overlap_seconds,omitempty" minimum:"0" maximum:"2592000" default:"0" doc:"How long the old half works beside the new one; at 0 it ends at once."`
	Halves         string `json:"halves,omitempty" enum:"secret,publishable,both" default:"secret" doc:"What is renewed; the others than secret are for key pairs."`
}

type rotateKeyInput struct {
	KeyID
	IfMatchInput
	IdempotencyInput
	Body rotateKeyBody
}

type replaceKeyInput struct {
	KeyID
	IfMatchInput
	IdempotencyInput
	// Body takes no field; that it is declared makes huma refuse one.
	Body *struct{} `nameHint:"ReplaceKeyBody"`
}

// replacingKey is the reply of a replacement: the new key, with its secret.
type replacingKey struct {
	Key
	Secret   *string `json:"secret" doc:"The full secret, shown this once; null when the request is repeated."`
	Replaces string  `json:"replaces" doc:"The key that was revoked for this one."`
}

type replaceKeyOutput struct {
	Replayed string `header:"Idempotency-Replayed" doc:"true if an earlier request under this key did it."`
	ETag     string `header:"ETag" doc:"The new key's state, for If-Match; when it was last used is no part of it."`
	Body     replacingKey
}

func (s *Server) registerKeyChanges(a huma.API) {
	handle(s, a, writeKeys, huma.Operation{
		OperationID: "rotate-key", Method: http.MethodPost, Path: "/v1/keys/{id}/rotate",
		Summary: "Renew a key's secret, or a pair's halves, under the same id", Errors: []int{http.StatusConflict},
	}, s.rotateKey)
	handle(s, a, writeKeys, huma.Operation{
		OperationID: "replace-key", Method: http.MethodPost, Path: "/v1/keys/{id}/replace",
		Summary:       "Revoke a compromised key at once and make a new one in its place",
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict},
	}, s.replaceKey)
}

func (s *Server) rotateKey(ctx context.Context, in *rotateKeyInput) (*newKeyOutput, error) {
	idem, err := in.idempotent(ctx, "POST /v1/keys/"+in.ID+"/rotate", in.Body)
	if err != nil {
		return nil, err
	}
	scheme, err := s.schemeOf(ctx, in.ID)
	if err != nil {
		return nil, fmt.Errorf("rotate key: %w", err)
	}
	if scheme.Type != apikey.KeyPair && in.Body.Halves != halfSecret {
		return nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body.halves", `expected "secret": this key is no pair`)
	}
	rotation := store.Rotation{Overlap: time.Duration(in.Body.OverlapSeconds) * time.Second}
	secret := apikey.Secret("")
	if in.Body.Halves != halfPublishable {
		if secret, rotation.Secret, err = mintSecret(scheme); err != nil {
			return nil, unusable(err)
		}
	}
	if in.Body.Halves != halfSecret {
		if rotation.Publishable, err = mintPublishable(scheme); err != nil {
			return nil, unusable(err)
		}
	}
	k, replayed, err := s.store.RotateKey(ctx, in.ID, rotation, idem)
	if err != nil {
		return nil, fmt.Errorf("rotate key: %w", err)
	}
	return &newKeyOutput{Replayed: replay(replayed), ETag: etag(k.Tag()), Body: newKey{Key: showKey(k), Secret: shownOnce(secret, replayed)}}, nil
}

func (s *Server) replaceKey(ctx context.Context, in *replaceKeyInput) (*replaceKeyOutput, error) {
	idem, err := in.idempotent(ctx, "POST /v1/keys/"+in.ID+"/replace", nil)
	if err != nil {
		return nil, err
	}
	scheme, err := s.schemeOf(ctx, in.ID)
	if err != nil {
		return nil, fmt.Errorf("replace key: %w", err)
	}
	replacement := store.Replacement{}
	secret, half, err := mintSecret(scheme)
	if err != nil {
		return nil, unusable(err)
	}
	replacement.Secret = half
	if scheme.Type == apikey.KeyPair {
		if replacement.Publishable, err = mintPublishable(scheme); err != nil {
			return nil, unusable(err)
		}
	}
	k, replayed, err := s.store.ReplaceKey(ctx, in.ID, replacement, idem)
	if err != nil {
		return nil, fmt.Errorf("replace key: %w", err)
	}
	return &replaceKeyOutput{Replayed: replay(replayed), ETag: etag(k.Tag()), Body: replacingKey{
		Key: showKey(k), Secret: shownOnce(secret, replayed), Replaces: in.ID,
	}}, nil
}

// schemeOf returns the scheme of the key with this id.
func (s *Server) schemeOf(ctx context.Context, id string) (*apikey.Scheme, error) {
	k, err := s.store.Key(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.schemes.ofKey(k)
}
