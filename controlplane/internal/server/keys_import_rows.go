package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// rowFault is one fault of one key of an import.
type rowFault struct {
	index          int
	field, message string
}

// badRows names every fault, by the index of its key and by its field.
func badRows(faults []rowFault) *Problem {
	slices.SortStableFunc(faults, func(a, b rowFault) int { return a.index - b.index })
	errs := make([]FieldError, len(faults))
	rows := 0
	for i, f := range faults {
		if i == 0 || faults[i-1].index != f.index {
			rows++
		}
		errs[i] = FieldError{Location: fmt.Sprintf("body.keys[%d]%s", f.index, f.field), Message: f.message}
	}
	detail := fmt.Sprintf("body.keys: %d of them cannot be imported, so none was; the first: %s: %s", rows, errs[0].Location, errs[0].Message)
	return newProblem(http.StatusUnprocessableEntity, codeInvalidRequest, detail, errs...)
}

// rowReader makes the store's key of one row, and finds what is wrong with it apart from what the store knows.
type rowReader struct {
	index  int
	faults []rowFault
}

func (r *rowReader) fault(field, message string) {
	if field != "" {
		field = "." + field
	}
	r.faults = append(r.faults, rowFault{r.index, field, message})
}

func (r *rowReader) text(field, value string, atLeast, atMost int) {
	if len(value) < atLeast || len(value) > atMost || strings.ContainsFunc(value, unicode.IsControl) {
		r.fault(field, fmt.Sprintf("expected %d to %d bytes without control characters", atLeast, atMost))
	}
}

// readImport makes the store's keys of in. Those with faults are not whole.
func (s *Server) readImport(in []importedRow) ([]store.ImportKey, []rowFault) {
	rows, faults := make([]store.ImportKey, len(in)), []rowFault{}
	for i := range in {
		r := &rowReader{index: i}
		rows[i] = s.readRow(r, &in[i])
		faults = append(faults, r.faults...)
	}
	return rows, faults
}

func (s *Server) readRow(r *rowReader, in *importedRow) store.ImportKey {
	out := store.ImportKey{ExternalRef: in.ExternalRef, NewKey: store.NewKey{
		AccountID: in.AccountID, ProjectID: in.ProjectID, Scheme: in.Scheme, Name: in.Name,
		Environment: store.Environment(in.Environment),
	}}
	r.text("name", in.Name, 1, store.MaxNameLen)
	r.text("external_ref", in.ExternalRef, 0, store.MaxNameLen)
	switch out.Environment {
	case "":
		out.Environment = store.EnvironmentProduction
	case store.EnvironmentProduction, store.EnvironmentStaging:
	default:
		r.fault("environment", "expected production or staging")
	}
	if in.ExpiresAt != nil {
		at, err := expiry(in.ExpiresAt.Time)
		if out.ExpiresAt = at; err != nil {
			r.fault("expires_at", futureForm)
		}
	}
	var err error
	if out.Metadata, err = store.NewMetadata(in.Metadata); err != nil {
		r.fault("metadata", "expected at most 16 entries: "+metadataNameForm+", and values of at most 200 without control characters")
	}
	var p *Problem
	if out.Restriction, err = restrictionOf(in.Routes, in.AllowedIPs); errors.As(err, &p) {
		for _, e := range p.Errors {
			r.fault(strings.TrimPrefix(e.Location, "body."), e.Message)
		}
	}
	scheme := s.schemes[in.Scheme]
	if scheme == nil {
		r.fault("scheme", "expected one of: "+s.schemes.names())
		return out
	}
	out.Prefix, out.RequireDomain = scheme.Secret.Prefix, scheme.DomainVerified
	r.owner(in, scheme)
	r.halves(in, scheme, &out)
	s.confused(r, in, &out)
	return out
}

func (r *rowReader) owner(in *importedRow, scheme *apikey.Scheme) {
	var p *Problem
	if errors.As(checkOwner(&createKeyBody{AccountID: in.AccountID, ProjectID: in.ProjectID}, scheme), &p) {
		for _, e := range p.Errors {
			r.fault(strings.TrimPrefix(e.Location, "body."), strings.ReplaceAll(e.Message, "body.", ""))
		}
	}
}

