// Package accesslog writes Envoy's text access log for wasmproxy: it compiles a format string with
// command operators and renders one record into it.
//
// It owns which operators are known. An operator that it does not know is an error when the format
// is read, never a gap in the log.
package accesslog

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// ErrUnknownOperator marks a command operator that this package does not render.
var ErrUnknownOperator = errors.New("unknown access log operator")

// Default is the format that Envoy uses where none is given.
const Default = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" ` +
	`%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ` +
	`%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" ` +
	`"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"` + "\n"

// Record is what one finished request leaves behind. Header names are in lower case. Absent text
// is rendered as "-".
type Record struct {
	Start            time.Time
	Duration         time.Duration
	Protocol         string
	Status           int // 0 where the client left before an answer
	Flags            string
	Details          string
	BytesReceived    int64
	BytesSent        int64
	UpstreamHost     string
	UpstreamCluster  string
	DownstreamRemote string // host:port
	RouteName        string
	Request          [][2]string
	Response         [][2]string
	FilterState      map[string][]byte
}

// Format is a compiled format string. It is immutable and safe for concurrent use.
type Format struct{ parts []part }

// part appends its piece of the line.
type part func(dst []byte, r *Record) []byte

// Parse compiles text. withoutQuery says that the formatter extension req_without_query is loaded,
// which brings %REQ_WITHOUT_QUERY%.
func Parse(text string, withoutQuery bool) (*Format, error) {
	f := new(Format)
	for text != "" {
		literal, rest, found := strings.Cut(text, "%")
		if literal != "" {
			f.parts = append(f.parts, literalPart(literal))
		}
		if !found {
			break
		}
		if after, ok := strings.CutPrefix(rest, "%"); ok {
			f.parts = append(f.parts, literalPart("%"))
			text = after
			continue
		}
		command, after, found := cutCommand(rest)
		if !found {
			return nil, fmt.Errorf("operator %q is not closed, expected a %%", "%"+rest)
		}
		p, err := compile(command, withoutQuery)
		if err != nil {
			return nil, err
		}
		f.parts = append(f.parts, p)
		text = after
	}
	return f, nil
}

// cutCommand ends an operator at the first % outside its parentheses: %START_TIME(%Y)% holds more.
func cutCommand(s string) (command, rest string, found bool) {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		case '%':
			if depth <= 0 {
				return s[:i], s[i+1:], true
			}
		}
	}
	return "", "", false
}

// Append renders r and appends the line to dst. The format brings its own line end.
func (f *Format) Append(dst []byte, r *Record) []byte {
	for _, p := range f.parts {
		dst = p(dst, r)
	}
	return dst
}

func literalPart(s string) part {
	return func(dst []byte, _ *Record) []byte { return append(dst, s...) }
}

// plain are the operators that take no argument.
var plain = map[string]part{
	"START_TIME": func(dst []byte, r *Record) []byte {
		return r.Start.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	},
	"PROTOCOL":              func(dst []byte, r *Record) []byte { return text(dst, r.Protocol) },
	"RESPONSE_CODE":         func(dst []byte, r *Record) []byte { return strconv.AppendInt(dst, int64(r.Status), 10) },
	"RESPONSE_FLAGS":        func(dst []byte, r *Record) []byte { return text(dst, r.Flags) },
	"RESPONSE_CODE_DETAILS": func(dst []byte, r *Record) []byte { return text(dst, r.Details) },
	"BYTES_RECEIVED":        func(dst []byte, r *Record) []byte { return strconv.AppendInt(dst, r.BytesReceived, 10) },
	"BYTES_SENT":            func(dst []byte, r *Record) []byte { return strconv.AppendInt(dst, r.BytesSent, 10) },
	"DURATION":              func(dst []byte, r *Record) []byte { return strconv.AppendInt(dst, r.Duration.Milliseconds(), 10) },
	"UPSTREAM_HOST":         func(dst []byte, r *Record) []byte { return text(dst, r.UpstreamHost) },
	"UPSTREAM_CLUSTER":      func(dst []byte, r *Record) []byte { return text(dst, r.UpstreamCluster) },
	"ROUTE_NAME":            func(dst []byte, r *Record) []byte { return text(dst, r.RouteName) },
	"DOWNSTREAM_REMOTE_ADDRESS": func(dst []byte, r *Record) []byte {
		return text(dst, r.DownstreamRemote)
	},
	"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": func(dst []byte, r *Record) []byte {
		host := r.DownstreamRemote
		if i := strings.LastIndexByte(host, ':'); i >= 0 {
			host = strings.Trim(host[:i], "[]")
		}
		return text(dst, host)
	},
}

