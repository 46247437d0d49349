package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/danielgtaylor/huma/v2/validation"
	"github.com/gin-gonic/gin"
)

// huma keeps these in package variables. No other package of this program uses huma.
func init() {
	huma.ValidateStrictCasing = true
	huma.NewError = func(status int, detail string, errs ...error) huma.StatusError {
		return humaProblem(context.Background(), status, detail, errs)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, detail string, errs ...error) huma.StatusError {
		return humaProblem(ctx.Context(), status, detail, errs)
	}
	validation.MsgUnexpectedProperty = "unknown field"
	validation.MsgExpectedRequiredProperty = requiredMark + "%s"
	validation.MsgExpectedInteger = "expected an integer, written without fraction and exponent"
	validation.MsgExpectedMinimumNumber = "expected an integer of at least %.0f"
	validation.MsgExpectedMaximumNumber = "expected an integer of at most %.0f"
	validation.MsgExpectedMinLength = "expected at least %d characters"
	validation.MsgExpectedMaxLength = "expected at most %d characters"
	validation.MsgExpectedBePattern = "expected %s"
	validation.MsgExpectedString = "expected a string"
	validation.MsgExpectedObject = "expected an object"
	validation.MsgExpectedOneOf = "expected one of: %s"
	validation.MsgExpectedRFC3339DateTime = timeForm
	// The only choice of schemas is that of clearableInstant.
	validation.MsgExpectedMatchAtLeastOneSchema = timeForm + " or null"
}

// requiredMark begins huma's message for a missing field, whose location is the object that lacks it. A
// FieldError names the field itself.
const requiredMark = "required:"

// maxShown is how many faults of a body are told at once: enough for one in each key of an import.
const maxShown = 1000

// humaProblem makes a Problem of what huma found. Of huma's details it takes the location and the message,
// which are made of the schema alone, and leaves the value, which repeats the request.
func humaProblem(ctx context.Context, status int, detail string, errs []error) *Problem {
	fields := make([]FieldError, 0, len(errs))
	for _, err := range errs {
		var d *huma.ErrorDetail
		if !errors.As(err, &d) {
			continue
		}
		f := FieldError{Location: shownLocation(d.Location), Message: d.Message}
		if name, ok := strings.CutPrefix(d.Message, requiredMark); ok {
			f = FieldError{Location: f.Location + "." + name, Message: "expected a value, got none"}
		}
		fields = append(fields, f)
	}
	sortErrors(fields)
	fields = fields[:min(len(fields), maxShown)]
	if len(fields) > 0 {
		detail = summary(fields)
	}
	p := newProblem(status, codeOfStatus(status), detail, fields...)
	p.RequestID = requestID(ctx)
	return p
}

// shownLocation hides names that the client made up and that are too long or too odd to be a slip of the pen. A fault
// within a list is shown at the list.
func shownLocation(location string) string {
	parts := strings.Split(location, ".")
	if parts[0] != "body" {
		location, _, _ = strings.Cut(location, "[")
		parts = strings.SplitN(location, ".", 2)
	}
	shown := parts[0]
	for _, part := range parts[1:] {
		name, index, listed := strings.Cut(part, "[")
		shown += "." + shownName(name)
		if n, err := strconv.Atoi(strings.TrimSuffix(index, "]")); listed && err == nil {
			shown += "[" + strconv.Itoa(n) + "]"
		}
	}
	return shown
}

func codeOfStatus(status int) Code {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return codeBodyTooLarge
	case http.StatusUnsupportedMediaType:
		return codeUnsupportedMediaType
	}
	if status >= http.StatusInternalServerError {
		return codeInternal
	}
	return codeInvalidRequest
}

// unmarshal is huma's reader of bodies that screen has let pass: first into a tree to validate, then into the
// operation's own type.
func unmarshal(body []byte, v any) error {
	tree, ok := v.(*any)
	if !ok {
		return json.Unmarshal(body, v)
	}
	parsed, err := parseJSON(body, maxImportValues)
	if err != nil {
		return err
	}
	*tree = withIntegers(parsed)
	return nil
}

