package access

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// This file reads credentials a second time, slowly and by other means: from the text of research/reliability.md
// §3 and design.md §2 alone, in regular expressions, knowing nothing of the package's own parser.

const (
	refConfig = `{
  "control_plane": {"cluster": "tollgate"},
  "schemes": {"genrex": {"preset": "genrex"}, "vexrail": {"preset": "vexrail"}},
  "routes": [
    {"path": "/v1/chat/completions", "scheme": "vexrail", "cost": 1},
    {"path": "/v1/document/create", "scheme": "genrex", "cost": 1}
  ]
}`
	refGenrexKey   = "grx_sk_0123456789abcdef0123456789abcdef0123456789abcdef"
	refPublishable = "pk_live_0123456789ABCDEFGHIJKLMNOPQRstuv"
	refSecret      = "sk_live_zyxwvutsrqponmlkjihgfedcba987654"
)

// refField is one header that a scheme takes a secret from.
type refField struct {
	name string
	// given is what a value has to match to be a credential of ours at all, in its first 256 bytes.
	given *regexp.Regexp
	// whole is what a well-formed value matches; its group is the secret.
	whole *regexp.Regexp
}

// refScheme is a published scheme as the reference knows it.
type refScheme struct {
	path string
	// groups are the parts of a key; one field of each has to be given.
	groups [][]refField
	// repeated answers rules 4 to 6, 18, 19 and 23; missing 1, 9, 11, 12 and 17; invalid 10 and 13 to 16.
	repeated, missing, invalid string
	// conversation is the header of that purpose, "" for none.
	conversation string
}

var (
	// refValue: anything but blanks (rule 11).
	refValue = regexp.MustCompile(`(?s)\A[ \t]*[^ \t]`)
	// refBearer: the name of the scheme ends where a token does (RFC 9110 §5.6.2), and something but blanks follows
	// (rules 12 and 17).
	refBearer = regexp.MustCompile("(?s)\\A[Bb][Ee][Aa][Rr][Ee][Rr](?:[ \t]+[^ \t]|[^ \t!#$%&'*+.^_`|~0-9A-Za-z-])")
)

var refSchemes = []refScheme{
	{
		path: "/v1/document/create",
		groups: [][]refField{{
			{"authorization", refBearer, regexp.MustCompile(`\A[Bb][Ee][Aa][Rr][Ee][Rr] +(grx_sk_[0-9a-f]{48})\z`)},
			{"x-api-key", refValue, regexp.MustCompile(`\A(grx_sk_[0-9a-f]{48})\z`)},
		}},
		repeated: "400 INVALID_REQUEST", missing: "401 UNAUTHENTICATED", invalid: "401 INVALID_API_KEY",
	},
	{
		path: "/v1/chat/completions",
		groups: [][]refField{
			{{"x-publishable-key", refValue, regexp.MustCompile(`\A(pk_live_[0-9A-Za-z]{32})\z`)}},
			{{"x-secret-key", refValue, regexp.MustCompile(`\A(sk_live_[0-9A-Za-z]{32})\z`)}},
		},
		repeated: "400 invalid_request", missing: "401 missing_api_key", invalid: "401 invalid_api_key",
		conversation: "x-conversation-id",
	},
}

// refOutcome is what has to come of a request: a refusal, or the digests to ask for and the headers to remove.
type refOutcome struct {
	refusal string
	digests []string
	removed []string
}

// reference decides on headers for scheme s.
func reference(s *refScheme, headers [][2]string) refOutcome {
	if refHostsConflict(headers) || refStructure(s, headers) {
		return refOutcome{refusal: s.repeated}
	}
	values := make([]string, len(s.groups))
	fields := make([]refField, len(s.groups))
	for i, group := range s.groups {
		found := false
		for _, f := range group {
			for _, h := range headers {
				if refFold(h[0]) == f.name {
					values[i], fields[i], found = h[1], f, true
				}
			}
		}
		if !found || !fields[i].given.MatchString(refHead(values[i])) {
			return refOutcome{refusal: s.missing}
		}
	}
	var out refOutcome
	for i := range s.groups {
		m := fields[i].whole.FindStringSubmatch(values[i])
		if m == nil || len(values[i]) > 256 {
			return refOutcome{refusal: s.invalid}
		}
		out.digests = append(out.digests, fmt.Sprintf("%x", sha256.Sum256([]byte(m[1]))))
	}
	out.removed = refRemoved(s, headers)
	return out
}

// refHead is the part of a value that is looked at (rule 16).
func refHead(value string) string {
	if len(value) > 256 {
		return value[:256]
	}
	return value
}

// refStructure: rules 4, 5, 6, 18 and 19.
func refStructure(s *refScheme, headers [][2]string) bool {
	for _, group := range s.groups {
		given := 0
		for _, h := range headers {
			for _, f := range group {
				if refFold(h[0]) != f.name {
					continue
				}
				given++
				if strings.Contains(refHead(h[1]), ",") || strings.Contains(h[0], "_") {
					return true
				}
			}
		}
		if given > 1 {
			return true
		}
	}
	return false
}

// refHostsConflict: rule 23.
func refHostsConflict(headers [][2]string) bool {
	byName := map[string][]string{}
	for _, h := range headers {
		byName[h[0]] = append(byName[h[0]], h[1])
	}
	all := append(slices.Clone(byName[":authority"]), byName["host"]...)
	different := map[string]bool{}
	for _, host := range all {
		different[host] = true
		if strings.Contains(host, ",") {
			return true
		}
	}
	return len(byName[":authority"]) > 1 || len(byName["host"]) > 1 || len(different) > 1
}

