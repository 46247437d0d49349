package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// usageSum are the requests of one group as the REST API shows them: of the fields by which it was not asked to sum,
// none is there.
type usageSum struct {
	Hour           *time.Time `json:"hour,omitempty" doc:"The beginning of the hour in which gates reported the requests, about a second after they came."`
	Day            *time.Time `json:"day,omitempty" doc:"The beginning of the day, in UTC."`
	AccountID      *string    `json:"account_id,omitempty" doc:"Empty for requests that no account is known of."`
	ProjectID      *string    `json:"project_id,omitempty" doc:"Empty for keys that have no project."`
	KeyID          *string    `json:"key_id,omitempty" doc:"Empty for requests that gates had no room to count by key."`
	Route          *string    `json:"route,omitempty" doc:"The path or prefix of the gate's route; other for what gates had no room to count by route."`
	ConversationID *string    `json:"conversation_id,omitempty" doc:"Empty for requests without one, and for those whose hours were folded into days."`
	Requests       int64      `json:"requests" doc:"All of them, the refused ones too."`
	Credits        int64      `json:"credits" doc:"What they cost."`
	Refused        int64      `json:"refused" doc:"Those that were denied, for whatever reason."`
}

type usageInput struct {
	PageLimit
	AccountID      string   `query:"account_id" maxLength:"200" doc:"Only this account's keys."`
	ProjectID      string   `query:"project_id" maxLength:"200" doc:"Only this project's keys."`
	KeyID          string   `query:"key_id" maxLength:"200" doc:"Only this key."`
	Route          string   `query:"route" maxLength:"256" doc:"Only this route, as the gate's configuration has it."`
	ConversationID string   `query:"conversation_id" maxLength:"256" doc:"Only this conversation."`
	From           string   `query:"from" format:"date-time" doc:"Only hours that begin at this time or later."`
	To             string   `query:"to" format:"date-time" doc:"Only hours that begin before this time."`
	GroupBy        []string `query:"group_by" enum:"account,project,key,route,conversation,hour,day" uniqueItems:"true" doc:"What to sum by, separated by commas: account, project, key, route, conversation, and either hour or day. Without it there is one sum."`
	Cursor         string   `query:"cursor" maxLength:"2000" doc:"The next_cursor of the page before; the rest of the query has to be the same."`
}

func (in *usageInput) confine(ctx context.Context, s *Server, accountID string) error {
	return s.confineList(ctx, accountID, &in.AccountID, in.ProjectID, in.KeyID)
}

func (s *Server) registerUsage(a huma.API) {
	handle(s, a, readUsage, huma.Operation{
		OperationID: "get-usage", Method: http.MethodGet, Path: "/v1/usage", Summary: "Sum the requests that gates have counted",
		Description: "Sorted by hour or day, the newest first, and descending by the other groups. Hours that are older than what " +
			"the server keeps are counted at the first hour of their day and in no conversation.",
	}, s.getUsage)
}

func (s *Server) getUsage(ctx context.Context, in *usageInput) (*listOutput[usageSum], error) {
	q := store.UsageQuery{
		AccountID: in.AccountID, ProjectID: in.ProjectID, KeyID: in.KeyID, Route: in.Route, Conversation: in.ConversationID,
		Limit: in.Limit,
	}
	var err error
	if q.From, q.To, err = period(in.From, in.To); err != nil {
		return nil, err
	}
	if q.By, err = in.groups(); err != nil {
		return nil, err
	}
	if q.After, err = in.after(q.By); err != nil {
		return nil, err
	}
	sums, more, err := s.store.Usage(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("sum usage: %w", err)
	}
	out := &listOutput[usageSum]{Body: list[usageSum]{Data: make([]usageSum, len(sums)), HasMore: more}}
	for i, u := range sums {
		out.Body.Data[i] = showUsage(u, q.By)
	}
	if more {
		next := usageCursor(q.By, sums[len(sums)-1])
		out.Body.NextCursor = &next
	}
	return out, nil
}

func (in *usageInput) groups() ([]store.UsageGroup, error) {
	var by []store.UsageGroup
	hours := 0
	for _, name := range in.GroupBy {
		g := store.UsageGroup(name)
		if !slices.Contains(store.UsageGroups(), g) || slices.Contains(by, g) {
			return nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "query.group_by",
				"expected account, project, key, route, conversation, hour or day, each at most once")
		}
		if g == store.UsageByHour || g == store.UsageByDay {
			hours++
		}
		by = append(by, g)
	}
	if hours > 1 {
		return nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "query.group_by", "expected hour or day, not both")
	}
	slices.Sort(by)
	return by, nil
}

func showUsage(u store.UsageSum, by []store.UsageGroup) usageSum {
	out := usageSum{Requests: u.Requests, Credits: u.Credits, Refused: u.Refused}
	for _, g := range by {
		switch g {
		case store.UsageByHour:
			out.Hour = utcOrNull(&u.At)
		case store.UsageByDay:
			out.Day = utcOrNull(&u.At)
		case store.UsageByAccount:
			out.AccountID = &u.AccountID
		case store.UsageByProject:
			out.ProjectID = &u.ProjectID
		case store.UsageByKey:
			out.KeyID = &u.KeyID
		case store.UsageByRoute:
			out.Route = &u.Route
		case store.UsageByConversation:
			out.ConversationID = &u.Conversation
		}
	}
	return out
}

// usageMark is what a cursor of usage says: the last sum of the page, and what it is summed by.
type usageMark struct {
	By                                               string
	At                                               int64
	AccountID, ProjectID, KeyID, Route, Conversation string
}

const usageCursorKind = "usage:"

func usageCursor(by []store.UsageGroup, last store.UsageSum) string {
	m := usageMark{
		By: joined(by), AccountID: last.AccountID, ProjectID: last.ProjectID, KeyID: last.KeyID, Route: last.Route,
		Conversation: last.Conversation,
	}
	if !last.At.IsZero() {
		m.At = last.At.UnixMicro()
	}
	// No field of a mark can make Marshal fail.
	text, _ := json.Marshal(m)
	return base64.RawURLEncoding.EncodeToString(append([]byte(usageCursorKind), text...))
}

func joined(by []store.UsageGroup) string {
	names := make([]string, len(by))
	for i, g := range by {
		names[i] = string(g)
	}
	return strings.Join(names, ",")
}

// after reads the cursor of a page of usage that is summed by these groups.
func (in *usageInput) after(by []store.UsageGroup) (*store.UsageSum, error) {
	if in.Cursor == "" {
		return nil, nil
	}
	var m usageMark
	raw, err := base64.RawURLEncoding.Strict().DecodeString(in.Cursor)
	text, ok := strings.CutPrefix(string(raw), usageCursorKind)
	if err == nil {
		err = json.Unmarshal([]byte(text), &m)
	}
	const tooLate = 1 << 60
	if err != nil || !ok || len(by) == 0 || m.By != joined(by) || m.At < 0 || m.At > tooLate {
		return nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "query.cursor",
			"expected the next_cursor of an earlier page of this query")
	}
	return &store.UsageSum{
		At: time.UnixMicro(m.At), AccountID: m.AccountID, ProjectID: m.ProjectID, KeyID: m.KeyID, Route: m.Route,
		Conversation: m.Conversation,
	}, nil
}
