package server

import (
	"context"
	"net/http"
	"strings"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

const (
	ifMatchHeader = "If-Match"
	ifMatchForm   = `* or a list of the ETags that earlier answers had, each in its quotes`
)

// IfMatchInput is the header of the operations that change one resource which has an ETag.
type IfMatchInput struct {
	IfMatch string `header:"If-Match" maxLength:"1000" doc:"Makes the change only if the resource still has this ETag, of the answer that it was read from; * means any."`
}

// conditional is the input of an operation that can be asked for under a precondition.
type conditional interface {
	// condition returns a context in which the change is made only under the request's precondition, and with an error ctx.
	condition(ctx context.Context) (context.Context, error)
}

func (in *IfMatchInput) condition(ctx context.Context) (context.Context, error) {
	// A resource that is not there is not found, whatever it is asked to be.
	if in.IfMatch == "" || in.IfMatch == "*" {
		return ctx, nil
	}
	tags, ok := strongTags(in.IfMatch)
	if !ok {
		return ctx, badField(http.StatusBadRequest, codeInvalidRequest, "header."+ifMatchHeader, "expected "+ifMatchForm)
	}
	return store.IfTagged(ctx, tags), nil
}

// strongTags reads a list of entity tags (RFC 9110 §13.1.1) and leaves out the weak ones, which match nothing here.
func strongTags(list string) (tags []store.Tag, ok bool) {
	tags = []store.Tag{}
	for {
		list = strings.TrimLeft(list, " \t,")
		if list == "" {
			return tags, ok
		}
		rest, weak := strings.CutPrefix(list, "W/")
		rest, opened := strings.CutPrefix(rest, `"`)
		tag, rest, closed := strings.Cut(rest, `"`)
		rest = strings.TrimLeft(rest, " \t")
		if !opened || !closed || strings.ContainsAny(tag, " \t") || rest != "" && rest[0] != ',' {
			return nil, false
		}
		if !weak {
			tags = append(tags, store.Tag(tag))
		}
		list, ok = rest, true
	}
}

// etag writes a tag as the ETag header does.
func etag(tag store.Tag) string { return `"` + string(tag) + `"` }
