package access

import "github.com/tollgate/tollgate/controlplane/apikey"

// Scheme is a configured scheme with its refusals built.
type Scheme struct {
	*apikey.Scheme
	// Number tells the schemes of a configuration apart, for Leases.Tag.
	Number  int
	denials map[apikey.Reason]*Denial
	// formats are the parts of a key, and matchers judge what was offered for each.
	formats  []*apikey.Format
	matchers []apikey.Matcher
	// The headers that the parts are taken from, and that of the conversation.
	bearer, secret, publishable, conversation nameID
}

// newScheme builds a scheme whose headers are added to names.
func newScheme(s *apikey.Scheme, number int, n *names) *Scheme {
	built := &Scheme{Scheme: s, Number: number, denials: denialsOf(&s.Errors), formats: s.Formats()}
	for _, f := range built.formats {
		built.matchers = append(built.matchers, f.Matcher())
	}
	if s.Bearer {
		built.bearer = n.add("authorization", true)
	}
	built.secret, built.publishable = n.add(s.SecretHeader, true), n.add(s.PublishableHeader, true)
	built.conversation = n.add(s.ConversationHeader, false)
	return built
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
