package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate/tollgate/controlplane/client"
)

// When is a time to come, or how long from now on; its zero value is never.
type When struct {
	time time.Time
	from time.Duration
}

// UnmarshalText is called by kong.
func (f *When) UnmarshalText(text []byte) (err error) {
	if f.time, err = time.Parse(time.RFC3339, string(text)); err == nil {
		return nil
	}
	if f.from, err = span(string(text)); err == nil {
		return nil
	}
	return errors.New("expected a time such as 2026-12-31T00:00:00Z, or how long from now on, such as 90d or 12h")
}

// At is the time, nil for never.
func (f *When) At(now time.Time) *time.Time {
	switch {
	case !f.time.IsZero():
		return &f.time
	case f.from == 0:
		return nil
	}
	at := now.Add(f.from)
	return &at
}

var errSpan = errors.New("expected a time such as 90d or 12h, more than 0")

// span reads a duration, in which d is a day.
func span(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
		return 0, errSpan
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, errSpan
	}
	return d, nil
}

// Since is a time that is over, or how long ago; its zero value is no bound.
type Since struct {
	time time.Time
	ago  time.Duration
}

// UnmarshalText is called by kong.
func (f *Since) UnmarshalText(text []byte) (err error) {
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if f.time, err = time.Parse(form, string(text)); err == nil {
			return nil
		}
	}
	if f.ago, err = span(string(text)); err == nil {
		return nil
	}
	return errors.New("expected a time such as 2026-12-31T00:00:00Z, a day (in UTC) such as 2026-12-31, or how long ago, such as 7d or 12h")
}

// at is the time, zero for none.
func (f *Since) at(now time.Time) time.Time {
	if f.ago == 0 {
		return f.time
	}
	return now.Add(-f.ago)
}

// route is one --route.
type route client.Route

// UnmarshalText is called by kong.
func (r *route) UnmarshalText(text []byte) error {
	methods, path, ok := strings.Cut(string(text), " ")
	if !ok {
		methods, path = "", string(text)
	}
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("expected a path such as /v1/chat, a prefix such as /v1/*, or either after methods such as 'GET,POST /v1/*'")
	}
	if methods != "" {
		r.Methods = strings.Split(methods, ",")
	}
	if prefix, ok := strings.CutSuffix(path, "*"); ok {
		r.Prefix = prefix
	} else {
		r.Path = path
	}
	return nil
}

func routesOf(flags []route) []client.Route {
	var routes []client.Route
	for _, r := range flags {
		routes = append(routes, client.Route(r))
	}
	return routes
}

// routeText is the flag that makes a route.
func routeText(r client.Route) string {
	text := r.Path
	if r.Prefix != "" {
		text = r.Prefix + "*"
	}
	if len(r.Methods) > 0 {
		text = strings.Join(r.Methods, ",") + " " + text
	}
	return text
}

// orNil is nil for a flag that was not given.
func orNil(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
