package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// pageSize is how many rows are asked for at a time, as many as there may be.
const pageSize = 100

// page is the body of every list.
type page[T any] struct {
	Data       []T     `json:"data"`
	HasMore    bool    `json:"has_more"`
	NextCursor *string `json:"next_cursor"`
}

// list goes through all pages at path. It stops after an error, which is the last thing that it yields.
func list[T any](ctx context.Context, c *Client, path string, query any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		q := queryOf(query)
		q.Set("limit", strconv.Itoa(pageSize))
		for {
			call := &call{method: http.MethodGet, path: path, query: q, header: http.Header{}}
			var p page[T]
			if err := c.do(ctx, call, &p); err != nil {
				yield(*new(T), err)
				return
			}
			for _, row := range p.Data {
				if !yield(row, nil) {
					return
				}
			}
			if !p.HasMore || p.NextCursor == nil {
				return
			}
			q.Set("cursor", *p.NextCursor)
		}
	}
}

// queryOf makes a query of a struct's fields, each by the name in its tag, or of nil. Fields that are empty are left out.
func queryOf(filter any) url.Values {
	q := url.Values{}
	if filter == nil {
		return q
	}
	v := reflect.ValueOf(filter)
	for i := range v.NumField() {
		if text := queryText(v.Field(i).Interface()); text != "" {
			q.Set(v.Type().Field(i).Tag.Get("query"), text)
		}
	}
	return q
}

func queryText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []string:
		return strings.Join(v, ",")
	case time.Time:
		if !v.IsZero() {
			return v.UTC().Format(time.RFC3339Nano)
		}
	}
	return ""
}
