package server

import (
	"net/http"

	"github.com/tollgate/tollgate/controlplane/internal/domain"
)

// readDomain returns the domain that text names, as it is kept; the error names body.domain and what was expected.
func readDomain(text string) (string, error) {
	name, err := domain.Normalize(text)
	if err != nil {
		return "", badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body.domain", err.Error())
	}
	return name, nil
}
