package server

import (
	"context"
	"encoding/csv"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/tollgate/tollgate/controlplane/internal/ledger"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

const csvType = "text/csv"

// csvChunk is how many movements of a CSV are in memory at a time, and chunkTime how long writing them may take.
const (
	csvChunk  = 500
	chunkTime = 30 * time.Second
)

// wantsCSV reports what acceptsCSV found.
func wantsCSV(ctx context.Context) bool {
	csv, _ := ctx.Value(csvKey).(bool)
	return csv
}

// acceptsCSV reports whether Accept headers name CSV and not JSON.
func acceptsCSV(values []string) bool {
	found := false
	for kind := range strings.SplitSeq(strings.Join(values, ","), ",") {
		switch name, params, _ := mime.ParseMediaType(kind); {
		case name == "application/json":
			return false
		case name == csvType:
			q, err := strconv.ParseFloat(params["q"], 64)
			found = found || err != nil || q > 0
		}
	}
	return found
}

// csvColumns are the columns of a statement.
var csvColumns = []string{
	"created_at", "transaction_id", "kind", "reason", "actor", "idempotency_key", "refunded_entry", "key_id", "op_id", "lease_id",
	"available_delta", "reserved_delta", "spent_delta", "funding_delta", "written_off_delta",
	"available", "reserved", "spent", "funding", "written_off",
}

// writeCSV streams a statement of which the first page was read. Once it has begun, only a broken connection can tell the
// client that it is not whole.
func (s *Server) writeCSV(hc huma.Context, q store.StatementQuery, page store.Statement) {
	hc.SetHeader("Content-Type", csvType+"; charset=utf-8; header=present")
	hc.SetHeader("Content-Disposition", `attachment; filename="statement.csv"`)
	c := humagin.Unwrap(hc)
	control := http.NewResponseController(c.Writer)
	w := csv.NewWriter(hc.BodyWriter())
	w.UseCRLF = true
	_ = w.Write(csvColumns)
	_ = w.Write(balanceRow("closing", q.To, page.Closing))
	for {
		// A recorder has no deadlines; a connection that is gone fails at the next flush.
		_ = control.SetWriteDeadline(time.Now().Add(chunkTime))
		for _, m := range page.Movements {
			_ = w.Write(movementRow(m))
		}
		if page.Next == nil {
			_ = w.Write(balanceRow("opening", q.From, page.Opening))
		}
		if w.Flush(); w.Error() != nil {
			panic(http.ErrAbortHandler)
		}
		if page.Next == nil {
			return
		}
		q.After = page.Next
		var err error
		if page, err = s.store.Statement(hc.Context(), q); err != nil {
			s.log.ErrorContext(hc.Context(), "statement cut off", "request_id", requestID(hc.Context()), "error", err)
			panic(http.ErrAbortHandler)
		}
	}
}

// balanceRow shows the balances at an end of the period, which has no time where it was not given.
func balanceRow(kind string, at *time.Time, b ledger.Balances) []string {
	row := make([]string, len(csvColumns)-5)
	row[2] = kind
	if at != nil {
		row[0] = at.UTC().Format(time.RFC3339Nano)
	}
	return append(row, amounts(b)...)
}

func movementRow(m store.Movement) []string {
	row := []string{
		m.CreatedAt.UTC().Format(time.RFC3339Nano), m.TransactionID, m.Kind, defused(m.Reason), defused(m.Actor),
		defused(m.IdempotencyKey), m.RefundedEntry, m.KeyID, defused(m.OpID), m.LeaseID,
	}
	return append(append(row, amounts(m.Deltas)...), amounts(m.Balances)...)
}

// amounts are in the order of the columns.
func amounts(b ledger.Balances) []string {
	out := make([]string, 0, 5)
	for _, c := range []ledger.Credits{b.Available, b.Reserved, b.Spent, b.Funding, b.WrittenOff} {
		out = append(out, strconv.FormatInt(int64(c), 10))
	}
	return out
}

// defused keeps spreadsheets from taking text that somebody made up for a formula: with an apostrophe before it, it is text. Where
// numbers have decimal commas, a semicolon begins a cell too.
func defused(text string) string {
	cells := strings.Split(text, ";")
	for i, cell := range cells {
		rest := strings.TrimLeftFunc(cell, func(c rune) bool { return unicode.IsSpace(c) || unicode.Is(unicode.Cf, c) })
		if first, _ := utf8.DecodeRuneInString(rest); rest != "" && strings.ContainsRune("=+-@|%＝＋－＠﹦﹢﹣﹫", first) {
			cells[i] = "'" + cell
		}
	}
	return strings.Join(cells, ";")
}
