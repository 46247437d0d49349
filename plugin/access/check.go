package access

import (
	"slices"
	"strings"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

// Action is what the filter has to do next.
type Action uint8

const (
	// Refuse: send Decision.Denial.
	Refuse Action = iota
	// Pass: forward the request, having made Decision.Edits.
	Pass
	// Ask: send an acquire for Decision.Digests to the control plane and hand the outcome to Judge.
	Ask
	// Answer: send Decision.Answer; the request was a CORS preflight.
	Answer
)

// Decision is the verdict on one request. The zero value refuses with no denial set; Check never leaves it so.
type Decision struct {
	Action Action
	// Denial is set when Action is Refuse.
	Denial *Denial
	// Route is set unless no route was found.
	Route *Route
	// Parts are the secrets of the key that was offered, in the order of the scheme's formats, set when Action is Ask.
	Parts [2]string
	// Edits are made to the request headers before it goes upstream, whatever is decided later.
	Edits Edits
	// Conversation says what became of the scheme's conversation header; ConversationID is its value if it passed.
	Conversation   Conversation
	ConversationID string
	// Answer is the response to a preflight, set when Action is Answer: status 204 and these headers.
	Answer [][2]string

	// marks are the headers that have to be looked at.
	marks []mark
}

// Forget makes d refer to nothing of the request it was about, and keeps its memory for another one.
func (d *Decision) Forget() {
	remove := d.Edits.Remove[:cap(d.Edits.Remove)]
	clear(remove)
	*d = Decision{Edits: Edits{Remove: remove[:0]}, marks: d.marks[:0]}
}

// Digests are SHA-256 of each of d's parts, in the order of the scheme's formats, in lower-case hex.
func (d *Decision) Digests() []string {
	var digests []string
	for i := range d.Route.Scheme.Formats() {
		digests = append(digests, apikey.DigestOf(d.Parts[i]).Hex())
	}
	return digests
}

// Conversation is what became of a request's conversation header.
type Conversation uint8

const (
	// NoConversation: there was none, or the route's scheme has none.
	NoConversation Conversation = iota
	// ConversationPassed: it goes upstream as it came.
	ConversationPassed
	// ConversationRemoved: it was repeated, too long or not visible ASCII, and goes nowhere.
	ConversationRemoved
)

// maxConversationLen bounds a conversation id, in characters.
const maxConversationLen = 128

// Edits are changes to the request headers: first every name in Remove goes, with all its values, then Add
// is appended.
type Edits struct {
	Remove []string
	Add    [][2]string
}

// Prefix of the headers that only Tollgate may set.
const identityPrefix = "x-tollgate-"

// The identity headers an upstream gets, and what a client may be shown.
const (
	HeaderAccount = "x-tollgate-account-id"
	HeaderProject = "x-tollgate-project-id"
	HeaderKey     = "x-tollgate-key-id"
	HeaderCost    = "x-tollgate-cost"

	HeaderRemaining = "x-credits-remaining"
)

// Check reads the headers of one request, pseudo-headers included, in the order and spelling in which the
// proxy has them, and decides what to do. It overwrites d and reuses its memory: for a request with a key it allocates
// nothing once d has served a few. d refers to strings of headers.
func (c *Config) Check(d *Decision, headers [][2]string) {
	*d = Decision{Edits: Edits{Remove: d.Edits.Remove[:0]}, marks: d.marks[:0]}
	var t target
	d.marks = c.names.look(&t, d.marks, headers)
	c.decide(d, &t, headers)
	if d.Denial != nil && d.Route != nil && d.Route.Shadow {
		// It goes upstream all the same.
		for _, m := range d.marks {
			if m.private {
				d.Edits.remove(headers[m.header][0])
			}
		}
	}
}

// decide is Check of a decision that has its marks and nothing else.
func (c *Config) decide(d *Decision, t *target, headers [][2]string) {
	t.settle(d.marks, headers)
	path, ok := routePath(t.path)
	if !ok {
		d.Denial = badPath
		return
	}
	if t.method == "OPTIONS" && c.preflight(d, t, path, headers) {
		return
	}
	d.Route = c.route(t.method, path)
	switch {
	case d.Route == nil:
		d.Denial = noRoute
	case d.Route.Scheme == nil && !t.authorityOK:
		d.Denial = badAuthority
	case d.Route.Scheme == nil:
		d.Action = Pass
		d.Edits = c.editsForOpenRoute(d.marks, headers)
	case !t.authorityOK:
		d.Denial = d.Route.Scheme.Denial(apikey.InvalidRequest)
	default:
		c.authenticate(d, headers)
	}
}

// authenticate reads the one key that the headers offer for the scheme of d's route.
func (c *Config) authenticate(d *Decision, headers [][2]string) {
	scheme := d.Route.Scheme
	found := credentials{scheme: scheme}
	for _, m := range d.marks {
		found.add(m, headers[m.header][1])
		if m.private {
			d.Edits.remove(headers[m.header][0])
		}
	}
	parts, reason := found.key()
	if reason != "" {
		d.Denial = scheme.Denial(reason)
		return
	}
	d.Action = Ask
	d.Parts = parts
	if scheme.conversation != otherName {
		d.converse(headers)
	}
}

// converse judges the conversation header of d's scheme: one, under its own name, passes if it is valid; anything
// else under any spelling of the name is removed.
func (d *Decision) converse(headers [][2]string) {
	seen, last := 0, mark{}
	for _, m := range d.marks {
		if m.name == d.Route.Scheme.conversation {
			seen++
			last = m
		}
	}
	switch {
	case seen == 0:
	case seen == 1 && last.exact && validConversation(headers[last.header][1]):
		d.Conversation = ConversationPassed
		d.ConversationID = headers[last.header][1]
	default:
		d.Conversation = ConversationRemoved
		for _, m := range d.marks {
			if m.name == last.name {
				d.Edits.remove(headers[m.header][0])
			}
		}
	}
}

func validConversation(id string) bool {
	for i := 0; i < len(id); i++ {
		if id[i] < 0x21 || id[i] > 0x7e {
			return false
		}
	}
	return id != "" && len(id) <= maxConversationLen
}

// Denial returns the refusal of a request on r, a route with a scheme, by a verdict that denies. A verdict that nobody
// gave, or nobody knows, is "".
func (r *Route) Denial(v api.Verdict) *Denial { return r.Scheme.Denial(reasonOf(v)) }

// Undecided returns the refusal of a request on r, a route with a scheme, that nobody can decide upon, or nil if r lets
// it pass; it has to be reported as unpaid then.
func (r *Route) Undecided() *Denial {
	if r.FailOpen {
		return nil
	}
	return r.Scheme.Denial(apikey.Unavailable)
}

// target is where a request wants to go.
type target struct {
	method, path, authority string
	authorities             int
	// authorityOK: the request names exactly one authority. Envoy folds Host into :authority; a host that does
	// not may show both, and then they have to agree.
	authorityOK bool
}

// note takes one pseudo-header.
func (t *target) note(name, value string) {
	switch name {
	case ":method":
		t.method = value
	case ":path":
		t.path = value
	case ":authority":
		t.authorities++
		t.authority = value
	}
}

// settle judges the authority, once all headers were looked at.
func (t *target) settle(marks []mark, headers [][2]string) {
	hosts, host := 0, ""
	for _, m := range marks {
		if m.name == hostName && m.exact {
			hosts++
			host = headers[m.header][1]
		}
	}
	t.authorityOK = t.authorities <= 1 && hosts <= 1 && (t.authorities == 0 || hosts == 0 || t.authority == host) &&
		strings.IndexByte(t.authority, ',') < 0 && strings.IndexByte(host, ',') < 0
}

// CheckTrailers returns the edits that a request's trailers need before they go upstream on route: no key and no
// identity header passes there either. Keys are never read from trailers.
func (c *Config) CheckTrailers(route *Route, trailers [][2]string) Edits {
	var none target
	marks := c.names.look(&none, nil, trailers)
	if route == nil || route.Scheme == nil {
		return c.editsForOpenRoute(marks, trailers)
	}
	var e Edits
	for _, m := range marks {
		if m.private {
			e.remove(trailers[m.header][0])
		}
	}
	return e
}

// editsForOpenRoute removes what must never pass an unauthenticated route: identity headers, and values that
// are keys of a configured scheme. Other values of the same header are the upstream's business and stay.
func (c *Config) editsForOpenRoute(marks []mark, headers [][2]string) Edits {
	var e Edits
	for _, m := range marks {
		if h := headers[m.header]; m.name == identityName || m.private && c.holdsKey(h[1]) {
			e.remove(h[0])
		}
	}
	if len(e.Remove) == 0 {
		return e
	}
	for _, h := range headers {
		if !identity(h[0]) && slices.Contains(e.Remove, h[0]) && !c.holdsKey(h[1]) {
			e.Add = append(e.Add, h)
		}
	}
	return e
}

// holdsKey reports whether a secret of any configured scheme stands anywhere in value. Whether its checksum is
// right does not matter here.
func (c *Config) holdsKey(value string) bool {
	for _, s := range c.Schemes {
		for _, f := range s.Formats() {
			if contains(*f, value) {
				return true
			}
		}
	}
	return false
}

func contains(f apikey.Format, value string) bool {
	f.Checksum = false
	for rest := value; ; rest = rest[1:] {
		at := strings.Index(rest, f.Prefix)
		if at < 0 || len(rest) < at+f.Size() {
			return false
		}
		rest = rest[at:]
		if f.Match(rest[:f.Size()]) {
			return true
		}
	}
}

func (e *Edits) remove(name string) {
	if !slices.Contains(e.Remove, name) {
		e.Remove = append(e.Remove, name)
	}
}
