package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// UsageGroup is something by which usage is summed.
type UsageGroup string

// The groups, in the order in which sums are sorted by them.
const (
	UsageByHour         UsageGroup = "hour"
	UsageByDay          UsageGroup = "day"
	UsageByAccount      UsageGroup = "account"
	UsageByProject      UsageGroup = "project"
	UsageByKey          UsageGroup = "key"
	UsageByRoute        UsageGroup = "route"
	UsageByConversation UsageGroup = "conversation"
)

// UsageGroups are all groups.
func UsageGroups() []UsageGroup {
	return []UsageGroup{
		UsageByHour, UsageByDay, UsageByAccount, UsageByProject, UsageByKey, UsageByRoute, UsageByConversation,
	}
}

// UsageQuery asks for sums of usage. Each text that is not empty narrows it; From and To, unless nil, to the hours that
// begin at From or later and before To.
type UsageQuery struct {
	AccountID, ProjectID, KeyID, Route, Conversation string

	From, To *time.Time
	// By are the groups to sum by, each once, hour and day not both. With none there is one sum of everything.
	By []UsageGroup
	// Limit is how many sums to return, 1 to MaxPageLimit.
	Limit int
	// After is the last sum of the page before; nil starts at the first.
	After *UsageSum
}

// UsageSum are the requests of one group. Of its first fields those are set that it is grouped by; they are empty for
// usage of which nothing is known: that of keys which no gate had room to count, or of no conversation.
type UsageSum struct {
	// At is the beginning of the hour or of the day (UTC).
	At                                               time.Time
	AccountID, ProjectID, KeyID, Route, Conversation string

	// Requests counts all, Refused those of them that were denied, and Credits what the others cost. They stop at
	// ledger.MaxCredits.
	Requests, Credits, Refused int64
}

// Usage sums what gates have reported, in one state of the database: the newest hours or days first, and descending by
// all other groups. Whatever is reported between two pages neither repeats nor hides a sum. Usage that was folded is at
// the first hour of its day and of no conversation. It returns ErrInvalid for a query out of its bounds.
func (s *Store) Usage(ctx context.Context, q UsageQuery) (sums []UsageSum, more bool, err error) {
	if err := q.check(); err != nil {
		return nil, false, fmt.Errorf("sum usage: %w", err)
	}
	r := usageReport{UsageQuery: &q}
	text := r.build()
	rows, err := s.readers.QueryContext(ctx, text, r.args...)
	if err != nil {
		return nil, false, s.readError("usage", err)
	}
	defer rows.Close()
	for rows.Next() {
		var sum UsageSum
		var requests, credits, refused float64
		var at int64
		into := append(sum.fields(&at, q.By), &requests, &credits, &refused)
		if err := rows.Scan(into...); err != nil {
			return nil, false, s.readError("usage", err)
		}
		if at != 0 {
			sum.At = fromMicros(at)
		}
		sum.Requests, sum.Credits, sum.Refused = saturated(requests), saturated(credits), saturated(refused)
		sums = append(sums, sum)
	}
	if err := rows.Err(); err != nil {
		return nil, false, s.readError("usage", err)
	}
	if more = len(sums) > q.Limit; more {
		sums = sums[:q.Limit]
	}
	return sums, more, nil
}

// saturated is a sum of whole numbers, which floats hold exactly up to ledger.MaxCredits.
func saturated(sum float64) int64 {
	if sum >= float64(ledger.MaxCredits) {
		return int64(ledger.MaxCredits)
	}
	return int64(sum)
}

func (q *UsageQuery) check() error {
	if q.Limit < 1 || q.Limit > MaxPageLimit {
		return fmt.Errorf("%w: limit: expected 1 to %d", ErrInvalid, MaxPageLimit)
	}
	for i, g := range q.By {
		if !slices.Contains(UsageGroups(), g) || slices.Contains(q.By[:i], g) {
			return fmt.Errorf("%w: group_by: expected known groups, each once", ErrInvalid)
		}
	}
	if slices.Contains(q.By, UsageByHour) && slices.Contains(q.By, UsageByDay) {
		return fmt.Errorf("%w: group_by: expected hour or day, not both", ErrInvalid)
	}
	q.By = slices.DeleteFunc(UsageGroups(), func(g UsageGroup) bool { return !slices.Contains(q.By, g) })
	return nil
}

// fields are where the values of the groups are kept, that of time in at.
func (u *UsageSum) fields(at *int64, by []UsageGroup) []any {
	out := make([]any, len(by), len(by)+3)
	for i, g := range by {
		switch g {
		case UsageByHour, UsageByDay:
			out[i] = at
		case UsageByAccount:
			out[i] = &u.AccountID
		case UsageByProject:
			out[i] = &u.ProjectID
		case UsageByKey:
			out[i] = &u.KeyID
		case UsageByRoute:
			out[i] = &u.Route
		case UsageByConversation:
			out[i] = &u.Conversation
		}
	}
	return out
}

