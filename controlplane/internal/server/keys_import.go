package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

const importPath = "/v1/keys/import"

// importedRow is one key of an import. Its secret is hashed at once and is nowhere else.
type importedRow struct {
	Secret         apikey.Secret `json:"secret,omitempty" doc:"The full secret, of which a digest of a digest is kept; exactly one of this and digest is given."`
	Digest         string        `json:"digest,omitempty" doc:"SHA-256 of the full secret, in 64 lower-case hex characters."`
	Last4          string        `json:"last4,omitempty" doc:"With digest: the last characters of the secret, to be shown."`
	PublishableKey string        `json:"publishable_key,omitempty" doc:"The publishable half of a key pair, in clear."`
	AccountID      string        `json:"account_id,omitempty" doc:"The owner of a secret key."`
	ProjectID      string        `json:"project_id,omitempty" doc:"The owner of a key pair."`
	Scheme         string        `json:"scheme" doc:"The name of a configured scheme."`
	Name           string        `json:"name"`
	Environment    string        `json:"environment,omitempty" doc:"production, if it is not given, or staging."`
	ExpiresAt      *instant      `json:"expires_at,omitempty" doc:"In the future; without it the key never expires."`
	ExternalRef    string        `json:"external_ref,omitempty" doc:"The key's name where it comes from."`
	Metadata       metadata      `json:"metadata,omitempty"`
	Routes         []routeRule   `json:"routes,omitempty" nullable:"false"`
	AllowedIPs     []string      `json:"allowed_ips,omitempty" nullable:"false"`
}

type importInput struct {
	IdempotencyInput
	Body struct {
		Keys []importedRow `json:"keys" nullable:"false" minItems:"1" maxItems:"1000" doc:"All of them are made, or none."`
	} `nameHint:"ImportKeysBody"`
}

type importResult struct {
	ID     string `json:"id"`
	Result string `json:"result" enum:"created,existing" doc:"existing: its owner had the key before, and it is left as it is."`
}

type importOutput struct {
	Replayed string `header:"Idempotency-Replayed" doc:"true if an earlier request under this key did it."`
	Body     struct {
		Created  int            `json:"created"`
		Existing int            `json:"existing"`
		Keys     []importResult `json:"keys" nullable:"false" doc:"What became of each key, in the order of the request."`
	} `nameHint:"ImportedKeys"`
}

func (s *Server) registerKeyImport(a huma.API) {
	handle(s, a, importKeys, huma.Operation{
		OperationID: "import-keys", Method: http.MethodPost, Path: importPath,
		Summary: "Import keys that were made elsewhere, all or none",
	}, s.importKeys)
}

func (s *Server) importKeys(ctx context.Context, in *importInput) (*importOutput, error) {
	rows, faults := s.readImport(in.Body.Keys)
	if len(faults) > 0 {
		// The others may have faults that the store alone can find.
		return nil, badRows(append(faults, s.checkImport(ctx, rows, in.Body.Keys, faults)...))
	}
	idem, err := in.idempotent(ctx, "POST "+importPath, rows)
	if err != nil {
		return nil, err
	}
	keys, replayed, err := s.store.ImportKeys(ctx, rows, idem)
	var bad store.BadRows
	if errors.As(err, &bad) {
		return nil, badRows(rowFaults(bad, in.Body.Keys))
	}
	if err != nil {
		return nil, fmt.Errorf("import keys: %w", err)
	}
	out := &importOutput{Replayed: replay(replayed)}
	out.Body.Keys = make([]importResult, len(keys))
	for i, k := range keys {
		out.Body.Keys[i] = importResult{ID: k.ID, Result: "existing"}
		if k.Created {
			out.Body.Keys[i].Result = "created"
			out.Body.Created++
		}
	}
	out.Body.Existing = len(keys) - out.Body.Created
	return out, nil
}
