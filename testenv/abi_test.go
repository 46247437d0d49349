package testenv

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestPairsBytes(t *testing.T) {
	t.Parallel()
	w, err := NewWorker(t.Context(), WorkerOptions{record: &recorder{now: NewClock(Start).Monotonic}},
		Plugin{Filter: guest(t, "raw"), Configuration: []byte("pairs")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close(t.Context()) }()
	s, err := w.NewStream(t.Context(), StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.RequestHeaders(t.Context(), []Header{{"a", "xy"}, {"a", ""}}, true); err != nil {
		t.Fatal(err)
	}
	want := "02000000" + "01000000" + "02000000" + "01000000" + "00000000" + hex.EncodeToString([]byte("a\x00xy\x00a\x00\x00"))
	if got := messages(w.opts.record.logs); !slices.Contains(got, "pairs 0 count 2 bytes "+want) {
		t.Errorf("logs %q, want bytes %s", got, want)
	}
}

func TestPairsRoundTrip(t *testing.T) {
	t.Parallel()
	chance := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		b := make([]byte, chance.IntN(12))
		for i := range b {
			b[i] = byte(chance.IntN(4)) // with many a NUL, which ends nothing
		}
		return string(b)
	}
	for range 2000 {
		headers := make([]Header, chance.IntN(20))
		for i := range headers {
			headers[i] = Header{text(), text()}
		}
		buf := make([]byte, pairsSize(headers))
		putPairs(buf, headers)
		if got := parsePairs(buf); !slices.Equal(got, headers) {
			t.Fatalf("got %q, want %q", got, headers)
		}
		if cut := chance.IntN(len(buf)); cut > 4 && parsePairs(buf[:cut]) != nil {
			t.Fatalf("%d of %d bytes parsed", cut, len(buf))
		}
	}
}

func TestMalformedPairsAreEmpty(t *testing.T) {
	t.Parallel()
	for name, buf := range map[string][]byte{
		"nothing":         {},
		"too short":       {1, 0, 0},
		"count too large": {0xff, 0xff, 0xff, 0xff},
		"over the limit":  append([]byte{1, 4, 0, 0}, make([]byte, 8*1025+2*1025)...),
		"over the size":   append([]byte{0, 0, 0, 0}, make([]byte, 1<<20)...),
		"size too large":  {1, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 'a', 0, 0},
		"size negative":   {1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 'a', 0, 0},
		"no terminator":   {1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'a', 'b', 0},
		"bytes left over": {0, 0, 0, 0, 0},
	} {
		if got := parsePairs(buf); len(got) != 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
	limit := append([]byte{0, 4, 0, 0}, make([]byte, 8*1024+2*1024)...)
	if got := parsePairs(limit); len(got) != 1024 {
		t.Errorf("1024 pairs are within the limit, got %d", len(got))
	}
}

func FuzzParsePairs(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 'a', 0, 'b', 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		headers := parsePairs(data)
		if len(headers) == 0 {
			return
		}
		again := make([]byte, pairsSize(headers))
		putPairs(again, headers)
		if string(again) != string(data) {
			t.Errorf("%x was read as %q, which is %x", data, headers, again)
		}
	})
}

func TestLevelString(t *testing.T) {
	t.Parallel()
	for level, want := range map[Level]string{
		LevelTrace: "trace", LevelDebug: "debug", LevelInfo: "info", LevelWarn: "warn", LevelError: "error",
		LevelCritical: "critical", 6: "unknown",
	} {
		if got := level.String(); got != want {
			t.Errorf("Level(%d) = %q, want %q", level, got, want)
		}
	}
}

