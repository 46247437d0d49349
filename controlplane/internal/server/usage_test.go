package server_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type usageSum struct {
	Hour, Day                  *time.Time
	AccountID                  *string `json:"account_id"`
	ProjectID                  *string `json:"project_id"`
	KeyID                      *string `json:"key_id"`
	Route                      *string
	ConversationID             *string `json:"conversation_id"`
	Requests, Credits, Refused int64
}

type usagePage struct {
	Data       []usageSum
	HasMore    bool    `json:"has_more"`
	NextCursor *string `json:"next_cursor"`
}

func (f *fixture) usage(t *testing.T, query string) usagePage {
	t.Helper()
	return decode[usagePage](t, send(t, f.ControlPlane, request{"GET", "/v1/usage" + f.fill(query), "", nil}), 200)
}

// reportUsage reports a batch of two rows of the pair's, in two conversations, and one of the key's.
func (f *fixture) reportUsage(t *testing.T, seq int) {
	t.Helper()
	f.sync(t, f.fill(fmt.Sprintf(`{"gate":"edge-1","boot":"b1","usage":{"seq":%d,"rows":[
		{"key":"{pair}","route":"/v1/chat","conversation":"c+1","requests":3,"credits":2,"refused":1},
		{"key":"{pair}","route":"/v1/chat","conversation":"c2","requests":4,"credits":4},
		{"key":"{key}","route":"/v1/document/","requests":5,"credits":50},
		{"route":"other","requests":6,"credits":0,"refused":6}]}}`, seq)))
}

func TestUsage(t *testing.T) {
	f := newPairFixture(t)
	f.reportUsage(t, 1)
	hour := f.Clock.Now().Truncate(time.Hour)
	f.Clock.Advance(time.Hour)
	f.reportUsage(t, 2)
	next, day := hour.Add(time.Hour), hour.Truncate(24*time.Hour)
	text := func(s string) *string { s = f.fill(s); return &s }
	at := func(when time.Time) string { return url.QueryEscape(when.Format(time.RFC3339)) }
	for _, tt := range []struct {
		query string
		want  []usageSum
	}{
		{"", []usageSum{{Requests: 36, Credits: 112, Refused: 14}}},
		{"?key_id=key_none", []usageSum{{}}},
		{"?group_by=key&key_id=key_none", []usageSum{}},
		{"?account_id={account}", []usageSum{{Requests: 24, Credits: 112, Refused: 2}}},
		{"?project_id={project}&group_by=account,project,day", []usageSum{
			{Day: &day, AccountID: text("{account}"), ProjectID: text("{project}"), Requests: 14, Credits: 12, Refused: 2},
		}},
		{"?group_by=hour&key_id={key}", []usageSum{{Hour: &next, Requests: 5, Credits: 50}, {Hour: &hour, Requests: 5, Credits: 50}}},
		{"?group_by=conversation&route=/v1/chat", []usageSum{
			{ConversationID: text("c2"), Requests: 8, Credits: 8}, {ConversationID: text("c+1"), Requests: 6, Credits: 4, Refused: 2},
		}},
		{"?conversation_id=c%2B1&group_by=route,key", []usageSum{{KeyID: text("{pair}"), Route: text("/v1/chat"), Requests: 6, Credits: 4, Refused: 2}}},
		{"?group_by=account&from=" + at(next) + "&to=" + at(next.Add(time.Second)), []usageSum{
			{AccountID: text("{account}"), Requests: 12, Credits: 56, Refused: 1}, {AccountID: text(""), Requests: 6, Refused: 6},
		}},
		{"?from=" + at(hour.Add(time.Second)) + "&to=" + at(next), []usageSum{{}}},
	} {
		got := f.usage(t, tt.query)
		if diff := cmp.Diff(tt.want, got.Data); diff != "" || got.HasMore || got.NextCursor != nil {
			t.Errorf("%s: more %v (-want +got):\n%s", tt.query, got.HasMore, diff)
		}
	}
}

func TestUsagePages(t *testing.T) {
	f := newPairFixture(t)
	for i := range 3 {
		f.reportUsage(t, i+1)
		f.Clock.Advance(time.Hour)
	}
	const query = "?group_by=conversation,hour,key"
	want := f.usage(t, query).Data
	var got []usageSum
	for cursor := ""; ; {
		p := f.usage(t, query+"&limit=2"+cursor)
		got = append(got, p.Data...)
		if !p.HasMore {
			break
		}
		cursor = "&cursor=" + *p.NextCursor
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) != 12 {
		t.Errorf("%d sums (-whole +pages):\n%s", len(want), diff)
	}
	cursor := *f.usage(t, query+"&limit=1").NextCursor
	accounts := decode[page](t, send(t, f.ControlPlane, request{"GET", "/v1/keys?limit=1", "", nil}), 200)
	for name, path := range map[string]string{
		"other groups": "/v1/usage?group_by=hour,key&cursor=" + cursor, "no groups": "/v1/usage?cursor=" + cursor,
		"of another list": "/v1/usage?group_by=key&cursor=" + *accounts.NextCursor, "to another list": "/v1/keys?cursor=" + cursor[:60],
		"cut off": "/v1/usage" + query + "&cursor=" + cursor[:len(cursor)-8],
	} {
		t.Run(name, func(t *testing.T) { f.refuses(t, request{"GET", path, "", nil}, 422, "query.cursor") })
	}
}

func TestBadUsageQueries(t *testing.T) {
	f := newFixture(t)
	for query, location := range map[string]string{
		"group_by=name": "query.group_by", "group_by=key,": "query.group_by", "group_by=key,key": "query.group_by",
		"group_by=hour,day": "query.group_by", "from=today": "query.from", "to=2026-01-01": "query.to",
		"from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z": "query.to", "from=2026-01-01t00:00:00z": "query.from",
		"from=10000-01-01T00:00:00Z": "query.from", "limit=0": "query.limit", "user=x": "query.user",
		"conversation_id=" + url.QueryEscape(string(make([]byte, 300))): "query.conversation_id",
	} {
		t.Run(query[:min(len(query), 40)], func(t *testing.T) {
			f.refuses(t, request{"GET", "/v1/usage?" + query, "", nil}, 422, location)
		})
	}
}
