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
	// Ask: send Decision.Acquire to the control plane and hand the outcome to Judge.
	Ask
)

// Decision is the verdict on one request. The zero value refuses with no denial set; Check never returns it.
type Decision struct {
	Action Action
	// Denial is set when Action is Refuse.
	Denial *Denial
	// Route is set unless no route was found.
	Route *Route
	// Digest is SHA-256 of the key that was offered, set when Action is Ask.
	Digest apikey.Digest
	// Edits are made to the request headers before it goes upstream, whatever Judge says later.
	Edits Edits
}

// Edits are changes to the request headers: first every name in Remove goes, with all its values, then Add
// is appended.
type Edits struct {
	Remove []string
	Add    [][2]string
}

// Prefix of the headers that only Tollgate may set.
const identityPrefix = "x-tollgate-"

// The identity headers an upstream gets.
const (
	HeaderAccount = "x-tollgate-account-id"
	HeaderProject = "x-tollgate-project-id"
	HeaderKey     = "x-tollgate-key-id"
	HeaderCost    = "x-tollgate-cost"
)

// Check reads the headers of one request, pseudo-headers included, in the order and spelling in which the
// proxy has them, and decides what to do. It keeps no reference to them beyond the strings in the result.
func (c *Config) Check(headers [][2]string) Decision {
	method, target, authorityOK := pseudo(headers)
	path, ok := routePath(target)
	if !ok {
		return Decision{Denial: badPath}
	}
	route := c.route(method, path)
	if route == nil {
		return Decision{Denial: noRoute}
	}
	d := Decision{Route: route}
	if route.Scheme == nil {
		if !authorityOK {
			d.Denial = badAuthority
			return d
		}
		d.Action = Pass
		d.Edits = c.editsForOpenRoute(headers)
		return d
	}
	if !authorityOK {
		d.Denial = route.Scheme.Denial(InvalidRequest)
		return d
	}
	found := credentials{scheme: route.Scheme}
	for _, h := range headers {
		name := canonicalName(h[0])
		found.add(name, h[0], h[1])
		if strings.HasPrefix(name, identityPrefix) || c.credentialName(name) {
			d.Edits.remove(h[0])
		}
	}
	key, reason, ok := found.key()
	if !ok {
		d.Denial = route.Scheme.Denial(reason)
		return d
	}
	d.Action = Ask
	d.Digest = apikey.DigestOf(key)
	return d
}

// Judge turns the control plane's reply to a request that Check said to Ask about into Pass or Refuse. A nil
// reply means that nobody could decide.
func (d *Decision) Judge(reply *api.AcquireReply) Decision {
	out := Decision{Route: d.Route}
	if reply == nil {
		out.Denial = d.Route.Scheme.Denial(Unavailable)
		return out
	}
	if reply.Verdict != api.Granted || reply.Lease == nil {
		out.Denial = d.Route.Scheme.Denial(reasonOf(reply.Verdict))
		return out
	}
	out.Action = Pass
	out.Edits.Add = [][2]string{
		{HeaderAccount, reply.Lease.Account},
		{HeaderKey, reply.Lease.Key},
		{HeaderCost, d.Route.costText},
	}
	if reply.Lease.Project != "" {
		out.Edits.Add = append(out.Edits.Add, [2]string{HeaderProject, reply.Lease.Project})
	}
	return out
}

// pseudo returns method and path, and whether the request names exactly one authority. Envoy folds Host into
// :authority; a host that does not may show both, and then they have to agree.
func pseudo(headers [][2]string) (method, path string, authorityOK bool) {
	authorities, hosts := 0, 0
	var authority, host string
	for _, h := range headers {
		switch h[0] {
		case ":method":
			method = h[1]
		case ":path":
			path = h[1]
		case ":authority":
			authorities++
			authority = h[1]
		case "host":
			hosts++
			host = h[1]
		}
	}
	ok := authorities <= 1 && hosts <= 1 && (authorities == 0 || hosts == 0 || authority == host)
	return method, path, ok && !strings.Contains(authority, ",") && !strings.Contains(host, ",")
}

// credentialName reports whether any configured scheme takes keys from the header of that canonical name.
func (c *Config) credentialName(name string) bool {
	return slices.Contains(c.credentialNames, name)
}

// editsForOpenRoute removes what must never pass an unauthenticated route: identity headers, and values that
// are keys of a configured scheme. Other values of the same header are the upstream's business and stay.
func (c *Config) editsForOpenRoute(headers [][2]string) Edits {
	var e Edits
	for _, h := range headers {
		name := canonicalName(h[0])
		if strings.HasPrefix(name, identityPrefix) || c.credentialName(name) && c.holdsKey(h[1]) {
			e.remove(h[0])
		}
	}
	for _, h := range headers {
		name := canonicalName(h[0])
		if c.credentialName(name) && !c.holdsKey(h[1]) && slices.Contains(e.Remove, h[0]) {
			e.Add = append(e.Add, h)
		}
	}
	return e
}

// holdsKey reports whether a key of any configured scheme stands anywhere in value.
func (c *Config) holdsKey(value string) bool {
	for _, s := range c.Schemes {
		size := len(s.Format.Prefix) + s.Format.Length
		for rest := value; ; rest = rest[1:] {
			at := strings.Index(rest, s.Format.Prefix)
			if at < 0 || len(rest) < at+size {
				break
			}
			rest = rest[at:]
			if s.Format.Match(rest[:size]) {
				return true
			}
		}
	}
	return false
}

func (e *Edits) remove(name string) {
	if !slices.Contains(e.Remove, name) {
		e.Remove = append(e.Remove, name)
	}
}
