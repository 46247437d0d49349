// Command naive is what one would write first on the SDK to do what Tollgate's filter does for a hot request: a map of
// leases by digest, the SDK's hostcalls. A key that it has not seen gets a lease without asking. It looks at all headers, as
// repeated credentials and forged x-tollgate-* headers ask for; with NAIVE=three it reads the three that it needs, and so does
// less than Tollgate's filter.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext {
	return &plugin{leases: map[string]*lease{}, three: os.Getenv("NAIVE") == "three"}
}

type lease struct {
	account, key  string
	credits, used int64
	deadline      time.Time
}

type plugin struct {
	types.DefaultPluginContext
	leases            map[string]*lease
	three             bool
	requests, allowed proxywasm.MetricCounter
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	p.requests = proxywasm.DefineCounterMetric("requests")
	p.allowed = proxywasm.DefineCounterMetric("allowed")
	return types.OnPluginStartStatusOK
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plugin: p} }

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
}

const (
	prefix = "grx_sk_"
	cost   = 1
)

func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	p := s.plugin
	read := readAll
	if p.three {
		read = readThree
	}
	r, status := read()
	if status != 0 {
		return refuse(status)
	}
	if r.method == "" || !strings.HasPrefix(r.path, "/") {
		return refuse(404)
	}
	secret, ok := strings.CutPrefix(r.authorization, "Bearer ")
	if !ok || !valid(secret) {
		return refuse(401)
	}
	sum := sha256.Sum256([]byte(secret))
	digest := hex.EncodeToString(sum[:])
	l := p.leases[digest]
	if l == nil {
		l = &lease{account: "acct_1", key: "key_1", credits: 1 << 40, deadline: time.Now().Add(time.Hour)}
		p.leases[digest] = l
	}
	if time.Now().After(l.deadline) || l.used+cost > l.credits {
		return refuse(402)
	}
	l.used += cost
	return s.pass(l, &r)
}

// request is what the filter needs to know of one.
type request struct {
	authorization, path, method string
	forged                      []string // headers to remove
}

// readThree reads single headers. Status is that of the refusal, or 0.
func readThree() (r request, status uint32) {
	var err error
	if r.authorization, err = proxywasm.GetHttpRequestHeader("authorization"); err != nil {
		return r, 401
	}
	if r.path, err = proxywasm.GetHttpRequestHeader(":path"); err != nil {
		return r, 400
	}
	if r.method, err = proxywasm.GetHttpRequestHeader(":method"); err != nil {
		return r, 400
	}
	return r, 0
}

// readAll looks at all headers: a credential must not be repeated, and what Tollgate says to the upstream must not come from
// the client.
func readAll() (r request, status uint32) {
	headers, err := proxywasm.GetHttpRequestHeaders()
	if err != nil {
		return r, 503
	}
	credentials, hosts := 0, 0
	for _, h := range headers {
		switch name := strings.ToLower(h[0]); {
		case name == "authorization":
			r.authorization = h[1]
			credentials++
		case name == "x-api-key":
			credentials++
		case name == "host" || name == ":authority":
			hosts++
		case name == ":path":
			r.path = h[1]
		case name == ":method":
			r.method = h[1]
		case strings.HasPrefix(name, "x-tollgate-"):
			r.forged = append(r.forged, name)
		}
	}
	switch {
	case credentials == 0:
		return r, 401
	case credentials > 1 || hosts > 1:
		return r, 400
	}
	return r, 0
}

func (s *stream) pass(l *lease, r *request) types.Action {
	price := strconv.Itoa(cost)
	err := proxywasm.RemoveHttpRequestHeader("authorization")
	for _, name := range r.forged {
		if err == nil {
			err = proxywasm.RemoveHttpRequestHeader(name)
		}
	}
	for _, h := range [][2]string{{"x-tollgate-account-id", l.account}, {"x-tollgate-key-id", l.key}, {"x-tollgate-cost", price}} {
		if err == nil {
			err = proxywasm.AddHttpRequestHeader(h[0], h[1])
		}
	}
	if err == nil {
		record := "decision=allowed mode=lease account=" + l.account + " key=" + l.key + " cost=" + price + " path=" + r.path
		err = proxywasm.SetProperty([]string{"tollgate"}, []byte(record))
	}
	if err != nil {
		proxywasm.LogCritical("let a request pass: " + err.Error())
		return refuse(503)
	}
	s.plugin.allowed.Increment(1)
	return types.ActionContinue
}

func valid(secret string) bool {
	digits, ok := strings.CutPrefix(secret, prefix)
	if !ok || len(digits) != 48 {
		return false
	}
	for _, c := range []byte(digits) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func refuse(status uint32) types.Action {
	if err := proxywasm.SendHttpResponse(status, nil, nil, -1); err != nil {
		proxywasm.LogCritical("refuse a request: " + err.Error())
	}
	return types.ActionPause
}
