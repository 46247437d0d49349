package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Act is a row of the audit log: what was changed, by whom, and from what to what.
type Act struct {
	ID    string
	At    time.Time
	Actor Actor
	// Action is a kind and a verb, such as "key.rotate".
	Action     string
	TargetKind string
	TargetID   string
	// AccountID is the account that the target belongs to; empty where it belongs to none.
	AccountID string
	// Before and After are JSON objects of what the log shows of the target; nil where there was or is nothing.
	Before, After json.RawMessage
	// Reason is the actor's own, where one was given.
	Reason string
}

// ActFilter narrows Acts; empty fields narrow nothing.
type ActFilter struct {
	ActorID, Action, TargetID, AccountID string
	// Since is the first time that is wanted, Until the first that is not.
	Since, Until *time.Time
}

// conditions returns SQL that begins with WHERE, and its arguments.
func (f ActFilter) conditions(after string) (where string, args []any) {
	terms, args := []string{"id < ?"}, []any{after}
	for _, equal := range []struct{ column, value string }{
		{"actor_id", f.ActorID}, {"action", f.Action}, {"target_id", f.TargetID}, {"account_id", f.AccountID},
	} {
		if equal.value != "" {
			terms, args = append(terms, equal.column+" = ?"), append(args, equal.value)
		}
	}
	if f.Since != nil {
		terms, args = append(terms, "at_us >= ?"), append(args, f.Since.UnixMicro())
	}
	if f.Until != nil {
		terms, args = append(terms, "at_us < ?"), append(args, f.Until.UnixMicro())
	}
	return "WHERE " + strings.Join(terms, " AND "), args
}

// Acts lists the audit log newest first and reports whether more follow the page.
func (s *Store) Acts(ctx context.Context, filter ActFilter, page Page) ([]Act, bool, error) {
	after, limit, err := page.bounds()
	if err != nil {
		return nil, false, fmt.Errorf("list acts: %w", err)
	}
	where, args := filter.conditions(after)
	rows, err := s.readers.QueryContext(ctx, `SELECT id, at_us, actor_id, actor_name, actor_role, request_id, action,
		target_kind, target_id, account_id, before, after, reason FROM audit `+where+` ORDER BY id DESC LIMIT ?`,
		append(args, limit)...)
	if err != nil {
		return nil, false, s.readError("audit log", err)
	}
	defer func() { _ = rows.Close() }()
	var found []Act
	for rows.Next() {
		act, err := scanAct(rows)
		if err != nil {
			return nil, false, s.readError("audit log", err)
		}
		found = append(found, act)
	}
	if err := rows.Err(); err != nil {
		return nil, false, s.readError("audit log", err)
	}
	acts, more := cut(found, page, func(a Act) Act { return a })
	return acts, more, nil
}

func scanAct(rows *sql.Rows) (Act, error) {
	var a Act
	var at int64
	var before, after sql.NullString
	err := rows.Scan(&a.ID, &at, &a.Actor.ID, &a.Actor.Name, &a.Actor.Role, &a.Actor.RequestID, &a.Action, &a.TargetKind,
		&a.TargetID, &a.AccountID, &before, &after, &a.Reason)
	a.At = fromMicros(at)
	if before.Valid {
		a.Before = json.RawMessage(before.String)
	}
	if after.Valid {
		a.After = json.RawMessage(after.String)
	}
	return a, err
}
