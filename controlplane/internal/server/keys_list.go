package server

import (
	"context"
	"fmt"
	"net/http"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

type listKeysInput struct {
	PageQuery
	AccountID   string `query:"account_id" maxLength:"200" doc:"Only this account's keys, its projects' pairs among them."`
	ProjectID   string `query:"project_id" maxLength:"200" doc:"Only this project's keys."`
	Scheme      string `query:"scheme" maxLength:"64" doc:"Only keys of this scheme."`
	Environment string `query:"environment" enum:"production,staging"`
	Status      string `query:"status" enum:"active,inactive,revoked"`
	Prefix      string `query:"prefix" maxLength:"200" doc:"Only keys whose prefix or publishable key starts so."`
	Last4       string `query:"last4" maxLength:"4" doc:"Only keys whose secret ends so."`
	Name        string `query:"name" maxLength:"200" doc:"Only keys whose name contains this, in whatever case."`
	ExternalRef string `query:"external_ref" maxLength:"200" doc:"Only imported keys that had this name where they came from."`
	Metadata    string `query:"metadata" maxLength:"300" doc:"Only keys with this entry in their metadata, as name=value."`
}

func (in *listKeysInput) confine(ctx context.Context, s *Server, accountID string) error {
	return s.confineList(ctx, accountID, &in.AccountID, in.ProjectID, "")
}

func (in *listKeysInput) filter(all schemes) (store.KeyFilter, error) {
	f := store.KeyFilter{
		AccountID: in.AccountID, ProjectID: in.ProjectID, Scheme: in.Scheme, Environment: store.Environment(in.Environment),
		Status: store.KeyStatus(in.Status), Prefix: in.Prefix, Last4: in.Last4, Name: in.Name,
		ExternalRef: in.ExternalRef,
	}
	if all.secretIn(in.Prefix) {
		return f, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "query.prefix",
			"expected the beginning of a key, got all of a secret: it may have been seen on its way here")
	}
	if in.Metadata == "" {
		return f, nil
	}
	var err error
	f.MetadataName, f.MetadataValue, err = metadataQuery(in.Metadata)
	return f, err
}

func (s *Server) listKeys(ctx context.Context, in *listKeysInput) (*listOutput[Key], error) {
	page, err := in.page("keys", keyPrefix)
	if err != nil {
		return nil, err
	}
	filter, err := in.filter(s.schemes)
	if err != nil {
		return nil, err
	}
	rows, more, err := s.store.Keys(ctx, filter, page)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return newList("keys", rows, more, showKey, func(k store.Key) string { return k.ID }), nil
}
