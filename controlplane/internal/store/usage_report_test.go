package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/tollgate/tollgate/controlplane/api"
	"pgregory.net/rapid"
)

// usageWorld is a world whose one VM reports usage, with all that it has reported.
type usageWorld struct {
	*world
	seq      int64
	owners   map[string]Key
	reported []UsageSum
}

// newUsageWorld has two accounts, of which the first has a pair in a project and a lone key.
func newUsageWorld(t testing.TB) *usageWorld {
	w := &usageWorld{world: newWorld(t), owners: map[string]Key{"": {}, "key_absent": {}}}
	site := w.mustSite()
	for _, k := range []Key{w.mustPair(site.ID, "1"), w.mustKey(site.AccountID, "2"), w.mustKey(w.mustAccount(AccountActive).ID, "3")} {
		w.owners[k.ID] = k
	}
	return w
}

func (w *usageWorld) report(rows ...api.UsageRow) {
	w.Helper()
	w.seq++
	_, err := w.Sync(context.Background(), &api.SyncRequest{Gate: "gate-1", Boot: "vm", Usage: &api.UsageBatch{Seq: w.seq, Rows: rows}})
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range rows {
		k := w.owners[r.Key]
		w.reported = append(w.reported, UsageSum{
			At: w.clock.Now(), AccountID: k.AccountID, ProjectID: k.ProjectID, KeyID: r.Key, Route: r.Route,
			Conversation: r.Conversation, Requests: r.Requests, Credits: r.Credits, Refused: r.Refused,
		})
	}
}

// expected sums what was reported in plain Go.
func (w *usageWorld) expected(q UsageQuery) []UsageSum {
	matches := func(want, got string) bool { return want == "" || want == got }
	sums := map[UsageSum]*UsageSum{}
	if len(q.By) == 0 {
		sums[UsageSum{}] = &UsageSum{}
	}
	for _, r := range w.reported {
		hour := r.At.Truncate(time.Hour)
		if !matches(q.AccountID, r.AccountID) || !matches(q.ProjectID, r.ProjectID) || !matches(q.KeyID, r.KeyID) ||
			!matches(q.Route, r.Route) || !matches(q.Conversation, r.Conversation) ||
			q.From != nil && hour.Before(*q.From) || q.To != nil && !hour.Before(*q.To) {
			continue
		}
		var group UsageSum
		for _, g := range q.By {
			switch g {
			case UsageByHour:
				group.At = hour
			case UsageByDay:
				group.At = r.At.Truncate(24 * time.Hour)
			case UsageByAccount:
				group.AccountID = r.AccountID
			case UsageByProject:
				group.ProjectID = r.ProjectID
			case UsageByKey:
				group.KeyID = r.KeyID
			case UsageByRoute:
				group.Route = r.Route
			case UsageByConversation:
				group.Conversation = r.Conversation
			}
		}
		sum := sums[group]
		if sum == nil {
			copied := group
			sum, sums[group] = &copied, &copied
		}
		sum.Requests += r.Requests
		sum.Credits += r.Credits
		sum.Refused += r.Refused
	}
	out := make([]UsageSum, 0, len(sums))
	for _, sum := range slices.Collect(maps.Values(sums)) {
		out = append(out, *sum)
	}
	slices.SortFunc(out, func(a, b UsageSum) int {
		return -cmp.Or(a.At.Compare(b.At), strings.Compare(a.AccountID, b.AccountID), strings.Compare(a.ProjectID, b.ProjectID),
			strings.Compare(a.KeyID, b.KeyID), strings.Compare(a.Route, b.Route), strings.Compare(a.Conversation, b.Conversation))
	})
	return out
}

// walk reads a query to its end, limit sums at a time, with something done between pages.
func (w *usageWorld) walk(q UsageQuery, limit int, between func()) []UsageSum {
	w.Helper()
	all := []UsageSum{}
	q.Limit = limit
	for {
		sums, more, err := w.Usage(context.Background(), q)
		if err != nil {
			w.Fatalf("%+v: %v", q, err)
		}
		if all = append(all, sums...); !more {
			return all
		}
		q.After = &sums[len(sums)-1]
		between()
	}
}

