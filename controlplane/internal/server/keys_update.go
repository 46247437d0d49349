package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

type updateKeyInput struct {
	KeyID
	IfMatchInput
	Body struct {
		Name        *string          `json:"name,omitempty" minLength:"1" maxLength:"200" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"no control characters"`
		Status      *string          `json:"status,omitempty" enum:"active,inactive"`
		Environment *string          `json:"environment,omitempty" enum:"production,staging"`
		ExpiresAt   clearableInstant `json:"expires_at,omitempty" doc:"In the future, or null for never."`
		Metadata    *metadata        `json:"metadata,omitempty" doc:"All of the new notes: none of the old ones stay."`
		Routes      *[]routeRule     `json:"routes,omitempty" nullable:"false" maxItems:"16" doc:"The only requests that the key may be used for; an empty list allows all."`
		AllowedIPs  *[]string        `json:"allowed_ips,omitempty" nullable:"false" maxItems:"32" doc:"The only networks that the key may be used from; an empty list allows all."`
	} `nameHint:"UpdateKeyBody"`
}

func (s *Server) updateKey(ctx context.Context, in *updateKeyInput) (*keyOutput, error) {
	update, err := in.update()
	if err != nil {
		return nil, err
	}
	k, err := s.store.UpdateKey(ctx, in.ID, update)
	switch {
	case errors.Is(err, store.ErrInvalid) && errors.Is(err, api.ErrInvalid):
		return nil, unprocessable(err)
	case errors.Is(err, store.ErrInvalid) && update.ExpiresAt != nil:
		// Everything else was checked before.
		return nil, badExpiry()
	case err != nil:
		return nil, fmt.Errorf("update key: %w", err)
	}
	return showOneKey(k), nil
}

// update is the change that the body asks for. It finds what no schema can tell of.
func (in *updateKeyInput) update() (store.KeyUpdate, error) {
	b := &in.Body
	u := store.KeyUpdate{
		Name: b.Name, Status: (*store.KeyStatus)(b.Status), Environment: (*store.Environment)(b.Environment),
		NeverExpires: b.ExpiresAt.present && b.ExpiresAt.at == nil, AllowedIPs: b.AllowedIPs,
	}
	if b.Name != nil {
		if err := fits("body.name", *b.Name, store.MaxNameLen); err != nil {
			return u, err
		}
	}
	if b.ExpiresAt.at != nil {
		at, err := expiry(*b.ExpiresAt.at)
		if err != nil {
			return u, err
		}
		u.ExpiresAt = at
	}
	if b.Metadata != nil {
		m, err := b.Metadata.checked()
		if err != nil {
			return u, err
		}
		u.Metadata = &m
	}
	if b.Routes != nil {
		rules := ruleList(*b.Routes)
		u.Routes = &rules
	}
	if u == (store.KeyUpdate{}) {
		return u, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body",
			"expected at least one of name, status, environment, expires_at, metadata, routes and allowed_ips")
	}
	return u, nil
}
