package server

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// metadata are the notes of a key's owner in a request. The store has the same bounds.
type metadata map[string]string

// Schema is called by huma.
func (metadata) Schema(huma.Registry) *huma.Schema {
	most, longest := store.MaxMetadata, store.MaxMetadataValueLen
	value := &huma.Schema{Type: huma.TypeString, MaxLength: &longest}
	value.PrecomputeMessages() // of what is nested in a schema that it did not make huma makes no messages
	return &huma.Schema{Type: huma.TypeObject, MaxProperties: &most, AdditionalProperties: value}
}

const metadataNameForm = "names of 1 to 40 characters from A-Z, a-z, 0-9, . _ and -"

// checked finds what the schema cannot tell of.
func (m metadata) checked() (store.Metadata, error) {
	out, err := store.NewMetadata(m)
	if err != nil {
		return "", badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body.metadata",
			"expected "+metadataNameForm+", and values without control characters")
	}
	return out, nil
}

// metadataQuery reads one entry as a query has it, name=value.
func metadataQuery(text string) (name, value string, err error) {
	name, value, ok := strings.Cut(text, "=")
	if _, err := store.NewMetadata(map[string]string{name: value}); !ok || err != nil {
		return "", "", badField(http.StatusUnprocessableEntity, codeInvalidRequest, "query.metadata",
			"expected one entry as name=value, with "+metadataNameForm)
	}
	return name, value, nil
}