func compile(command string, withoutQuery bool) (part, error) {
	if p, ok := plain[command]; ok {
		return p, nil
	}
	name, arg, _ := strings.Cut(command, "(")
	arg, after, closed := strings.Cut(arg, ")")
	limit, err := parseLimit(after)
	if !closed || arg == "" || err != nil {
		return nil, fmt.Errorf("%w %%%s%%", ErrUnknownOperator, command)
	}
	switch name {
	case "REQ":
		return headerPart(arg, limit, func(r *Record) [][2]string { return r.Request }, keep), nil
	case "REQ_WITHOUT_QUERY":
		if withoutQuery {
			return headerPart(arg, limit, func(r *Record) [][2]string { return r.Request }, dropQuery), nil
		}
		return nil, fmt.Errorf("%w %%%s%%: it needs the formatter envoy.formatter.req_without_query", ErrUnknownOperator, command)
	case "RESP":
		return headerPart(arg, limit, func(r *Record) [][2]string { return r.Response }, keep), nil
	case "FILTER_STATE":
		return filterStatePart(arg, command)
	}
	return nil, fmt.Errorf("%w %%%s%%", ErrUnknownOperator, command)
}

// parseLimit reads the ":N" that cuts a value to N bytes; absent is no limit.
func parseLimit(s string) (int, error) {
	if s == "" {
		return -1, nil
	}
	digits, ok := strings.CutPrefix(s, ":")
	if !ok {
		return 0, errors.New("expected :LENGTH")
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	return int(n), err
}

func keep(v string) string { return v }

func dropQuery(v string) string {
	v, _, _ = strings.Cut(v, "?")
	return v
}

// headerPart renders the first of the names joined by "?" that is present.
func headerPart(arg string, limit int, from func(*Record) [][2]string, shape func(string) string) part {
	names := strings.Split(strings.ToLower(arg), "?")
	return func(dst []byte, r *Record) []byte {
		headers := from(r)
		for _, name := range names {
			i := slices.IndexFunc(headers, func(h [2]string) bool { return h[0] == name })
			if i < 0 {
				continue
			}
			v := shape(headers[i][1])
			if limit >= 0 && len(v) > limit {
				v = v[:limit]
			}
			return text(dst, v)
		}
		return append(dst, '-')
	}
}

// filterStatePart knows PLAIN alone: the other serialisations print Envoy's own objects.
func filterStatePart(arg, command string) (part, error) {
	key, ok := strings.CutSuffix(arg, ":PLAIN")
	if !ok || key == "" {
		return nil, fmt.Errorf("%w %%%s%%: expected FILTER_STATE(key:PLAIN)", ErrUnknownOperator, command)
	}
	return func(dst []byte, r *Record) []byte { return text(dst, string(r.FilterState[key])) }, nil
}

// text appends s, or "-" for nothing. Control bytes are escaped: a filter chooses its filter state,
// and a line end in it would forge a record.
func text(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, '-')
	}
	if strings.IndexFunc(s, unicode.IsControl) < 0 {
		return append(dst, s...)
	}
	quoted := strconv.AppendQuote(nil, s)
	return append(dst, quoted[1:len(quoted)-1]...)
}
