package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/internal/ledger"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// balanceSet are amounts of an account's buckets as the REST API shows them.
type balanceSet struct {
	Available  int64 `json:"available"`
	Reserved   int64 `json:"reserved"`
	Spent      int64 `json:"spent"`
	Funding    int64 `json:"funding" doc:"Minus what was granted: with it the four sum to zero."`
	WrittenOff int64 `json:"written_off" doc:"Beside the four: credits used that nobody paid for."`
}

func showBalances(b ledger.Balances) balanceSet {
	return balanceSet{
		Available: int64(b.Available), Reserved: int64(b.Reserved), Spent: int64(b.Spent), Funding: int64(b.Funding),
		WrittenOff: int64(b.WrittenOff),
	}
}

// movement is a transaction of a statement as the REST API shows it.
type movement struct {
	TransactionID  string     `json:"transaction_id" example:"txn_06f3k2v8s1w0"`
	Kind           string     `json:"kind" doc:"As of entries."`
	Deltas         balanceSet `json:"deltas" doc:"What it added to each balance."`
	Balances       balanceSet `json:"balances" doc:"The balances right after it."`
	Reason         string     `json:"reason,omitempty"`
	Actor          string     `json:"actor,omitempty" doc:"The id of the token that made the request; none if a gate caused it."`
	IdempotencyKey string     `json:"idempotency_key,omitempty"`
	RefundedEntry  string     `json:"refunded_entry,omitempty"`
	KeyID          string     `json:"key_id,omitempty"`
	OpID           string     `json:"op_id,omitempty"`
	LeaseID        string     `json:"lease_id,omitempty"`
	CreatedAt      time.Time  `json:"created_at"`
}

// statement is a page of an account's statement.
type statement struct {
	AccountID  string     `json:"account_id"`
	From       *time.Time `json:"from,omitempty"`
	To         *time.Time `json:"to,omitempty"`
	Closing    balanceSet `json:"closing" doc:"The balances after the page's first movement; on the first page those at the end of the period."`
	Opening    balanceSet `json:"opening" doc:"The balances before the page's last movement, which close the next page; on the last page those at the beginning of the period."`
	Data       []movement `json:"data" nullable:"false"`
	HasMore    bool       `json:"has_more"`
	NextCursor *string    `json:"next_cursor" doc:"Where the next page starts; null on the last one."`
}

func showMovement(m store.Movement) movement {
	return movement{
		TransactionID: m.TransactionID, Kind: m.Kind, Deltas: showBalances(m.Deltas), Balances: showBalances(m.Balances),
		Reason: m.Reason, Actor: m.Actor, IdempotencyKey: m.IdempotencyKey, RefundedEntry: m.RefundedEntry, KeyID: m.KeyID,
		OpID: m.OpID, LeaseID: m.LeaseID, CreatedAt: m.CreatedAt.UTC(),
	}
}

type statementInput struct {
	AccountID
	PageLimit
	From   string `query:"from" format:"date-time" doc:"The beginning of the period; without it, the account's first movement is the last one shown."`
	To     string `query:"to" format:"date-time" doc:"The end of the period, which is not part of it; now without it."`
	Cursor string `query:"cursor" maxLength:"400" doc:"The next_cursor of the page before; the rest of the query has to be the same. Not for CSV, which is whole."`
	Format string `query:"format" enum:"json,csv" doc:"Without it, csv if the Accept header asks for text/csv and not for JSON."`
}

func (s *Server) registerStatements(a huma.API) {
	page := a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[statement](), true, "Statement")
	handle(s, a, readCredits, huma.Operation{
		OperationID: "get-statement", Method: http.MethodGet, Path: "/v1/accounts/{id}/statement",
		Summary: "Show what moved an account's credits in a period, newest first",
		Description: "What the movements add up to is closing less opening, exactly, in every balance. As CSV the closing and the " +
			"opening balances are the first and the last row.",
		DefaultStatus: http.StatusOK,
		Responses: map[string]*huma.Response{"200": {Description: "OK", Headers: map[string]*huma.Param{
			"Content-Disposition": {Description: "The name of the file, of CSV.", Schema: &huma.Schema{Type: huma.TypeString}},
		}, Content: map[string]*huma.MediaType{
			"application/json": {Schema: page}, csvType: {Schema: &huma.Schema{Type: huma.TypeString}},
		}}},
	}, s.getStatement)
}

func (s *Server) getStatement(ctx context.Context, in *statementInput) (*huma.StreamResponse, error) {
	q := store.StatementQuery{AccountID: in.ID, Limit: in.Limit}
	var err error
	if q.From, q.To, err = period(in.From, in.To); err != nil {
		return nil, err
	}
	csv := in.Format == "csv" || in.Format == "" && wantsCSV(ctx)
	if csv && in.Cursor != "" {
		return nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "query.cursor", "expected none: CSV is whole")
	}
	if csv {
		q.Limit = csvChunk
	}
	if in.Cursor != "" {
		if q.After, err = readMark(in.Cursor); err != nil {
			return nil, err
		}
	}
	// The first page is read before anything is answered: what is wrong shows here.
	first, err := s.store.Statement(ctx, q)
	if q.After != nil && errors.Is(err, store.ErrInvalid) {
		return nil, badMark()
	}
	if err != nil {
		return nil, fmt.Errorf("show statement: %w", err)
	}
	if csv {
		return &huma.StreamResponse{Body: func(hc huma.Context) { s.writeCSV(hc, q, first) }}, nil
	}
	out := statement{
		AccountID: in.ID, From: utcOrNull(q.From), To: utcOrNull(q.To), Opening: showBalances(first.Opening),
		Closing: showBalances(first.Closing),
		Data:    make([]movement, len(first.Movements)), HasMore: first.Next != nil,
	}
	for i, m := range first.Movements {
		out.Data[i] = showMovement(m)
	}
	if first.Next != nil {
		next := markText(first.Next)
		out.NextCursor = &next
	}
	text, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("show statement: %w", err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "application/json")
		// Nobody is left to be told of an error.
		_, _ = hc.BodyWriter().Write(append(text, '\n'))
	}}, nil
}

const statementCursorKind = "statement:"

func markText(m *store.StatementMark) string {
	// No field of a mark can make Marshal fail.
	text, _ := json.Marshal(m)
	return base64.RawURLEncoding.EncodeToString(append([]byte(statementCursorKind), text...))
}

// readMark reads a cursor. That it is a place in the account's books is for the store to say.
func readMark(cursor string) (*store.StatementMark, error) {
	var m store.StatementMark
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	text, ok := strings.CutPrefix(string(raw), statementCursorKind)
	if err == nil {
		err = json.Unmarshal([]byte(text), &m)
	}
	if err != nil || !ok || m.Seq < 1 {
		return nil, badMark()
	}
	return &m, nil
}

func badMark() *Problem {
	return badField(http.StatusUnprocessableEntity, codeInvalidRequest, "query.cursor", "expected the next_cursor of an earlier page of this query")
}
