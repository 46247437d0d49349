package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// schemes are the configured schemes by name. They do not change while the server lives.
type schemes map[string]*apikey.Scheme

func newSchemes(list []*apikey.Scheme) (schemes, error) {
	all := schemes{}
	for _, s := range list {
		if all[s.Name] != nil {
			return nil, fmt.Errorf("new server: Schemes: expected each name once, got %q twice", s.Name)
		}
		all[s.Name] = s
	}
	return all, nil
}

// names lists the schemes for people.
func (s schemes) names() string {
	var names []string
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// toIssue returns the scheme in which a key is asked for.
func (s schemes) toIssue(name string) (*apikey.Scheme, error) {
	if scheme := s[name]; scheme != nil {
		return scheme, nil
	}
	return nil, badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body.scheme", "expected one of: "+s.names())
}

// secretIn reports whether text has the form of a whole secret of some scheme.
func (s schemes) secretIn(text string) bool {
	for _, scheme := range s {
		form := scheme.Secret
		form.Checksum = false
		if form.Match(text) {
			return true
		}
	}
	return false
}

// ofKey returns the scheme of a key that exists, or errSchemeUnusable if the configuration has changed so much
// that no secret of it can be made.
func (s schemes) ofKey(k store.Key) (*apikey.Scheme, error) {
	scheme := s[k.Scheme]
	if scheme == nil || (scheme.Type == apikey.KeyPair) != (k.Publishable != "") {
		return nil, fmt.Errorf("scheme of key %s: %w", k.ID, errSchemeUnusable)
	}
	return scheme, nil
}

// requirements says what an acquire under the scheme needs beside a live key.
func requirements(s *apikey.Scheme) store.Requirements {
	return store.Requirements{DomainVerified: s.DomainVerified, Balance: s.Balance}
}

// mintSecret makes a new secret half. The text is for the reply; the store gets the rest.
func mintSecret(s *apikey.Scheme) (apikey.Secret, *store.NewHalf, error) {
	secret, err := s.Secret.Generate()
	if err != nil {
		return "", nil, err
	}
	return secret, &store.NewHalf{Last4: secret.Last4(), Digest: apikey.DigestOf(secret.Reveal())}, nil
}

// mintPublishable makes a new publishable half of a pair, which is kept and shown in clear.
func mintPublishable(s *apikey.Scheme) (*store.NewHalf, error) {
	text, err := s.Publishable.Generate()
	if err != nil {
		return nil, err
	}
	return &store.NewHalf{Text: text.Reveal(), Last4: text.Last4(), Digest: apikey.DigestOf(text.Reveal())}, nil
}

// unusable turns a format that is too short for secrets into errSchemeUnusable.
func unusable(err error) error {
	if errors.Is(err, apikey.ErrTooWeak) {
		return fmt.Errorf("%w: %w", errSchemeUnusable, err)
	}
	return err
}

// maxStrangers bounds how many unknown scheme names are remembered.
const maxStrangers = 256

// strangers remembers the unknown schemes that gates asked for, so that each is logged once. Beyond maxStrangers
// names, others are not logged at all.
type strangers struct {
	mu   sync.Mutex
	seen map[string]bool
}

// add reports whether name is new.
func (s *strangers) add(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[name] || len(s.seen) == maxStrangers {
		return false
	}
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	s.seen[name] = true
	return true
}
