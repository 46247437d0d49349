//go:build !wasip1

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// wireTimeout bounds one request over a socket.
const wireTimeout = 30 * time.Second

// Over the wire: raw bytes through a real proxy process, once as the repository configures it and once with
// underscores let through to the filter.
func TestVectorsOverTheWire(t *testing.T) {
	t.Parallel()
	for name, rejects := range map[string]bool{"underscores rejected": true, "underscores allowed": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, upstream := newRing(t), newRecorder(t)
			o := proxyOptions{
				gateAddress: hostPort(r.cp.GateURL), upstreamAddress: hostPort(upstream.URL),
				gateToken: r.cp.GateToken, filter: []byte(vectorConfig),
			}
			if !rejects {
				o.underscores = "ALLOW"
			}
			proxy := startProxy(t, o)
			passes := map[string]int64{}
			for i, v := range readVectors(t, r.keys) {
				want := v.overTheWire(rejects)
				if want.pass {
					passes[v.Scheme]++
				}
				t.Run(v.Name, func(t *testing.T) {
					v.checkWire(t, r, upstream, proxy.address, strconv.Itoa(i), want)
				})
			}
			r.checkSpent(t, passes)
		})
	}
}

func (v *vector) checkWire(t *testing.T, r *ring, upstream *recorder, address, id string, want answer) {
	t.Helper()
	response, body := exchangeRaw(t, address, v.wire(id))
	reached := upstream.of(id)
	if want.pass {
		if response.StatusCode != http.StatusOK || len(reached) != 1 {
			t.Fatalf("%s %s, reached the upstream %d times, want a pass", response.Status, body, len(reached))
		}
		v.checkUpstream(t, r, pairs(reached[0].Header))
		if reached[0].body != v.Body || len(reached[0].Trailer) > 0 {
			t.Errorf("the upstream got body %q and trailers %v", reached[0].body, reached[0].Trailer)
		}
		return
	}
	if len(reached) > 0 {
		t.Errorf("the upstream was reached %d times", len(reached))
	}
	if want.Code == "" {
		if response.StatusCode != want.Status || errorCode(body) != "" {
			t.Errorf("%s %s, want the proxy's own %d", response.Status, body, want.Status)
		}
		return
	}
	checkRefusal(t, want, response.StatusCode, body, response.Header.Get)
}

// wire is v as bytes of HTTP/1.1, with id as its name. Nothing is escaped or checked on the way.
func (v *vector) wire(id string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", v.Method, v.Path)
	for _, host := range v.Hosts {
		fmt.Fprintf(&b, "Host: %s\r\n", host)
	}
	fmt.Fprintf(&b, "%s: %s\r\n", requestName, id)
	for _, h := range v.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	if len(v.Trailers) == 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(v.Body), v.Body)
		return []byte(b.String())
	}
	fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n", len(v.Body), v.Body)
	for _, h := range v.Trailers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// exchangeRaw sends request on a connection of its own and reads the one response. A server may answer and hang
// up before it has read everything, so a failure to send shows only if there is no answer.
func exchangeRaw(t *testing.T, address string, request []byte) (*http.Response, []byte) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, wireTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(wireTimeout)); err != nil {
		t.Fatal(err)
	}
	_, sendErr := conn.Write(request)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no response: %v (sending: %v)", err, sendErr)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

// pairs lists a header as filters see it: lower-case names, one pair a value.
func pairs(h http.Header) [][2]string {
	var list [][2]string
	for name, values := range h {
		for _, value := range values {
			list = append(list, [2]string{strings.ToLower(name), value})
		}
	}
	return list
}

// Rule 26: with nobody to ask, every good credential gets its scheme's 503 and is told when to come back, and
// what can be refused without asking still is.
func TestVectorsWithoutAControlPlane(t *testing.T) {
	t.Parallel()
	upstream := newRecorder(t)
	proxy := startProxy(t, proxyOptions{
		gateAddress: freeAddress(t), upstreamAddress: hostPort(upstream.URL), gateToken: "tg_gate_nobody", filter: []byte(vectorConfig),
	})
	tests := []struct {
		scheme, name string
		headers      [][2]string
		want         answer
	}{
		{"genrex", "good", [][2]string{bearer(anyKey)}, answer{Status: 503, Code: "SERVICE_UNAVAILABLE"}},
		{"genrex", "malformed", [][2]string{bearer("nonsense")}, answer{Status: 401, Code: "INVALID_API_KEY"}},
		{"genrex", "none", nil, answer{Status: 401, Code: "UNAUTHENTICATED"}},
		{"vexrail", "good", [][2]string{
			{"x-publishable-key", "pk_live_" + strings.Repeat("a", 32)}, {"x-secret-key", "sk_live_" + strings.Repeat("a", 32)},
		}, answer{Status: 503, Code: "service_unavailable"}},
		{"vexrail", "half", [][2]string{{"x-secret-key", "sk_live_" + strings.Repeat("a", 32)}}, answer{Status: 401, Code: "missing_api_key"}},
	}
	for _, tt := range tests {
		t.Run(tt.scheme+" "+tt.name, func(t *testing.T) {
			v := vector{Method: "POST", Path: schemePaths[tt.scheme], Hosts: []string{"api.test"}, Headers: tt.headers, Body: "[]"}
			response, body := exchangeRaw(t, proxy.address, v.wire(tt.scheme+tt.name))
			checkRefusal(t, tt.want, response.StatusCode, body, response.Header.Get)
			if got := response.Header.Get("Retry-After"); (got == "1") != (tt.want.Status == 503) {
				t.Errorf("retry-after %q with status %d", got, response.StatusCode)
			}
			if n := len(upstream.of(tt.scheme + tt.name)); n > 0 {
				t.Errorf("the upstream was reached %d times", n)
			}
		})
	}
}
