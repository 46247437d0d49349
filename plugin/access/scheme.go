package access

import "github.com/tollgate/tollgate/controlplane/apikey"

// Scheme is a configured scheme with its refusals built.
type Scheme struct {
	*apikey.Scheme
	denials map[apikey.Reason]*Denial
}

func newScheme(s *apikey.Scheme) *Scheme {
	return &Scheme{Scheme: s, denials: denialsOf(&s.Errors)}
}

// Denial returns the refusal for reason; for one that no scheme has, that for Unavailable.
func (s *Scheme) Denial(reason apikey.Reason) *Denial {
	if d := s.denials[reason]; d != nil {
		return d
	}
	return s.denials[apikey.Unavailable]
}