// What the raw guest sees of statuses and memory: Envoy's, which the SDK would hide.
func TestHostcallStatuses(t *testing.T) {
	t.Parallel()
	reset := clusterFunc(func(context.Context, *CalloutRequest) (*CalloutResponse, error) { return nil, ErrReset })
	tests := []struct {
		mode string
		want []string
	}{
		{"maps", []string{
			"size 0 of type 8: 2",
			"bytes 53", // names and values of the four pseudo headers and x-empty
			"empty value 0 nil true length 0",
			"absent map 0 nil true length 0",
			"out of memory 6",
		}},
		{"buffers", []string{
			"body 0 size 77", // nothing to read: success, and nothing stored
			"unknown 2",
			"no call 1",
			"plugin configuration 1", // readable while configuring alone
			"vm configuration status 0 size 7 flags 0",
			"slice cde",
			"zero asks 0",
		}},
		{"metrics", []string{
			"define unknown kind 2",
			"counter 0 2 2", // a counter only goes up
			"gauge 0",
			"histogram 2 2",
			"unknown 1 1",
			"value 0 2",
		}},
		{"context", []string{"effective root 0 none 0 unknown 2"}},
		{"continue", []string{"done 1", "continue 0 response 0", "TCP 0 12 unknown 2"}},
		{"negative", []string{"negative timeout 2"}},
		{"token", []string{"bad cell 6", "refused 2 token 0"}},
		{"call", []string{
			"call 0",
			"answer root 1 headers 0 body 0 trailers 0 status 0 11 reset",
			"map 2 trailers 2 body 1", // a reset leaves nothing to read
		}},
	}
	for _, tt := range tests {
		t.Run(tt.mode, func(t *testing.T) {
			t.Parallel()
			h := New(t, Options{Clusters: map[string]Cluster{"control": reset}}, Plugin{
				Filter: guest(t, "raw"), Configuration: []byte(tt.mode), VMConfiguration: []byte("abcdefg"),
			})
			r := h.Do(t, Request{Headers: []Header{{"x-empty", ""}}})
			if r.Status != 200 {
				t.Errorf("status %d, %v", r.Status, r.Err)
			}
			// The context of the stream and its end are logged around what the mode says.
			var said []LogRecord
			for _, l := range h.Logs() {
				if l.Worker == 1 && !slices.Contains([]string{"create 1 0", "create 2 1", "log 2", "done 2", "delete 2"}, l.Message) {
					said = append(said, l)
				}
			}
			wantMessages(t, said, tt.want...)
		})
	}
}

func TestSetBuffer(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "raw", "set-buffer", Options{})
	h.Check(t, Request{Body: []byte("abcdef")}, Want{UpstreamBody: "new"})
	want := []string{
		`set 0+2 "AB": 0 ABcdef`,
		`set 0+0 "<": 0 <ABcdef`,
		`set 7+0 ">": 0 <ABcdef>`,
		`set 100+5 "!": 0 <ABcdef>!`,
		`set 3+1 "middle": 2 <ABcdef>!`, // neither a prefix nor the end
		`set 0+1 "": 0 ABcdef>!`,
		`set 0+100 "new": 0 new`,
	}
	if got := saying("set", h.Logs()); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, want := range []string{"out of memory 6", "configuration 2 call 1 unknown 2"} {
		if !slices.Contains(messages(h.Logs()), want) {
			t.Errorf("logs %q, want %q", messages(h.Logs()), want)
		}
	}
}

func TestAllocatorMayMakeFewHostcalls(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "raw", "alloc-log", Options{})
	h.Check(t, Request{}, Want{Decision: Forwarded, Logs: []string{"pairs 0"}})
	if got := saying("allocating", h.Logs()); len(got) == 0 {
		t.Error("nothing was logged while allocating")
	}

	h = newGuest(t, "raw", "alloc-time", Options{Profile: Envoy140})
	h.Expect(ErrRestricted)
	h.Check(t, Request{}, Want{Decision: Answered, Status: 503})

	// An allocator that returns null fails the hostcall.
	h = newGuest(t, "raw", "alloc-null", Options{})
	h.Do(t, Request{})
	if got := saying("pairs", h.Logs()); len(got) != 1 || !strings.HasPrefix(got[0], "pairs 6 ") {
		t.Errorf("logs %q, want InvalidMemoryAccess", got)
	}
}
