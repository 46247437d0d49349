package api

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// texts are mostly what a message may hold, and sometimes anything, also what is not UTF-8.
func texts() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[!-~]{0,40}`),
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.SampledFrom([]string{"<a href=\"x\">&\\/", "\u2028\u2029\ufffd", "\b\f\n\r\t\x00\x1f\x7f", "é😀", "\xe2\x82"}),
	)
}

func requests() *rapid.Generator[*SyncRequest] {
	return rapid.Custom(func(t *rapid.T) *SyncRequest {
		return &SyncRequest{
			Gate: texts().Draw(t, "gate"), Boot: texts().Draw(t, "boot"),
			Void:   rapid.SliceOf(texts()).Draw(t, "void"),
			Unpaid: rapid.SliceOf(rapid.Make[Unpaid]()).Draw(t, "unpaid"),
			Leases: rapid.SliceOf(rapid.Make[LeaseReport]()).Draw(t, "leases"),
			Usage:  rapid.Ptr(rapid.Make[UsageBatch](), true).Draw(t, "usage"),
			Cursor: rapid.Int64().Draw(t, "cursor"), Epoch: rapid.Int64().Draw(t, "epoch"),
		}
	})
}

// What a gate sends is what json.Marshal would make of it, behind what was in the buffer.
func TestAppendJSON(t *testing.T) {
	t.Parallel()
	same := func(t *rapid.T, got []byte, message any) {
		want, err := json.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("before"+string(want), string(got)); diff != "" {
			t.Fatalf("(-json.Marshal +AppendJSON):\n%s", diff)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		acquire := rapid.Make[AcquireRequest]().Draw(t, "acquire")
		acquire.Gate = texts().Draw(t, "gate")
		same(t, acquire.AppendJSON([]byte("before")), acquire)
		reply := rapid.Make[AcquireReply]().Draw(t, "reply")
		reply.OpID = texts().Draw(t, "op_id")
		same(t, reply.AppendJSON([]byte("before")), reply)
		sync := requests().Draw(t, "sync")
		same(t, sync.AppendJSON([]byte("before")), sync)
	})
}

// A message that fits its buffer is written without allocating.
func TestAppendJSONAllocatesNothing(t *testing.T) {
	acquire := goodRequest()
	sync := SyncRequest{
		Gate: "edge-1", Boot: "b", Void: []string{"b-1"}, Unpaid: []Unpaid{{OpID: "b-2", Scheme: "genrex", Digests: acquire.Digests, Cost: 1}},
		Leases: []LeaseReport{{Lease: "lease_1", Used: 7, Final: true}}, Cursor: 3, Epoch: 4,
		Usage: &UsageBatch{Seq: 1, Rows: []UsageRow{{Key: "key_1", Route: "/v1/chat", Conversation: "c", Requests: 2, Credits: 5, Refused: 1}}},
	}
	buffer := make([]byte, 0, 2048)
	if n := testing.AllocsPerRun(10, func() { buffer = acquire.AppendJSON(buffer[:0]) }); n != 0 {
		t.Errorf("an acquire allocates %v times", n)
	}
	if n := testing.AllocsPerRun(10, func() { buffer = sync.AppendJSON(buffer[:0]) }); n != 0 {
		t.Errorf("a sync allocates %v times", n)
	}
}

// What json.Marshal writes of a reply reads as that reply, also with more fields than there are today.
func TestParseReplies(t *testing.T) {
	t.Parallel()
	more := `{"op_ID":[{"op_id":null}],"":{"lease":{"lease":-1.5e3}},"Lease":"\u00e9",`
	rapid.Check(t, func(t *rapid.T) {
		readsBack(t, rapid.Make[AcquireReply]().Draw(t, "acquire"), more, ParseAcquireReply)
		readsBack(t, rapid.Make[SyncReply]().Draw(t, "sync"), more, ParseSyncReply)
	})
}

func readsBack[T any](t *rapid.T, reply T, more string, parse func([]byte) (T, error)) {
	body, err := json.Marshal(reply)
	if err != nil {
		t.Fatal(err)
	}
	var want T
	if err := json.Unmarshal(body, &want); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(body), more + string(body[1:])} {
		got, err := parse([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s reads as (-json.Unmarshal +got):\n%s", text, diff)
		}
	}
}

// A field that is null is as good as missing.
func TestParseNull(t *testing.T) {
	t.Parallel()
	acquire, err := ParseAcquireReply([]byte(`{"op_id":null,"verdict":"granted","lease":null,"retry_ms":null,"new":null}`))
	if diff := cmp.Diff(AcquireReply{Verdict: Granted}, acquire); err != nil || diff != "" {
		t.Errorf("acquire: error %v, read (-want +got):\n%s", err, diff)
	}
	sync, err := ParseSyncReply([]byte(`{"acked":null,"changes":[{"seq":1,"kind":"all","id":null}],"leases":null,"more":null}`))
	if diff := cmp.Diff(SyncReply{Changes: []Change{{Seq: 1, Kind: ChangeAll}}}, sync); err != nil || diff != "" {
		t.Errorf("sync: error %v, read (-want +got):\n%s", err, diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	acquire := func(s string) error { _, err := ParseAcquireReply([]byte(s)); return err }
	sync := func(s string) error { _, err := ParseSyncReply([]byte(s)); return err }
	tests := []struct {
		name, text string
		parse      func(string) error
		want       string
	}{
		{"empty", "", acquire, "invalid gate message: expected one JSON object; it is malformed after byte 0"},
		{"null", "null", acquire, "invalid gate message: expected an object"},
		{"array", "[]", sync, "invalid gate message: expected an object"},
		{"cut", `{"op_id":"b-1"`, acquire, "malformed after byte 14"},
		{"trailing bytes", `{} {}`, sync, "malformed after byte 4"},
		{"repeated", `{"op_id":"a","op_id":"a"}`, acquire, "invalid gate message: op_id: expected the field once"},
		{"repeated below", `{"lease":{"key":"k","k\u0065y":"k"}}`, acquire, "lease.key: expected the field once"},
		{"repeated and unknown", `{"new":{"a":1,"a":1}}`, sync, "new.a: expected the field once"},
		{"number for text", `{"verdict":1}`, acquire, "invalid gate message: verdict: expected a string"},
		{"text for number", `{"lease":{"credits":"2"}}`, acquire, "lease.credits: expected an integer"},
		{"fraction", `{"lease":{"credits":2.0}}`, acquire, "lease.credits: expected an integer"},
		{"exponent", `{"cursor":1e3}`, sync, "cursor: expected an integer"},
		{"beyond int64", `{"epoch":9223372036854775808}`, sync, "epoch: expected an integer"},
		{"text for list", `{"acked":"b-1"}`, sync, "acked: expected an array"},
		{"null in a list", `{"acked":["b-1",null]}`, sync, "acked[1]: expected a string"},
		{"null in a list of objects", `{"changes":[null]}`, sync, "changes[0]: expected an object"},
		{"deep in a list", `{"leases":[{},{"used":true}]}`, sync, "leases[1].used: expected an integer"},
		{"number for flag", `{"more":1}`, sync, "more: expected true or false"},
		{"not UTF-8", "{\"op_id\":\"\xff\"}", acquire, "malformed after byte 11"},
		{"a new field without end", `{"new":` + strings.Repeat("[", 1000), sync, "at most 16 levels of nesting"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := tt.parse(tt.text); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrInvalid saying %q", err, tt.want)
			}
		})
	}
}

// A broken reply leaves nothing of itself behind.
func TestParseRefusesWhole(t *testing.T) {
	t.Parallel()
	got, err := ParseAcquireReply([]byte(`{"op_id":"b-1","verdict":"granted","lease":{"credits":2}} x`))
	if diff := cmp.Diff(AcquireReply{}, got); diff != "" || err == nil {
		t.Errorf("error %v, read (-want +got):\n%s", err, diff)
	}
}
