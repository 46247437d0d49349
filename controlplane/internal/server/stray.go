package server

import (
	"net/http"
	"strings"
)

// keptInClear are the fields of bodies in which people write what they like, and which everybody is shown who may read.
var keptInClear = []string{"name", "reason", "external_ref"}

const strayForm = "expected no secret or token: this is kept and shown in clear"

// strays finds secrets of keys and tokens in what a body wants kept in clear. tree is of parseJSON.
func (s *Server) strays(tree any) error {
	members, _ := tree.(map[string]any)
	var errs []FieldError
	for _, field := range keptInClear {
		if text, ok := members[field].(string); ok && s.stray(text) {
			errs = append(errs, FieldError{Location: "body." + field, Message: strayForm})
		}
	}
	notes, _ := members["metadata"].(map[string]any)
	for _, value := range notes {
		if text, ok := value.(string); ok && s.stray(text) {
			errs = append(errs, FieldError{Location: "body.metadata", Message: strayForm})
			break
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return newProblem(http.StatusUnprocessableEntity, codeInvalidRequest, summary(errs), errs...)
}

// stray reports whether a word of text is a whole secret of some scheme, or a token.
func (s *Server) stray(text string) bool {
	for word := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == '.' || !loggable(string(c)) }) {
		if s.schemes.secretIn(word) || isToken(word) {
			return true
		}
	}
	return false
}

// isToken reports whether text has the form of mintToken.
func isToken(text string) bool {
	rest, ok := strings.CutPrefix(text, tokenStart)
	_, random, found := strings.Cut(rest, "_")
	return ok && found && len(random) == 43
}