// halves takes the digests of what identifies the key.
func (r *rowReader) halves(in *importedRow, scheme *apikey.Scheme, out *store.ImportKey) {
	secret := in.Secret.Reveal()
	switch {
	case (secret == "") == (in.Digest == ""):
		r.fault("secret", "expected exactly one of secret and digest")
	case secret != "" && !scheme.Secret.Match(secret):
		r.fault("secret", "expected a secret in the form of its scheme")
	case secret != "":
		out.Digest, out.Last4 = apikey.DigestOf(secret), in.Secret.Last4()
		if in.Last4 != "" {
			r.fault("last4", "expected none beside a secret")
		}
	default:
		var err error
		if out.Digest, err = apikey.ParseDigest(in.Digest); err != nil {
			r.fault("digest", "expected SHA-256 in 64 lower-case hex characters")
		}
		out.Last4 = in.Last4
		r.text("last4", in.Last4, 0, 4)
	}
	switch pair := scheme.Type == apikey.KeyPair; {
	case !pair && in.PublishableKey != "":
		r.fault("publishable_key", "expected none: the scheme is not one of pairs")
	case pair && !scheme.Publishable.Match(in.PublishableKey):
		r.fault("publishable_key", "expected a publishable half in the form of its scheme")
	case pair:
		out.Publishable, out.PublishableDigest = in.PublishableKey, apikey.DigestOf(in.PublishableKey)
	}
}

// confused finds secrets in fields that are kept in clear.
func (s *Server) confused(r *rowReader, in *importedRow, out *store.ImportKey) {
	found := out.Has(in.Secret.Reveal()) || s.schemes.secretIn(in.Name) || s.schemes.secretIn(in.ExternalRef)
	for _, value := range in.Metadata {
		found = found || s.schemes.secretIn(value)
	}
	if found {
		r.fault("", "expected a secret in no other field than secret")
	}
}

// checkImport finds what the store alone can find, in the rows that have no faults.
func (s *Server) checkImport(ctx context.Context, rows []store.ImportKey, in []importedRow, faults []rowFault) []rowFault {
	faulty := map[int]bool{}
	for _, f := range faults {
		faulty[f.index] = true
	}
	var good []store.ImportKey
	var indexes []int
	for i := range rows {
		if !faulty[i] {
			good, indexes = append(good, rows[i]), append(indexes, i)
		}
	}
	if len(good) == 0 {
		return nil
	}
	var bad store.BadRows
	// What else it may say is told once the rows are good.
	_ = errors.As(s.store.CheckImport(ctx, good), &bad)
	for i := range bad {
		bad[i].Index = indexes[bad[i].Index]
	}
	return rowFaults(bad, in)
}

// rowFaults are the store's findings in the API's words.
func rowFaults(bad store.BadRows, in []importedRow) []rowFault {
	faults := make([]rowFault, len(bad))
	for i, b := range bad {
		field, message := b.Field, "expected a key that can be imported"
		if field == "secret" && in[b.Index].Digest != "" {
			field = "digest"
		}
		for _, m := range []struct {
			err  error
			text string
		}{
			{store.ErrRepeated, "expected each key once"},
			{store.ErrAnothers, "expected a key that is nobody else's, nor known under another scheme"},
			{store.ErrNotFound, "expected the id of an owner that there is"},
			{store.ErrAccountNotActive, "expected a project whose account is active"},
			{store.ErrAccountClosed, "expected an owner that is not closed"},
			{store.ErrDomainNotVerified, "expected a project whose domain is verified"},
			{store.ErrInvalid, futureForm},
		} {
			if errors.Is(b.Err, m.err) {
				message = m.text
				break
			}
		}
		faults[i] = rowFault{index: b.Index, message: message}
		if field != "" {
			faults[i].field = "." + field
		}
	}
	return faults
}