func drawUsage(t *rapid.T, w *usageWorld) api.UsageRow {
	row := api.UsageRow{
		Key: rapid.SampledFrom(slices.Sorted(maps.Keys(w.owners))).Draw(t, "key"), Route: rapid.SampledFrom([]string{"/a", "/b", "other"}).Draw(t, "route"),
		Requests: rapid.Int64Range(0, 9).Draw(t, "requests"), Credits: rapid.Int64Range(0, 9).Draw(t, "credits"),
	}
	if rapid.Bool().Draw(t, "chat") {
		row.Conversation = rapid.SampledFrom([]string{"c1", "c2", "'"}).Draw(t, "conversation")
	}
	row.Refused = row.Requests / 2
	return row
}

// Whatever was reported and whatever is asked, by pages of any size, sums are those of plain Go. Once hours are folded, so
// are all sums of whole days in which no conversation is told apart.
func TestUsageSums(t *testing.T) {
	t.Parallel()
	w := newUsageWorld(t)
	rapid.Check(t, func(rt *rapid.T) {
		for range rapid.IntRange(1, 6).Draw(rt, "batches") {
			w.clock.Advance(time.Duration(rapid.IntRange(0, 40).Draw(rt, "hours")) * time.Hour)
			w.report(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) api.UsageRow { return drawUsage(t, w) }), 1, 6).Draw(rt, "rows")...)
		}
		query := func() (q UsageQuery) {
			q.By = rapid.SliceOfDistinct(rapid.SampledFrom(UsageGroups()), rapid.ID).Filter(func(by []UsageGroup) bool {
				return !slices.Contains(by, UsageByHour) || !slices.Contains(by, UsageByDay)
			}).Draw(rt, "by")
			key := w.owners[rapid.SampledFrom(slices.Sorted(maps.Keys(w.owners))).Draw(rt, "of")]
			switch rapid.IntRange(0, 5).Draw(rt, "filter") {
			case 0:
				q.AccountID = key.AccountID
			case 1:
				q.AccountID, q.ProjectID = key.AccountID, key.ProjectID
			case 2:
				q.KeyID, q.Route = key.ID, "/a"
			case 3:
				q.Conversation = "c1"
			}
			if rapid.Bool().Draw(rt, "since") {
				q.From = ptr(w.clock.Now().Truncate(time.Hour).Add(-time.Duration(rapid.IntRange(0, 60).Draw(rt, "from")) * time.Hour))
				q.To = ptr(q.From.Add(time.Duration(rapid.IntRange(1, 60).Draw(rt, "for")) * time.Hour))
			}
			return q
		}
		same := func(q UsageQuery) {
			limit := rapid.SampledFrom([]int{1, 2, 7, 1000}).Draw(rt, "limit")
			if diff := gocmp.Diff(w.expected(q), w.walk(q, limit, func() {})); diff != "" {
				rt.Fatalf("%+v (-want +got):\n%s", q, diff)
			}
		}
		same(query())
		for more := true; more; {
			var err error
			if more, err = w.FoldUsage(t.Context(), 48*time.Hour); err != nil {
				rt.Fatal(err)
			}
			q := query()
			day := func(t *time.Time) *time.Time {
				if t == nil {
					return nil
				}
				return ptr(t.Truncate(24 * time.Hour))
			}
			q.From, q.To, q.Conversation = day(q.From), day(q.To), ""
			q.By = slices.DeleteFunc(q.By, func(g UsageGroup) bool { return g == UsageByHour || g == UsageByConversation })
			same(q)
		}
		// The next run compares hours and conversations again.
		w.clock.Advance(100 * 24 * time.Hour)
		if _, err := w.FoldUsage(t.Context(), 0); err != nil {
			rt.Fatal(err)
		}
		if _, err := w.writer.db.ExecContext(t.Context(), "DELETE FROM usage; DELETE FROM usage_days"); err != nil {
			rt.Fatal(err)
		}
		w.reported = nil
	})
}

