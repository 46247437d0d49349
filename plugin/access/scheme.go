package access

import "github.com/tollgate/tollgate/controlplane/apikey"

// Scheme is one way of presenting a key and of being refused.
type Scheme struct {
	// Name is the operator's name for it, and the control plane's.
	Name string
	// Format is the shape of the key; what does not match it is refused without a callout.
	Format *apikey.Format
	// Bearer: the key is taken from "Authorization: Bearer <key>" (RFC 6750 §2.1).
	Bearer bool
	// Header names one more header whose whole value is the key, in lower case; empty for none.
	Header string

	denials [reasonCount]*Denial
}

// Denial returns the refusal for reason.
func (s *Scheme) Denial(reason Reason) *Denial {
	if d := s.denials[reason]; d != nil {
		return d
	}
	return s.denials[Unavailable]
}

// genrex is the preset of that name: contracts/genrex.txt as published.
func genrex(name string) *Scheme {
	return &Scheme{
		Name:    name,
		Format:  &apikey.Genrex,
		Bearer:  true,
		Header:  "x-api-key",
		denials: genrexDenials(),
	}
}

// presets are the schemes that a configuration can name.
var presets = map[string]func(name string) *Scheme{
	"genrex": genrex,
}
