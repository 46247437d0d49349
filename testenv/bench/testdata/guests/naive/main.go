// Command naive is what one would write first on the SDK to do what Tollgate's filter does for a hot request: a map of
// leases by digest, headers read one by one, the SDK's hostcalls. A key that it has not seen gets a lease without asking.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{leases: map[string]*lease{}} }

type lease struct {
	account, key  string
	credits, used int64
	deadline      time.Time
}

type plugin struct {
	types.DefaultPluginContext
	leases            map[string]*lease
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
	p.requests.Increment(1)
	authorization, err := proxywasm.GetHttpRequestHeader("authorization")
	if err != nil {
		return refuse(401)
	}
	path, err := proxywasm.GetHttpRequestHeader(":path")
	if err != nil || !strings.HasPrefix(path, "/") {
		return refuse(404)
	}
	if _, err := proxywasm.GetHttpRequestHeader(":method"); err != nil {
		return refuse(400)
	}
	secret, ok := strings.CutPrefix(authorization, "Bearer ")
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
	return s.pass(l, path)
}

func (s *stream) pass(l *lease, path string) types.Action {
	price := strconv.Itoa(cost)
	err := proxywasm.RemoveHttpRequestHeader("authorization")
	for _, h := range [][2]string{{"x-tollgate-account-id", l.account}, {"x-tollgate-key-id", l.key}, {"x-tollgate-cost", price}} {
		if err == nil {
			err = proxywasm.AddHttpRequestHeader(h[0], h[1])
		}
	}
	if err == nil {
		record := "decision=allowed mode=lease account=" + l.account + " key=" + l.key + " cost=" + price + " route=" + path
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
