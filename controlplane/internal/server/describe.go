package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// tags are the parts of the API, in the order in which the document shows them. An operation belongs to the one that its path
// names last, or to its first noun.
var tags = []*huma.Tag{
	{Name: "accounts", Description: "Who pays. An account owns one wallet, secret keys and projects."},
	{Name: "credits", Description: "Wallets, and everything that moved credits in or out of them."},
	{Name: "projects", Description: "An account's sites, each with one domain and its key pairs."},
	{Name: "domains", Description: "Whether a project's domain is its account's: by a challenge, or by an admin's word."},
	{Name: "keys", Description: "What API clients send. A secret is shown once, by the answer that makes it."},
	{Name: "usage", Description: "What was used, summed from the reports of the gates."},
	{Name: "explain", Description: "What a gate would decide, and why."},
	{Name: "audit", Description: "Who changed what."},
	{Name: "tokens", Description: "What the callers of this API and the gates send."},
	{Name: "operations", Description: "How the server is, and copies of what it knows."},
}

// tagOfNoun names the part of the API that a noun of a path belongs to, where that is not the noun itself.
var tagOfNoun = map[string]string{
	"wallet": "credits", "entries": "credits", "statement": "credits", "domain": "domains", "status": "operations", "backups": "operations",
}

func tagOf(path string) string {
	tag := ""
	for noun := range strings.SplitSeq(strings.TrimPrefix(path, "/v1/"), "/") {
		if of, ok := tagOfNoun[noun]; ok {
			noun = of
		}
		for _, t := range tags {
			if t.Name == noun {
				tag = noun
			}
		}
	}
	return tag
}

// describe adds to an operation what all of them have in common.
func describe(op *huma.Operation, may permission) {
	op.Extensions = map[string]any{"x-permission": may, "x-roles": grants[may]}
	op.Security = []map[string][]string{{"token": {}}}
	if tag := tagOf(op.Path); tag != "" {
		op.Tags = []string{tag}
	}
	needs := fmt.Sprintf("Needs the permission %s. Roles: %s.", may, holders(grants[may]))
	op.Description = strings.TrimSpace(op.Description + "\n\n" + needs)
}

// holders lists roles for people.
func holders(roles []store.Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		if names[i] = string(r); r == store.RoleAccount {
			names[i] = "account (what is its own)"
		}
	}
	return strings.Join(names, ", ")
}

// describeHeaders says which headers the answers have that are no operation's own.
func describeHeaders(doc *huma.OpenAPI) {
	header := func(text, kind string) *huma.Param {
		return &huma.Param{Description: text, Schema: &huma.Schema{Type: kind}}
	}
	for _, op := range operationsOf(doc) {
		for status, response := range op.Responses {
			if response.Headers == nil {
				response.Headers = map[string]*huma.Param{}
			}
			response.Headers[requestIDHeader] = header("The request's id, as the log and the audit log have it: the sender's own if that can be one.", huma.TypeString)
			switch status {
			case "409", "429":
				response.Headers["Retry-After"] = header("Seconds to wait.", huma.TypeInteger)
			case "401":
				response.Headers["WWW-Authenticate"] = header("How to authenticate (RFC 6750).", huma.TypeString)
			}
		}
	}
}

// operationsOf returns the operations of the document, those of one path together.
func operationsOf(doc *huma.OpenAPI) []*huma.Operation {
	var all []*huma.Operation
	for _, path := range sortedKeys(doc.Paths) {
		item := doc.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op != nil {
				all = append(all, op)
			}
		}
	}
	return all
}

// errorsOf are the statuses of the refusals that every operation may answer with, and those of its kind.
func errorsOf(op *huma.Operation, may permission, in any) []int {
	statuses := []int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity,
		http.StatusTooManyRequests, http.StatusServiceUnavailable,
	}
	if strings.Contains(op.Path, "{id}") || slices.Contains(grants[may], store.RoleAccount) {
		statuses = append(statuses, http.StatusNotFound)
	}
	if op.Method != http.MethodGet {
		statuses = append(statuses, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if _, ok := in.(conditional); ok {
		statuses = append(statuses, http.StatusPreconditionFailed)
	}
	if _, ok := in.(repeatable); ok {
		statuses = append(statuses, http.StatusConflict)
	}
	return statuses
}
