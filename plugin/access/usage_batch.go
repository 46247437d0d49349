package access

import (
	"strings"

	"github.com/tollgate/tollgate/controlplane/api"
)

// usageRowBytes is what a row takes in JSON without its texts: names, punctuation, and numbers of 16 digits.
const usageRowBytes = 144

// Batch returns what a sync has to report: the batch that was not acknowledged, as it was, or a new one of the oldest
// rows, as many as fit in so many bytes of JSON and in the protocol's bounds; nil if there is nothing. The caller does
// not change it.
func (u *Usage) Batch(bytes int) *api.UsageBatch {
	if u.sent != nil || u.n == 0 && u.other == (Tally{}) {
		return u.sent
	}
	rows := u.takeOther(nil, &bytes)
	for u.n > 0 && len(rows) < api.MaxUsageRows {
		r := &u.rows[u.first]
		row := api.UsageRow{Key: strings.Clone(r.key.alias()), Route: u.routes[r.route],
			Conversation: string(r.conversation[:r.talk]),
			Requests:     r.sum.Requests, Credits: r.sum.Credits, Refused: r.sum.Refused}
		size := usageRowBytes + encodedLen(row.Key) + encodedLen(row.Route) + encodedLen(row.Conversation)
		if size > bytes && len(rows) > 0 {
			break
		}
		bytes -= size
		rows = append(rows, row)
		u.byTag.remove(r.tag)
		r.tag = Tag{}
		u.first = (u.first + 1) % len(u.rows)
		u.n--
	}
	u.seq++
	u.sent = &api.UsageBatch{Seq: u.seq, Rows: rows}
	return u.sent
}

// takeOther appends the row of all others, if there are any.
func (u *Usage) takeOther(rows []api.UsageRow, bytes *int) []api.UsageRow {
	if u.other == (Tally{}) {
		return rows
	}
	o := u.other
	u.other = Tally{}
	*bytes -= usageRowBytes + len(api.OtherRows)
	return append(rows, api.UsageRow{Route: api.OtherRows, Requests: o.Requests, Credits: o.Credits, Refused: o.Refused})
}

// encodedLen is the length of visible ASCII in JSON as encoding/json writes it, which escapes what HTML takes for markup.
func encodedLen(s string) int {
	n := len(s)
	for i := range len(s) {
		switch s[i] {
		case '"', '\\':
			n++
		case '<', '>', '&':
			n += 5
		}
	}
	return n
}

// Acked forgets the batch of that number, if it is the one that was sent.
func (u *Usage) Acked(seq int64) {
	if u.sent != nil && u.sent.Seq == seq {
		u.sent = nil
	}
}

// Pending tells how many rows are waiting, those of the batch under way counted.
func (u *Usage) Pending() int {
	n := u.n
	if u.other != (Tally{}) {
		n++
	}
	if u.sent != nil {
		n += len(u.sent.Rows)
	}
	return n
}