// Between pages usage goes on: groups that follow are neither repeated nor hidden, and newer ones do not show.
func TestUsagePagesUnderInserts(t *testing.T) {
	t.Parallel()
	w := newUsageWorld(t)
	keys := slices.Sorted(maps.Keys(w.owners))
	for range 5 {
		for _, k := range keys {
			w.report(api.UsageRow{Key: k, Route: "/a", Requests: 1, Credits: 1})
		}
		w.clock.Advance(time.Hour)
	}
	for _, by := range [][]UsageGroup{{UsageByHour, UsageByKey}, {UsageByKey}, {UsageByHour}} {
		want := w.expected(UsageQuery{By: by})
		got := w.walk(UsageQuery{By: by}, 2, func() {
			w.clock.Advance(time.Hour)
			w.report(api.UsageRow{Key: "zzz", Route: "/a", Requests: 1})
		})
		for i := range got {
			got[i].Requests, got[i].Credits = 1, 1
		}
		for i := range want {
			want[i].Requests, want[i].Credits = 1, 1
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", by, diff)
		}
	}
}

func TestUsageAtTheLimit(t *testing.T) {
	t.Parallel()
	w := newUsageWorld(t)
	w.report(api.UsageRow{Key: "a", Route: "/a", Credits: api.MaxCredits - 1, Requests: 1})
	got := w.walk(UsageQuery{}, 1, nil)
	if want := []UsageSum{{Requests: 1, Credits: api.MaxCredits - 1}}; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for range 3 {
		w.clock.Advance(time.Hour)
		w.report(api.UsageRow{Key: "a", Route: "/a", Credits: api.MaxCredits})
	}
	for range 2 {
		if got := w.walk(UsageQuery{}, 1, nil); got[0].Credits != api.MaxCredits {
			t.Errorf("got %+v, want a sum that stops at 2^53-1", got)
		}
		w.clock.Advance(48 * time.Hour)
		if _, err := w.FoldUsage(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
}

// One call folds a bounded number of rows, the oldest first, and nothing of a day that is not over for long enough.
func TestFoldUsageIsBounded(t *testing.T) {
	t.Parallel()
	w := newUsageWorld(t)
	fill := func(rows int) {
		for i := range rows {
			_, err := w.writer.db.ExecContext(t.Context(), `INSERT INTO usage VALUES (?, 'k', '/a', ?, 1, 2, 0)`,
				w.clock.Now().Truncate(time.Hour).UnixMicro(), fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(maxFolded + 1)
	day := w.clock.Now().Truncate(24 * time.Hour)
	w.clock.Advance(12*time.Hour + time.Minute)
	fill(3)
	rows := func() (hours, days int) {
		err := w.readers.QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM usage), (SELECT count(*) FROM usage_days)").Scan(&hours, &days)
		if err != nil {
			t.Fatal(err)
		}
		return hours, days
	}
	for _, step := range []struct {
		at          time.Duration
		more        bool
		hours, days int
	}{
		{48*time.Hour - time.Second, false, maxFolded + 4, 0}, {48 * time.Hour, true, 4, 1}, {48 * time.Hour, false, 3, 1},
		{72*time.Hour - time.Second, false, 3, 1}, {72 * time.Hour, false, 0, 2},
	} {
		w.clock.Advance(day.Add(step.at).Sub(w.clock.Now()))
		more, err := w.FoldUsage(t.Context(), 24*time.Hour)
		hours, days := rows()
		if err != nil || more != step.more || hours != step.hours || days != step.days {
			t.Errorf("at %s: more %v, %v, %d hours and %d days; want %+v", step.at, more, err, hours, days, step)
		}
	}
	if got := w.walk(UsageQuery{}, 1, nil); got[0].Requests != maxFolded+4 || got[0].Credits != 2*(maxFolded+4) {
		t.Errorf("folded to %+v", got)
	}
}

func TestBadUsageQueries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, q := range map[string]UsageQuery{
		"limit": {}, "limit above": {Limit: MaxPageLimit + 1}, "unknown": {Limit: 1, By: []UsageGroup{"name"}},
		"twice": {Limit: 1, By: []UsageGroup{UsageByKey, UsageByKey}}, "hours and days": {Limit: 1, By: []UsageGroup{UsageByHour, UsageByDay}},
	} {
		if _, _, err := w.Usage(t.Context(), q); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
}
