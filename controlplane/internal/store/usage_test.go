package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tollgate/tollgate/controlplane/api"
)

// A batch is counted once, whoever repeats it and however often, and its rows are summed by the hour.
func TestUsageIsCountedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	send := func(boot string, seq int64, rows ...api.UsageRow) {
		t.Helper()
		reply, err := w.Sync(t.Context(), &api.SyncRequest{Gate: "gate-1", Boot: boot, Usage: &api.UsageBatch{Seq: seq, Rows: rows}})
		if err != nil || reply.UsageSeq != seq {
			t.Fatalf("batch %d: acknowledged %d, %v", seq, reply.UsageSeq, err)
		}
	}
	row := func(key string, requests, credits, refused int64) api.UsageRow {
		return api.UsageRow{Key: key, Route: "/v1/", Requests: requests, Credits: credits, Refused: refused}
	}
	chat := row("key_1", 1, 1, 0)
	chat.Conversation = "c"
	send("a", 1, row("key_1", 5, 10, 1), row("key_2", 1, 1, 0), row("key_1", 1, 2, 0), chat)
	send("a", 1, row("key_1", 5, 10, 1))
	send("b", 1, row("key_1", 2, 4, 0))
	send("a", 2, row("key_1", 1, 2, 0), api.UsageRow{Route: api.OtherRows, Requests: 3})
	send("a", 1, row("key_1", 5, 10, 1))
	w.clock.Advance(time.Hour)
	send("a", 3, row("key_1", 1, api.MaxCredits, 0))
	send("a", 4, row("key_1", 1, api.MaxCredits, 0))

	type sums struct {
		Hour                int64
		Key, Route, Chat    string
		Requests, Cr, Refus int64
	}
	rows, err := w.readers.QueryContext(t.Context(), `SELECT hour_us / 3600000000, key_id, route, conversation, requests, credits, refused FROM usage`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []sums
	for rows.Next() {
		var s sums
		if err := rows.Scan(&s.Hour, &s.Key, &s.Route, &s.Chat, &s.Requests, &s.Cr, &s.Refus); err != nil {
			t.Fatal(err)
		}
		got = append(got, s)
	}
	hour := w.clock.Now().Unix() / 3600
	want := []sums{
		{hour - 1, "", api.OtherRows, "", 3, 0, 0},
		{hour - 1, "key_1", "/v1/", "", 9, 18, 1}, {hour - 1, "key_1", "/v1/", "c", 1, 1, 0},
		{hour, "key_1", "/v1/", "", 2, api.MaxCredits, 0},
		{hour - 1, "key_2", "/v1/", "", 1, 1, 0},
	}
	if diff := cmp.Diff(want, got); diff != "" || rows.Err() != nil {
		t.Errorf("%v (-want +got):\n%s", rows.Err(), diff)
	}
	if got := w.Stats().Batches; got != 5 {
		t.Errorf("%d batches counted, want 5", got)
	}
	w.verify()
}
