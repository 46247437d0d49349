//go:build !wasip1

package main

import (
	"encoding/base64"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/testenv"
)

// canaryMix makes requests that carry secrets wherever a client may put them and Tollgate answers for. What a
// client puts into its own query, body, cookies or headers of other purposes is its own doing and is not made.
type canaryMix struct {
	random *rand.Rand
	// keys are the ring's, by name; states those that are secrets, with names in order; public the publishable halves.
	keys, states map[string]string
	names        []string
	public       []string
	good         map[string]string
	// madeUp are well-formed secrets of nobody.
	madeUp map[string][]string
}

// madeUpSecrets is how many secrets of nobody each scheme has.
const madeUpSecrets = 300

func newCanaryMix(seed uint64, keys map[string]string) *canaryMix {
	m := &canaryMix{
		random: rand.New(rand.NewPCG(seed, seed)), keys: keys, states: map[string]string{}, madeUp: map[string][]string{},
		good: map[string]string{"genrex": keys["genrex"], "vexrail": keys["sk"]},
	}
	for name, key := range keys {
		if strings.HasPrefix(name, "pk") {
			m.public = append(m.public, key)
		} else if !strings.HasSuffix(name, "_unknown") {
			m.states[name] = key
		}
	}
	slices.Sort(m.public)
	m.names = slices.Sorted(maps.Keys(m.states))
	for range madeUpSecrets {
		m.madeUp["genrex"] = append(m.madeUp["genrex"], "grx_sk_"+m.text(apikey.LowerHex, 48))
		m.madeUp["vexrail"] = append(m.madeUp["vexrail"], "sk_live_"+m.text(apikey.Base62, 32))
	}
	return m
}

func (m *canaryMix) text(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[m.random.IntN(len(alphabet))]
	}
	return string(b)
}

// pick returns one of list.
func pick[T any](m *canaryMix, list []T) T { return list[m.random.IntN(len(list))] }

// chance is true once in n times.
func (m *canaryMix) chance(n int) bool { return m.random.IntN(n) == 0 }

// whole returns a well-formed secret: the good one, one in some state, or one of nobody.
func (m *canaryMix) whole(scheme string) string {
	switch m.random.IntN(3) {
	case 0:
		return m.good[scheme]
	case 1:
		return m.states[pick(m, m.names)]
	}
	return pick(m, m.madeUp[scheme])
}

// value returns a secret that may be spoiled.
func (m *canaryMix) value(scheme string) string {
	s := m.whole(scheme)
	if !m.chance(3) {
		return s
	}
	other := m.whole(scheme)
	return pick(m, []string{
		strings.ToUpper(s), s[:len(s)-1], s + "0", s + "\x00", s + "\x7f", "\xc2\xa0" + s, s + "\xff", s + "," + other, s + ", " + other, s + " " + other,
		`"` + s + `"`, strings.ReplaceAll(s, "_", "%5F"), s[:20] + "\t" + s[20:], "Bearer " + s, "key=" + s + ";", strings.Repeat(s+"-", 8), "{\"" + s + "\":1}",
	})
}

// odd returns name in some case, seldom with underscores.
func (m *canaryMix) odd(name string) string {
	switch m.random.IntN(12) {
	case 0:
		return strings.ToUpper(name)
	case 1:
		return strings.ReplaceAll(name, "-", "_")
	}
	return name
}

// credentials are the headers of one attempt on scheme's route.
func (m *canaryMix) credentials(scheme string) [][2]string {
	if scheme == "vexrail" {
		return [][2]string{{m.odd("x-publishable-key"), pick(m, m.public)}, {m.odd("x-secret-key"), m.value(scheme)}}
	}
	switch m.random.IntN(6) {
	case 0:
		return [][2]string{{"authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+m.whole(scheme)))}}
	case 1:
		return [][2]string{{"authorization", pick(m, []string{"bearer  ", "Bearer\t", "Token ", "", "Bearer: ", "ApiKey "}) + m.value(scheme)}}
	case 2, 3:
		return [][2]string{{m.odd("x-api-key"), m.value(scheme)}}
	}
	return [][2]string{{"Authorization", "Bearer " + m.value(scheme)}}
}

// clean are the headers of one key in some state, as its owner would send them.
func (m *canaryMix) clean() (scheme string, headers [][2]string) {
	name := pick(m, m.names)
	secret := m.states[name]
	public, ok := m.keys[strings.Replace(name, "sk", "pk", 1)]
	if strings.HasPrefix(name, "sk") && ok {
		return "vexrail", [][2]string{{"x-publishable-key", public}, {"x-secret-key", secret}}
	}
	return "genrex", [][2]string{{"Authorization", "Bearer " + secret}}
}

// request makes the next request: every second one is clean.
func (m *canaryMix) request() testenv.Request {
	if m.chance(2) {
		scheme, headers := m.clean()
		return testenv.Request{Method: "POST", Path: schemePaths[scheme], Host: "api.test", Headers: headers, Body: []byte("[]")}
	}
	scheme := pick(m, []string{"genrex", "vexrail"})
	other := map[string]string{"genrex": "vexrail", "vexrail": "genrex"}[scheme]
	r := testenv.Request{Method: "POST", Path: schemePaths[scheme], Host: "api.test", Body: []byte("[]")}
	if m.chance(20) {
		// An open route takes whole keys out of credential headers and leaves the rest to the upstream.
		r.Path = "/open/x"
		r.Headers = [][2]string{{m.odd("x-api-key"), m.whole("genrex")}, {"Authorization", "Bearer " + m.whole(scheme)}, {m.odd("X-Tollgate-Key-Id"), m.whole(scheme)}}
		return r
	}
	if m.chance(20) {
		r.Path = pick(m, []string{"/nowhere", "/v1//document/create", "/v1/document/%00", "/v1/document/..;/x"})
	}
	if !m.chance(20) {
		r.Headers = m.credentials(scheme)
	}
	if m.chance(6) {
		r.Headers = append(r.Headers, m.credentials(scheme)...)
	}
	if m.chance(6) {
		r.Headers = append(m.credentials(other), r.Headers...)
	}
	if m.chance(6) {
		r.Headers = append(r.Headers, [2]string{m.odd("x-tollgate-account-id"), m.whole(scheme)}, [2]string{"x-tollgate-" + strconv.Itoa(m.random.IntN(9)), m.value(scheme)})
	}
	if m.chance(10) {
		r.Trailers = [][2]string{{"x-api-key", m.value("genrex")}, {"authorization", m.value("genrex")}, {"x-secret-key", m.value("vexrail")}, {"x-tollgate-cost", m.whole(scheme)}}
	}
	return r
}
