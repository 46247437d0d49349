package testenv

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestPairsBytes(t *testing.T) {
	t.Parallel()
	h := newRaw(t, "pairs", Options{})
	s, err := h.VM().NewStream(t.Context(), StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.RequestHeaders(t.Context(), []Header{{"a", "xy"}, {"a", ""}}, true); err != nil {
		t.Fatal(err)
	}
	if err := s.Done(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := "02000000" + "01000000" + "02000000" + "01000000" + "00000000" + hex.EncodeToString([]byte("a\x00xy\x00a\x00\x00"))
	if got := messages(h.Logs()); !slices.Contains(got, "pairs 0 count 2 bytes "+want) {
		t.Errorf("logs %q, want bytes %s", got, want)
	}
}

func TestPairsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var headers []Header
		for range rapid.IntRange(0, 20).Draw(t, "count") {
			headers = append(headers, Header{string(rapid.SliceOf(rapid.Byte()).Draw(t, "name")), string(rapid.SliceOf(rapid.Byte()).Draw(t, "value"))})
		}
		buf := make([]byte, pairsSize(headers))
		putPairs(buf, headers)
		if got := parsePairs(buf); !slices.Equal(got, headers) {
			t.Fatalf("got %q, want %q", got, headers)
		}
		if cut := rapid.IntRange(0, len(buf)-1).Draw(t, "cut"); cut > 4 && parsePairs(buf[:cut]) != nil {
			t.Fatalf("%d of %d bytes parsed", cut, len(buf))
		}
	})
}

func TestMalformedPairsAreEmpty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parsePairs(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) // must not panic
	})
	for name, buf := range map[string][]byte{
		"too short":       {1, 0, 0},
		"count too large": {0xff, 0xff, 0xff, 0xff},
		"over the limit":  append([]byte{1, 4, 0, 0}, make([]byte, 8*1025+2*1025)...),
		"size too large":  {1, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 'a', 0, 0},
		"no terminator":   {1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'a', 'b', 0},
		"bytes left over": {0, 0, 0, 0, 0},
	} {
		if got := parsePairs(buf); len(got) != 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestMapHostcalls(t *testing.T) {
	t.Parallel()
	h := newRaw(t, "maps", Options{})
	h.Do(t, Request{Headers: []Header{{"x-empty", ""}}})
	want := []string{
		"size 0 of type 8: 2",
		"bytes 53", // names and values of the four pseudo headers and x-empty
		"empty value 0 nil true length 0",
		"absent map 0 nil true length 0",
		"out of memory 6",
	}
	if diff := cmp.Diff(want, messages(h.Logs())[2:7]); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
}

func TestBufferHostcalls(t *testing.T) {
	t.Parallel()
	h := newRaw(t, "buffers", Options{VMConfiguration: []byte("abcdefg")})
	h.Do(t, Request{})
	want := []string{
		"body 0 size 77", // nothing to read: success, and nothing stored
		"unknown 2",
		"no call 1",
		"plugin configuration 1", // readable while configuring alone
		"vm configuration status 0 size 7 flags 0",
		"slice cde",
		"zero asks 0",
	}
	if diff := cmp.Diff(want, messages(h.Logs())[2:9]); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
}

func TestMetricHostcalls(t *testing.T) {
	t.Parallel()
	h := newRaw(t, "metrics", Options{})
	h.Do(t, Request{})
	want := []string{
		"define unknown kind 2",
		"counter 0 2 2", // a counter only goes up
		"gauge 0",
		"histogram 2 2",
		"unknown 1 1",
		"value 0 2",
	}
	if diff := cmp.Diff(want, messages(h.Logs())[2:8]); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
}

func TestClocksAreInjected(t *testing.T) {
	t.Parallel()
	clock := NewClock(time.Unix(1_700_000_000, 5))
	h := newProbe(t, Options{Now: clock.Now, Monotonic: clock.Monotonic})
	r := h.Do(t, do("clock"))
	if wall, mono := r.Upstream.Header("x-wall"), r.Upstream.Header("x-mono"); wall != "1700000000000000005" || mono != "0s" {
		t.Errorf("wall %s mono %s", wall, mono)
	}
	clock.Advance(2 * time.Second)
	clock.StepWall(-time.Hour)
	r = h.Do(t, do("clock"))
	if wall, mono := r.Upstream.Header("x-wall"), r.Upstream.Header("x-mono"); wall != "1699996402000000005" || mono != "2s" {
		t.Errorf("wall %s mono %s", wall, mono)
	}
}

func TestEnvironmentIsInjected(t *testing.T) {
	t.Setenv("TESTENV_HOST_ONLY", "leak")
	h := newProbe(t, Options{Env: map[string]string{"B": "2", "A": "1=x"}})
	if got := h.Do(t, do("env")).Upstream.Header("x-env"); got != "A=1=x,B=2" {
		t.Errorf("the filter sees %q", got)
	}
	if got := newProbe(t, Options{}).Do(t, do("env")).Upstream.Header("x-env"); got != "" {
		t.Errorf("the filter sees %q", got)
	}
}

func TestStandardErrorGoesToTheLog(t *testing.T) {
	t.Parallel()
	h := newProbe(t, Options{PollOneoff: PollZero}) // otherwise Go's panic throws before it has said why
	h.ExpectTrap()
	h.Do(t, do("panic"))
	var text strings.Builder
	for _, r := range h.Logs() {
		if r.Level == LevelError {
			text.WriteString(r.Message)
		}
	}
	if !strings.Contains(text.String(), "told to panic") {
		t.Errorf("logs %q", messages(h.Logs()))
	}
}

func TestLevelString(t *testing.T) {
	t.Parallel()
	for level, want := range map[Level]string{LevelTrace: "trace", LevelCritical: "critical", 6: "unknown"} {
		if got := level.String(); got != want {
			t.Errorf("Level(%d) = %q, want %q", level, got, want)
		}
	}
}