// withIntegers replaces the numbers that are written as integers by numbers that huma can compare. The others
// stay json.Number, which no schema of ours accepts: an amount of 1e3 or 1.0 is refused, not interpreted.
func withIntegers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = withIntegers(e)
		}
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n
		}
		if !strings.ContainsAny(v.String(), ".eE") {
			// Out of range, it becomes an infinity, which is above every maximum too.
			f, _ := v.Float64()
			return f
		}
	}
	return v
}

func (s *Server) adminEngine() (http.Handler, error) {
	e := s.engine("admin")
	group := e.Group("", s.authenticate(s.store.TokenByDigest, s.allowAdmin), s.screen, withoutDeadline)
	a := humagin.NewWithGroup(e, group, adminConfig())
	s.registerAccounts(a)
	s.registerCredits(a)
	s.registerWallets(a)
	s.registerStatements(a)
	s.registerProjects(a)
	s.registerDomains(a)
	s.registerKeys(a)
	s.registerUsage(a)
	s.registerExplain(a)
	s.registerAudit(a)
	s.registerTokens(a)
	s.registerOperations(a)
	if err := errors.Join(s.faults...); err != nil {
		return nil, fmt.Errorf("describe the admin API: %w", err)
	}
	dropPatternDescriptions(a.OpenAPI())
	describeHeaders(a.OpenAPI())
	doc, err := json.Marshal(a.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("describe the admin API: %w", err)
	}
	e.GET("/openapi.json", func(c *gin.Context) { c.Data(http.StatusOK, "application/json", doc) })
	return e, serveDocs(e, a.OpenAPI())
}

// dropPatternDescriptions removes huma's own keyword, which strict readers of OpenAPI refuse. The messages made of
// it stay.
func dropPatternDescriptions(doc *huma.OpenAPI) {
	for _, s := range doc.Components.Schemas.Map() {
		for _, property := range s.Properties {
			property.PatternDescription = ""
			if property.Items != nil {
				property.Items.PatternDescription = ""
			}
		}
	}
	for _, op := range operationsOf(doc) {
		for _, p := range op.Parameters {
			p.Schema.PatternDescription = ""
		}
	}
}

// adminConfig starts from nothing rather than from huma's defaults, which add $schema links and a page that
// loads scripts from elsewhere.
func adminConfig() huma.Config {
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Tollgate admin API", Version: "1",
				Description: "Accounts, their credits, projects and API keys. Errors are RFC 9457 problems with a stable code. " +
					"Lists are newest first and continue at next_cursor.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", Description: "A token of any role but gate. x-permission of an operation is what the role has to have, x-roles are those that have it; a token of role account is kept to its account."},
				},
			},
			Security: []map[string][]string{{"token": {}}},
			Tags:     tags,
		},
		// The second name is how huma finds the format of a problem.
		Formats:                      map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
}

// handle registers an operation for the callers that have the permission. Errors of do are answered by the table in
// errors.go.
func handle[I, O any](s *Server, a huma.API, may permission, op huma.Operation, do func(context.Context, *I) (*O, error)) {
	s.require(may, op.Method, op.Path, new(I))
	describe(&op, may)
	// screen has bounded the body already, and by another status than huma's.
	op.MaxBodyBytes = -1
	op.Errors = append(op.Errors, errorsOf(&op, may, new(I))...)
	huma.Register(a, op, func(ctx context.Context, in *I) (*O, error) {
		ctx, flight := s.flights.follow(ctx)
		defer flight.end()
		err := s.confine(ctx, in)
		if c, ok := any(in).(conditional); ok && err == nil {
			ctx, err = c.condition(ctx)
		}
		var out *O
		if err == nil {
			out, err = do(ctx, in)
		}
		if err != nil {
			return nil, s.problemOf(ctx, err)
		}
		return out, nil
	})
}