// refRemoved: credential headers of all schemes, identity headers, and a conversation id that is not one.
func refRemoved(s *refScheme, headers [][2]string) []string {
	names := map[string]bool{}
	var conversations [][2]string
	for _, h := range headers {
		switch name := refFold(h[0]); {
		case strings.HasPrefix(name, "x-tollgate-"),
			slices.Contains([]string{"authorization", "x-api-key", "x-publishable-key", "x-secret-key"}, name):
			names[h[0]] = true
		case name == s.conversation && name != "":
			conversations = append(conversations, h)
		}
	}
	id := regexp.MustCompile(`\A[!-~]{1,128}\z`)
	if len(conversations) != 1 || conversations[0][0] != s.conversation || !id.MatchString(conversations[0][1]) {
		for _, h := range conversations {
			names[h[0]] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// refFold lowers ASCII letters and nothing else, and reads _ as -.
func refFold(name string) string {
	b := []byte(name)
	for i, c := range b {
		switch {
		case c == '_':
			b[i] = '-'
		case c >= 'A' && c <= 'Z':
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}

// refNames stand for themselves in fuzzed lists by one digit, so that the fuzzer reaches them by changing a byte.
var refNames = []string{
	"authorization", "x-api-key", "x-publishable-key", "x-secret-key", "x-conversation-id", "x-tollgate-cost",
	"host", ":authority", "X_Api_Key", "x-Secret_Key",
}

// refHeaders reads lines "name:value", in whose values $g, $p and $s stand for good keys. A name of one digit is
// one of refNames.
func refHeaders(s *refScheme, text string) [][2]string {
	headers := [][2]string{{":method", "POST"}, {":path", s.path}, {":authority", "api.test"}}
	keys := strings.NewReplacer("$g", refGenrexKey, "$p", refPublishable, "$s", refSecret)
	for line := range strings.SplitSeq(text, "\n") {
		at := strings.IndexByte(line[min(1, len(line)):], ':')
		if at < 0 {
			continue
		}
		name, value := line[:at+1], line[at+2:]
		if len(name) == 1 && name[0] >= '0' && name[0] <= '9' {
			name = refNames[name[0]-'0']
		}
		if name == ":method" || name == ":path" {
			continue
		}
		headers = append(headers, [2]string{name, keys.Replace(value)})
	}
	return headers
}

// outcome is what Check makes of headers, in the reference's terms.
func outcome(c *Config, headers [][2]string) refOutcome {
	d := check(c, headers)
	if d.Action == Refuse {
		var body struct{ Error struct{ Code string } }
		_ = json.Unmarshal(d.Denial.Body, &body)
		return refOutcome{refusal: fmt.Sprintf("%d %s", d.Denial.Status, body.Error.Code)}
	}
	var out refOutcome
	if d.Action == Ask {
		out.digests = d.Digests()
	}
	out.removed = append(out.removed, d.Edits.Remove...)
	slices.Sort(out.removed)
	return out
}

// Every list of headers is judged alike by the filter's parser and by the reference, for both published schemes.
func FuzzCredential(f *testing.F) {
	for _, seed := range []string{
		"", "0:Bearer $g", "0:bEaReR   $g", "1:$g", "1: $g\t", "0:$g", "0:Bearer", "0:Bearer \t", "0:Basic dXNlcjpwYXNz", "0:Bearer:$g",
		"0:Bearer\t$g", "0:Bearer $g x", "0:Bearers $g", "0:Bearer\u00a0$g", "0:Bearer \x00$g", "0:Beare $g", "0:abcdef $g",
		"0:Bearer $g\n0:Bearer $g", "0:Bearer $g\n1:$g", "0:\n1:$g", "1:$g,$g", "1:,", "8:$g", "0:Bearer $g\n8:", "X-API-KEY:$g",
		"X-API-\u212aEY:$g", "x-ap\u0130-Key:$g", "AUTHORIZATION:Bearer $g", "0:Bearer $g\n2:$p\n3:$s", "1:" + strings.Repeat("a", 257),
		"1:" + strings.Repeat("a", 255) + ",", "1:" + strings.Repeat("a", 256) + ",", "0:Bearer" + strings.Repeat(" ", 251) + "$g",
		"2:$p\n3:$s", "3:$s\n2:$p", "2:$s\n3:$p", "2:$p", "3:$s", "2:$p\n3:", "2:\n3:$s,", "2:nonsense\n3:$s\n3:$s", "2:$p\n9:$s",
		"2:$p\n3:$s\n0:Bearer $g\n1:$g", "2:$p\n3:$s\n4:abc", "2:$p\n3:$s\n4:a b", "2:$p\n3:$s\n4:a\n4:b", "2:$p\n3:$s\nX-Conversation_Id:a",
		"2:$p\n3:$s\n5:0\nX_TOLLGATE_KEY_ID:k", "6:api.test\n1:$g", "6:other.test\n1:$g", "7:api.test\n1:$g", "6:a,b\n1:$g",
		"2:$p\n3:Bearer $s", "2:$g\n3:$g", "2:pk_test_0123456789ABCDEFGHIJKLMNOPQRstuv\n3:$s",
	} {
		f.Add(seed)
	}
	c, err := ParseConfig([]byte(refConfig))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for i := range refSchemes {
			headers := refHeaders(&refSchemes[i], text)
			got, want := outcome(c, headers), reference(&refSchemes[i], headers)
			if got.refusal != want.refusal || !slices.Equal(got.digests, want.digests) || !slices.Equal(got.removed, want.removed) {
				t.Errorf("%s, headers %q:\ngot  %+v\nwant %+v", refSchemes[i].path, headers, got, want)
			}
		}
	})
}
