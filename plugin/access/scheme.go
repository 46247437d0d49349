package access

import "github.com/tollgate/tollgate/controlplane/apikey"

// Scheme is a configured scheme with its refusals built.
type Scheme struct {
	*apikey.Scheme
	// Number tells the schemes of a configuration apart, for Leases.Tag.
	Number  int
	denials map[apikey.Reason]*Denial
	formats []*apikey.Format
}

func newScheme(s *apikey.Scheme, number int) *Scheme {
	return &Scheme{Scheme: s, Number: number, denials: denialsOf(&s.Errors), formats: s.Formats()}
}

// Formats is apikey.Scheme's, and allocates nothing.
func (s *Scheme) Formats() []*apikey.Format { return s.formats }

// Denial returns the refusal for reason; for one that no scheme has, that for Unavailable.
func (s *Scheme) Denial(reason apikey.Reason) *Denial {
	if d := s.denials[reason]; d != nil {
		return d
	}
	return s.denials[apikey.Unavailable]
}
