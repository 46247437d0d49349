package accesslog_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/accesslog"
)

var record = accesslog.Record{
	Start:            time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC),
	Duration:         1500 * time.Millisecond,
	Protocol:         "HTTP/1.1",
	Status:           402,
	Details:          "via_wasm",
	BytesReceived:    3,
	BytesSent:        4,
	UpstreamHost:     "127.0.0.1:8080",
	DownstreamRemote: "[::1]:5",
	Request:          [][2]string{{":method", "GET"}, {":path", "/a?key=1"}, {"x-a", "first"}, {"x-a", "second"}},
	Response:         [][2]string{{":status", "402"}, {"content-type", "application/json"}},
	FilterState:      map[string][]byte{"wasm.tollgate": []byte(`{"cost":1}`), "wasm.evil": []byte("a\nb")},
}

func TestFormat(t *testing.T) {
	tests := []struct{ format, want string }{
		{"plain 100%%\n", "plain 100%\n"},
		{"%START_TIME%", "2026-01-02T03:04:05.006Z"},
		{"%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%", "GET /a?key=1 HTTP/1.1"},
		{"%REQ_WITHOUT_QUERY(:PATH)%", "/a"},
		{"%REQ(X-A)%", "first"},
		{"%REQ(X-ENVOY-ORIGINAL-PATH?:PATH):2%", "/a"},
		{"%REQ(X-NONE)%", "-"},
		{"%RESP(CONTENT-TYPE)%", "application/json"},
		{"%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%", "402 - via_wasm"},
		{"%BYTES_RECEIVED%/%BYTES_SENT%/%DURATION%", "3/4/1500"},
		{"%UPSTREAM_HOST% %DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "127.0.0.1:8080 [::1]:5 ::1"},
		{"%FILTER_STATE(wasm.tollgate:PLAIN)%", `{"cost":1}`},
		{"%FILTER_STATE(wasm.other:PLAIN)%", "-"},
		{"%FILTER_STATE(wasm.evil:PLAIN)%", `a\nb`},
	}
	for _, tt := range tests {
		t.Run(tt.format, func(t *testing.T) {
			f, err := accesslog.Parse(tt.format, true)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(f.Append(nil, &record)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDefaultFormatParses(t *testing.T) {
	if _, err := accesslog.Parse(accesslog.Default, false); err != nil {
		t.Fatal(err)
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		format  string
		unknown bool
		want    string
	}{
		{"%NO_SUCH%", true, "%NO_SUCH%"},
		{"%REQ()%", true, "%REQ()%"},
		{"%REQ(a):x%", true, "%REQ(a):x%"},
		{"%FILTER_STATE(wasm.tollgate)%", true, "PLAIN"},
		{"%REQ_WITHOUT_QUERY(:PATH)%", true, "envoy.formatter.req_without_query"},
		{"tail %START_TIME", false, "not closed"},
	}
	for _, tt := range tests {
		t.Run(tt.format, func(t *testing.T) {
			_, err := accesslog.Parse(tt.format, false)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error = %v, want it to contain %q", err, tt.want)
			}
			if got := errors.Is(err, accesslog.ErrUnknownOperator); got != tt.unknown {
				t.Errorf("ErrUnknownOperator = %v, want %v", got, tt.unknown)
			}
		})
	}
}