const (
	hourMicros = int64(time.Hour / time.Microsecond)
	dayMicros  = 24 * hourMicros
)

// usageReport builds the statement of a query. Rows are summed by key first and only then joined with the keys' owners:
// there are far fewer keys than rows.
type usageReport struct {
	*UsageQuery
	args []any
}

func (r *usageReport) by(g UsageGroup) bool { return slices.Contains(r.By, g) }

// owned: the owners of keys are asked for.
func (r *usageReport) owned() bool { return r.by(UsageByAccount) || r.by(UsageByProject) }

func (r *usageReport) build() string {
	from := r.arm("usage", "hour_us")
	if r.Conversation == "" {
		from += " UNION ALL " + r.arm("usage_days", "day_us")
	}
	names := make([]string, len(r.By))
	for i, g := range r.By {
		switch g {
		case UsageByAccount:
			names[i] = "coalesce(k.account_id, '')"
		case UsageByProject:
			names[i] = "coalesce(k.project_id, '')"
		default:
			names[i] = `g."` + string(g) + `"`
		}
	}
	text := "SELECT " + strings.Join(append(slices.Clone(names),
		"coalesce(sum(requests), 0.0)", "coalesce(sum(credits), 0.0)", "coalesce(sum(refused), 0.0)"), ", ") + " FROM (" + from + ") g"
	if r.owned() {
		text += ` LEFT JOIN keys k ON k.id = g."key"`
	}
	list := strings.Join(names, ", ")
	if r.After != nil && len(names) > 0 {
		at := r.After.At.UnixMicro()
		for _, v := range r.After.fields(&at, r.By) {
			switch v := v.(type) {
			case *int64:
				r.args = append(r.args, *v)
			case *string:
				r.args = append(r.args, *v)
			}
		}
		text += " WHERE (" + list + ") < (?" + strings.Repeat(", ?", len(names)-1) + ")"
	}
	if len(names) > 0 {
		text += " GROUP BY " + list + " ORDER BY " + strings.Join(names, " DESC, ") + " DESC"
	}
	r.args = append(r.args, r.Limit+1)
	return text + " LIMIT ?"
}

// arm sums the rows of one of the two tables, whose times are called at.
func (r *usageReport) arm(table, at string) string {
	var groups, columns []string
	group := func(expression, name string) {
		groups = append(groups, expression)
		columns = append(columns, expression+` AS "`+name+`"`)
	}
	switch {
	case r.by(UsageByHour):
		group("u."+at, "hour")
	case r.by(UsageByDay):
		group(fmt.Sprintf("u.%s - u.%s %% %d", at, at, dayMicros), "day")
	}
	if r.by(UsageByKey) || r.owned() {
		group("u.key_id", "key")
	}
	if r.by(UsageByRoute) {
		group("u.route", "route")
	}
	switch {
	case r.by(UsageByConversation) && table == "usage":
		group("u.conversation", "conversation")
	case r.by(UsageByConversation):
		columns = append(columns, `'' AS "conversation"`)
	}
	for _, sum := range []string{"requests", "credits", "refused"} {
		// As integers they could exceed 64 bits.
		columns = append(columns, "sum(CAST(u."+sum+" AS REAL)) AS "+sum)
	}
	text := "SELECT " + strings.Join(columns, ", ") + " FROM " + table + " u" + r.where(at)
	if len(groups) > 0 {
		text += " GROUP BY " + strings.Join(groups, ", ")
	}
	// Without groups of its own an arm would add a sum of nothing.
	return text + " HAVING count(*) > 0"
}

// where narrows an arm and adds to the arguments.
func (r *usageReport) where(at string) string {
	var conditions []string
	narrow := func(condition string, value any) {
		conditions = append(conditions, condition)
		r.args = append(r.args, value)
	}
	text := func(condition, value string) {
		if value != "" {
			narrow(condition, value)
		}
	}
	text("u.key_id IN (SELECT o.id FROM keys o WHERE o.account_id = ?)", r.AccountID)
	text("u.key_id IN (SELECT o.id FROM keys o WHERE o.project_id = ?)", r.ProjectID)
	text("u.key_id = ?", r.KeyID)
	text("u.route = ?", r.Route)
	text("u.conversation = ?", r.Conversation)
	if r.From != nil {
		narrow("u."+at+" >= ?", r.From.UnixMicro())
	}
	if r.To != nil {
		narrow("u."+at+" < ?", r.To.UnixMicro())
	}
	// What comes after is not later: the rest need not be summed to be left out.
	if r.After != nil && r.by(UsageByHour) {
		narrow("u."+at+" < ?", r.After.At.UnixMicro()+hourMicros)
	}
	if r.After != nil && r.by(UsageByDay) {
		narrow("u."+at+" < ?", r.After.At.UnixMicro()+dayMicros)
	}
	if len(conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}
