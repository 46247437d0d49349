package server

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// PageLimit is the part of a list's query that bounds a page.
type PageLimit struct {
	Limit int `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"How many to return."`
}

// PageQuery is the part of a list's query that pages through it.
type PageQuery struct {
	PageLimit
	Cursor string `query:"cursor" maxLength:"200" doc:"The next_cursor of the page before."`
}

// list is the body of every list.
type list[T any] struct {
	Data       []T     `json:"data" nullable:"false"`
	HasMore    bool    `json:"has_more"`
	NextCursor *string `json:"next_cursor" doc:"Where the next page starts; null on the last one."`
}

type listOutput[T any] struct{ Body list[T] }

// page reads the query for the list named kind, whose ids start with prefix.
func (q *PageQuery) page(kind, prefix string) (store.Page, error) {
	if q.Cursor == "" {
		return store.Page{Limit: q.Limit}, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(q.Cursor)
	of, id, _ := strings.Cut(string(raw), ":")
	if err != nil || of != kind || !isID(id, prefix) {
		return store.Page{}, badCursor()
	}
	return store.Page{Limit: q.Limit, After: id}, nil
}

func badCursor() *Problem {
	return badField(http.StatusUnprocessableEntity, codeInvalidRequest, "query.cursor", "expected the next_cursor of an earlier page of this list")
}

// isID reports whether s looks like an id with this prefix: letters and digits follow it, few enough to be one.
func isID(s, prefix string) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	return ok && loggable(rest) && !strings.ContainsAny(rest, "._-")
}

// newList turns rows of the store into a page of the list named kind.
func newList[R, T any](kind string, rows []R, more bool, show func(R) T, id func(R) string) *listOutput[T] {
	out := &listOutput[T]{Body: list[T]{Data: make([]T, len(rows)), HasMore: more}}
	for i, r := range rows {
		out.Body.Data[i] = show(r)
	}
	if more {
		next := base64.RawURLEncoding.EncodeToString([]byte(kind + ":" + id(rows[len(rows)-1])))
		out.Body.NextCursor = &next
	}
	return out
}
