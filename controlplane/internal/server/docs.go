package server

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
)

//go:embed docs.html
var docsHTML string

//go:embed docs.css
var docsCSS string

var docsTemplate = template.Must(template.New("docs").Parse(docsHTML))

// docsPage is what the page shows of the document.
type docsPage struct {
	Title, Description string
	CSS                template.CSS
	Tags               []docsTag
	Codes              []docsCode
	Schemas            []docsSchema
}

type docsTag struct {
	Name, Description string
	Operations        []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary string
	Description               []string
	Parameters, Body          []docsField
	BodySchema                string
	Responses                 []docsResponse
}

type docsField struct {
	Name, In, Text string
	Required       bool
	Type           docsType
}

// docsType is the type of a field: words, and the schema to which they lead.
type docsType struct{ Text, Schema string }

type docsResponse struct {
	Status, Text string
	Schema       string
	Headers      string
	// Refused tells that the answer is a problem.
	Refused bool
}

type docsCode struct {
	Code     Code
	Statuses string
	Detail   string
}

type docsSchema struct {
	Name   string
	Fields []docsField
}

// serveDocs serves a page that shows the document to people. It is whole as it is: no script, nothing from elsewhere.
func serveDocs(e *gin.Engine, doc *huma.OpenAPI) error {
	var page bytes.Buffer
	if err := docsTemplate.Execute(&page, newDocsPage(doc)); err != nil {
		return fmt.Errorf("make the page of the admin API: %w", err)
	}
	sum := sha256.Sum256([]byte(docsCSS))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	e.GET("/docs", func(c *gin.Context) {
		c.Header("Content-Security-Policy", policy)
		c.Header("Referrer-Policy", "no-referrer")
		c.Data(http.StatusOK, "text/html; charset=utf-8", page.Bytes())
	})
	return nil
}

func newDocsPage(doc *huma.OpenAPI) docsPage {
	p := docsPage{Title: doc.Info.Title, Description: doc.Info.Description, CSS: template.CSS(docsCSS), Codes: docsCodes()}
	for _, tag := range append(slices.Clone(doc.Tags), &huma.Tag{Name: "other"}) {
		shown := docsTag{Name: tag.Name, Description: tag.Description}
		for _, op := range operationsOf(doc) {
			if slices.Contains(op.Tags, tag.Name) || len(op.Tags) == 0 && tag.Name == "other" {
				shown.Operations = append(shown.Operations, showOperation(doc, op))
			}
		}
		if len(shown.Operations) > 0 {
			p.Tags = append(p.Tags, shown)
		}
	}
	schemas := doc.Components.Schemas.Map()
	for _, name := range sortedKeys(schemas) {
		p.Schemas = append(p.Schemas, docsSchema{Name: name, Fields: fieldsOf(schemas[name])})
	}
	return p
}

func showOperation(doc *huma.OpenAPI, op *huma.Operation) docsOperation {
	out := docsOperation{
		ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary, Description: strings.Split(op.Description, "\n\n"),
	}
	for _, p := range op.Parameters {
		out.Parameters = append(out.Parameters, docsField{
			Name: p.Name, In: p.In, Required: p.Required, Text: p.Description, Type: typeOf(p.Schema),
		})
	}
	if op.RequestBody != nil {
		s := op.RequestBody.Content["application/json"].Schema
		out.BodySchema = schemaName(s)
		if out.BodySchema != "" {
			s = doc.Components.Schemas.SchemaFromRef(s.Ref)
		}
		out.Body = fieldsOf(s)
	}
	for _, status := range sortedKeys(op.Responses) {
		r := op.Responses[status]
		shown := docsResponse{Status: status, Text: r.Description, Headers: strings.Join(sortedKeys(r.Headers), ", ")}
		for _, kind := range sortedKeys(r.Content) {
			shown.Refused = shown.Refused || kind == problemType
			shown.Schema = cmp.Or(shown.Schema, schemaName(r.Content[kind].Schema))
		}
		out.Responses = append(out.Responses, shown)
	}
	return out
}

func fieldsOf(s *huma.Schema) []docsField {
	fields := make([]docsField, 0, len(s.Properties))
	for _, name := range sortedKeys(s.Properties) {
		property := s.Properties[name]
		fields = append(fields, docsField{
			Name: name, Required: slices.Contains(s.Required, name), Text: property.Description, Type: typeOf(property),
		})
	}
	return fields
}

// typeOf says in words what a schema takes.
func typeOf(s *huma.Schema) docsType {
	switch {
	case s == nil:
		return docsType{Text: "anything"}
	case s.Ref != "":
		return docsType{schemaName(s), schemaName(s)}
	case len(s.AnyOf) > 0:
		words := make([]string, len(s.AnyOf))
		for i, of := range s.AnyOf {
			words[i] = typeOf(of).Text
		}
		return docsType{Text: strings.Join(words, " or ")}
	case s.Type == huma.TypeArray:
		of := typeOf(s.Items)
		return docsType{"list of " + of.Text + bounds("", s.MinItems, s.MaxItems), of.Schema}
	}
	text := cmp.Or(s.Type, "anything")
	if s.Format != "" && s.Format != "int64" {
		text += " (" + s.Format + ")"
	}
	if len(s.Enum) > 0 {
		words := make([]string, len(s.Enum))
		for i, e := range s.Enum {
			words[i] = fmt.Sprint(e)
		}
		text = strings.Join(words, ", ")
	}
	text += bounds(" characters", s.MinLength, s.MaxLength) + bounds("", s.Minimum, s.Maximum)
	if s.Nullable {
		text += " or null"
	}
	if s.Default != nil {
		text += fmt.Sprintf("; %v if absent", s.Default)
	}
	return docsType{Text: text}
}

func bounds[N int | float64](unit string, low, high *N) string {
	show := func(n N) string { return strconv.FormatFloat(float64(n), 'f', -1, 64) }
	switch {
	case low != nil && high != nil:
		return ", " + show(*low) + " to " + show(*high) + unit
	case low != nil:
		return ", at least " + show(*low) + unit
	case high != nil:
		return ", at most " + show(*high) + unit
	}
	return ""
}

func schemaName(s *huma.Schema) string {
	if s == nil {
		return ""
	}
	return s.Ref[strings.LastIndex(s.Ref, "/")+1:]
}

// docsCodes are the codes of errors, by their names.
func docsCodes() []docsCode {
	all := map[Code]docsCode{}
	for _, r := range refusals {
		c := all[r.code]
		status := strconv.Itoa(r.status)
		if !strings.Contains(c.Statuses, status) {
			c.Statuses = strings.TrimPrefix(c.Statuses+", "+status, ", ")
		}
		if c.Code = r.code; c.Detail == "" {
			c.Detail = r.detail
		}
		all[r.code] = c
	}
	p := internalProblem()
	all[p.Code] = docsCode{p.Code, strconv.Itoa(p.Status), p.Detail}
	c := all[codeInvalidRequest]
	c.Detail = "the request is malformed or a value is out of its range; errors names each part"
	c.Statuses = "400, 408, 422"
	all[codeInvalidRequest] = c
	codes := slices.Collect(maps.Values(all))
	slices.SortFunc(codes, func(a, b docsCode) int { return strings.Compare(string(a.Code), string(b.Code)) })
	return codes
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
