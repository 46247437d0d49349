package store

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/tollgate/tollgate/controlplane/api"
)

// Restriction says which requests a key may be used for, in the JSON of api.Restriction, or "" for all. As text it is
// immutable, and two of them can be compared.
type Restriction string

// NewRestriction makes a Restriction of what r says, with addresses in their usual notation. The error wraps ErrInvalid
// and api.ErrInvalid, which name each part that is out of its range.
func NewRestriction(r api.Restriction) (Restriction, error) {
	if r.Empty() {
		return "", nil
	}
	if err := r.Validate(); err != nil {
		return "", fmt.Errorf("%w: restriction: %w", ErrInvalid, err)
	}
	ips := make([]string, len(r.AllowedIPs))
	for i, text := range r.AllowedIPs {
		ips[i] = usualNetwork(text)
	}
	r.AllowedIPs = ips
	// Nothing in it can make Marshal fail.
	text, _ := json.Marshal(r)
	if len(text) > api.MaxRestrictionBytes {
		return "", fmt.Errorf("%w: restriction: %w: routes: expected at most %d bytes of JSON in all", ErrInvalid, api.ErrInvalid, api.MaxRestrictionBytes)
	}
	return Restriction(text), nil
}

// usualNetwork writes a valid network as net/netip does, and one that maps IPv4 into IPv6 as one of IPv4.
func usualNetwork(text string) string {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return text
		}
		prefix = netip.PrefixFrom(a, a.BitLen())
	}
	if a := prefix.Addr(); a.Is4In6() {
		prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-96)
	}
	return prefix.String()
}

// Value returns what r says, nil for "". It is the caller's own.
func (r Restriction) Value() *api.Restriction {
	if r == "" {
		return nil
	}
	v := &api.Restriction{}
	// It was made by NewRestriction.
	_ = json.Unmarshal([]byte(r), v)
	return v
}

// MarshalJSON shows r as the object that it is.
func (r Restriction) MarshalJSON() ([]byte, error) { return json.Marshal(r.Value()) }

// restriction is what a key's Restriction is to acquires. It is shared and immutable.
type restriction struct {
	value *api.Restriction
	rules *api.Rules
}

// readRestriction returns nil for no restriction. One that cannot be read, which nobody has written here, lets nothing
// pass.
func readRestriction(text string) *restriction {
	if text == "" {
		return nil
	}
	r := &restriction{value: &api.Restriction{}}
	if err := json.Unmarshal([]byte(text), r.value); err != nil || r.value.Empty() || r.value.Validate() != nil {
		r.value = &api.Restriction{Routes: []api.RouteRule{{Path: "/", Methods: []string{"NONE"}}}}
	}
	r.rules = r.value.Rules()
	return r
}

// allows reports whether r lets a's request pass, or the gate that asks judge for itself.
func (r *restriction) allows(a *acquire) bool {
	switch {
	case r == nil:
		return true
	case a.leases():
		return a.req.Judges >= api.RestrictionVersion
	}
	return r.rules.AllowsRoute(a.req.Method, a.req.Path) && r.rules.AllowsAddress(a.req.Address)
}
