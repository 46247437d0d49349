package server

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
)

// maxAdminBody is the longest body of an admin request, in bytes.
const maxAdminBody = 1 << 20

// maxImportBody is that of an import, so that its keys have 4 KiB each.
const maxImportBody = 4 << 20

// readBody reads the whole body of a JSON request, at most limit bytes. Without a Content-Type the body is
// taken for JSON; an empty body needs none.
func readBody(c *gin.Context, limit int64) ([]byte, error) {
	r := c.Request
	if r.ContentLength > limit {
		return nil, errBodyTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, r.Body, limit))
	if err != nil {
		return nil, bodyError(err)
	}
	if len(body) > 0 && !jsonContent(r.Header.Values("Content-Type")) {
		return nil, errMediaType
	}
	return body, nil
}

func bodyError(err error) error {
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return errBodyTooLarge
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errBodyTimeout
	}
	return errBodyBroken
}

func jsonContent(contentType []string) bool {
	if len(contentType) == 0 {
		return true
	}
	if len(contentType) > 1 {
		return false
	}
	if contentType[0] == "application/json" {
		return true
	}
	kind, params, err := mime.ParseMediaType(contentType[0])
	charset, other := params["charset"]
	return err == nil && kind == "application/json" && (!other || strings.EqualFold(charset, "utf-8"))
}

// screen refuses what huma would let pass or would refuse with too little said: ambiguous queries and headers,
// and bodies that are not exactly one JSON value. It leaves the body in place for huma to read.
func (s *Server) screen(c *gin.Context) {
	if err := s.screened(c); err != nil {
		s.abort(c, err)
		return
	}
	c.Next()
}

func (s *Server) screened(c *gin.Context) error {
	setValue(c, csvKey, acceptsCSV(c.Request.Header.Values("Accept")))
	// Every other answer is JSON; huma would label it by what the client accepts.
	c.Request.Header.Del("Accept")
	if err := screenQuery(c.Request.URL.RawQuery); err != nil {
		return err
	}
	if v := c.Request.Header.Values(idempotencyKeyHeader); len(v) > 1 || len(v) == 1 && v[0] == "" {
		return badField(http.StatusBadRequest, codeInvalidRequest, "header."+idempotencyKeyHeader, "expected one value, "+idempotencyKeyForm)
	}
	if s.stray(c.Request.Header.Get(idempotencyKeyHeader)) {
		return badField(http.StatusBadRequest, codeInvalidRequest, "header."+idempotencyKeyHeader, strayForm)
	}
	if v := c.Request.Header.Values(ifMatchHeader); len(v) > 0 {
		// Lines of a list are one list; huma would read the first.
		list := strings.Join(v, ",")
		if strings.Trim(list, " \t,") == "" {
			return badField(http.StatusBadRequest, codeInvalidRequest, "header."+ifMatchHeader, "expected "+ifMatchForm)
		}
		c.Request.Header.Set(ifMatchHeader, list)
	}
	if c.Request.Method == http.MethodGet {
		// What comes with it means nothing (RFC 9110 §9.3.1), and no operation says what it would refuse of it.
		c.Request.Body = http.NoBody
		return nil
	}
	limit, values := int64(maxAdminBody), maxValues
	if c.FullPath() == importPath {
		limit, values = maxImportBody, maxImportValues
	}
	body, err := readBody(c, limit)
	if err != nil {
		return err
	}
	if len(body) > 0 {
		tree, err := parseJSON(body, values)
		if err == nil {
			err = s.strays(tree)
		}
		if err != nil {
			return err
		}
	}
	c.Request.Body = io.NopCloser(bytes.NewReader(body))
	// huma knows the type by one spelling.
	c.Request.Header.Set("Content-Type", "application/json")
	return nil
}

// screenQuery refuses a parameter that is repeated or empty, of which huma would take the first value or none, and characters
// that nothing has which could be asked for: SQLite takes NUL for the end of a text.
func screenQuery(raw string) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return badField(http.StatusBadRequest, codeInvalidRequest, "query", "expected parameters in URL encoding, separated by &")
	}
	var errs []FieldError
	for name, values := range query {
		location := "query." + shownName(name)
		switch {
		case len(values) != 1 || values[0] == "":
			errs = append(errs, FieldError{Location: location, Message: "expected exactly one value"})
		case !utf8.ValidString(values[0]) || strings.ContainsFunc(values[0], unicode.IsControl):
			errs = append(errs, FieldError{Location: location, Message: "expected UTF-8 without control characters"})
		}
	}
	if len(errs) == 0 {
		return nil
	}
	sortErrors(errs)
	return newProblem(http.StatusUnprocessableEntity, codeInvalidRequest, summary(errs), errs...)
}

func sortErrors(errs []FieldError) {
	slices.SortFunc(errs, func(a, b FieldError) int {
		return cmp.Or(strings.Compare(a.Location, b.Location), strings.Compare(a.Message, b.Message))
	})
}

// summary is the detail of a problem with several bad fields. Of very many it names the first.
func summary(errs []FieldError) string {
	named := min(len(errs), maxFaults)
	texts := make([]string, named, named+1)
	for i, e := range errs[:named] {
		texts[i] = e.Location + ": " + e.Message
	}
	if more := len(errs) - named; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}
