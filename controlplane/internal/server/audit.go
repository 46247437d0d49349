package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

const actPrefix = "act_"

// act is a row of the audit log as the REST API shows it.
type act struct {
	ID        string    `json:"id" example:"act_06f3k2v8s1w0"`
	At        time.Time `json:"at"`
	Actor     actor     `json:"actor"`
	RequestID *string   `json:"request_id" doc:"The X-Request-Id of the request; null for what was no request."`
	Action    string    `json:"action" example:"key.rotate" doc:"A kind of thing and what was done to it."`
	Target    target    `json:"target"`
	AccountID *string   `json:"account_id" doc:"The account that the target belongs to; null if to none."`
	Before    *shown    `json:"before" doc:"What is kept of the target as it was, never a secret or a digest; null for what is new."`
	After     *shown    `json:"after" doc:"The same as it became."`
	Reason    *string   `json:"reason" doc:"Why, where the request said so."`
}

type actor struct {
	ID   string  `json:"id" doc:"A token's id; local for a command on the database itself, job for the control plane's own jobs."`
	Name string  `json:"name" doc:"As the token was called at the time."`
	Role *string `json:"role" doc:"As the token had it; null where there is no token."`
}

type target struct {
	Kind string `json:"kind" example:"key"`
	ID   string `json:"id"`
}

// shown is an object whose fields depend on the kind of the target.
type shown struct{ json.RawMessage }

// Schema is called by huma.
func (shown) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Nullable: true, AdditionalProperties: true}
}

func orNone(object json.RawMessage) *shown {
	if object == nil {
		return nil
	}
	return &shown{object}
}

func showAct(a store.Act) act {
	return act{
		ID: a.ID, At: a.At.UTC(), Actor: actor{ID: a.Actor.ID, Name: a.Actor.Name, Role: orNull(string(a.Actor.Role))},
		RequestID: orNull(a.Actor.RequestID), Action: a.Action, Target: target{Kind: a.TargetKind, ID: a.TargetID},
		AccountID: orNull(a.AccountID), Before: orNone(a.Before), After: orNone(a.After), Reason: orNull(a.Reason),
	}
}

type listActsInput struct {
	PageQuery
	Actor     string `query:"actor" maxLength:"200" doc:"Only what this actor did, by id."`
	Action    string `query:"action" maxLength:"200" doc:"Only this action, such as key.rotate."`
	Target    string `query:"target" maxLength:"200" doc:"Only what was done to this, by id."`
	AccountID string `query:"account_id" maxLength:"200" doc:"Only what was done to this account and what belongs to it."`
	Since     string `query:"since" format:"date-time" doc:"Only what was done at this time or later."`
	Until     string `query:"until" format:"date-time" doc:"Only what was done before this time."`
}

func (s *Server) registerAudit(a huma.API) {
	handle(s, a, readAudit, huma.Operation{
		OperationID: "list-audit", Method: http.MethodGet, Path: "/v1/audit", Summary: "List what was changed, by whom, from what to what",
	}, s.listActs)
}

func (s *Server) listActs(ctx context.Context, in *listActsInput) (*listOutput[act], error) {
	page, err := in.page("audit", actPrefix)
	if err != nil {
		return nil, err
	}
	filter := store.ActFilter{ActorID: in.Actor, Action: in.Action, TargetID: in.Target, AccountID: in.AccountID}
	if filter.Since, err = queryTime("query.since", in.Since); err != nil {
		return nil, err
	}
	if filter.Until, err = queryTime("query.until", in.Until); err != nil {
		return nil, err
	}
	rows, more, err := s.store.Acts(ctx, filter, page)
	if err != nil {
		return nil, fmt.Errorf("list audit log: %w", err)
	}
	return newList("audit", rows, more, showAct, func(a store.Act) string { return a.ID }), nil
}
