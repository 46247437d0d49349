package store

import (
	"context"
	"strings"
	"testing"
)

// plan are the steps by which SQLite would answer a query.
func (w *world) plan(query string, args ...any) []string {
	w.Helper()
	rows, err := w.readers.QueryContext(context.Background(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			w.Fatal(err)
		}
		steps = append(steps, step)
	}
	if err := rows.Err(); err != nil {
		w.Fatal(err)
	}
	return steps
}

// What is asked of one account looks at that account's rows alone, however many others have.
func TestOneAccountsRowsAlone(t *testing.T) {
	w := newWorld(t)
	from := w.clock.Now()
	usage := func(q UsageQuery) (string, []any) {
		q.Limit = 20
		r := usageReport{UsageQuery: &q}
		return r.build(), r.args
	}
	for name, query := range map[string]func() (string, []any){
		"entries":            func() (string, []any) { return statementSQL[stmtEntriesOf], []any{"acct_1", "", 10} },
		"end of a statement": func() (string, []any) { return sinceSQL, []any{1, 1} },
		"statement":          func() (string, []any) { return walkBackSQL, []any{1, 10, "acct_1"} },
		"usage by day": func() (string, []any) {
			return usage(UsageQuery{AccountID: "acct_1", From: &from, By: []UsageGroup{UsageByDay}})
		},
		"usage of a project": func() (string, []any) {
			return usage(UsageQuery{ProjectID: "proj_1", By: []UsageGroup{UsageByProject, UsageByConversation}})
		},
		"usage of a key": func() (string, []any) { return usage(UsageQuery{KeyID: "key_1"}) },
	} {
		text, args := query()
		for _, step := range w.plan(text, args...) {
			for _, table := range []string{"e", "u", "k", "c", "entries", "usage", "keys"} {
				if step == "SCAN "+table || strings.HasPrefix(step, "SCAN "+table+" ") {
					t.Errorf("%s: %s", name, step)
				}
			}
		}
	}
}
