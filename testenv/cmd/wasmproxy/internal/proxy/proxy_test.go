package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/testenv"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/bootstrap"
	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/proxy"
)

func TestForwards(t *testing.T) {
	f := start(t, echo, nil)
	got := f.do("POST", "/a/../b?q=%2f", "hello", "X-Repeat", "1", "X-Repeat", "2")
	if got.StatusCode != 200 || got.body != "hello" {
		t.Fatalf("got %d %q", got.StatusCode, got.body)
	}
	want := map[string][]string{
		"Echo-Uri": {"/b?q=%2f"}, "Echo-Method": {"POST"}, "Echo-Length": {"5"}, "Echo-Host": {f.addr},
		"Echo-X-Repeat": {"1", "2"}, "Echo-X-By": {"guest"}, "Echo-X-End": {"false"},
		"Echo-X-Forwarded-Proto": {"http"}, "X-Response-By": {"guest"}, "X-Response-End": {"false"},
	}
	for name, values := range want {
		if diff := cmp.Diff(values, got.Header.Values(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	f.wantLogged("POST /b?q=%2f 200 - in=5 out=5 state=seen-by-guest\n")
}

func TestPseudoHeadersComeFirst(t *testing.T) {
	f := start(t, echo, nil)
	names := f.do("GET", "/", "", "X-Guest", "names").Header.Get("Echo-X-Names")
	if !strings.HasPrefix(names, ":method :path :authority :scheme ") {
		t.Errorf("the filter saw %q", names)
	}
	if names != strings.ToLower(names) {
		t.Errorf("names not in lower case: %q", names)
	}
}

func TestConnectionHeadersGoBeforeTheFilter(t *testing.T) {
	f := start(t, echo, nil)
	got := f.do("GET", "/", "", "X-Guest", "names", "Connection", "X-Secret, keep-alive", "X-Secret", "s",
		"Keep-Alive", "1", "Proxy-Connection", "x", "TE", "trailers", "X-Envoy-Internal", "true")
	for _, name := range []string{"x-secret", "connection", "keep-alive", "proxy-connection", "te", "x-envoy-internal"} {
		if strings.Contains(" "+got.Header.Get("Echo-X-Names")+" ", " "+name+" ") {
			t.Errorf("the filter saw %s", name)
		}
	}
}

// A client must not be able to have the proxy drop what the filter says about it.
func TestConnectionCannotRemoveWhatTheFilterSets(t *testing.T) {
	f := start(t, echo, nil)
	got := f.do("GET", "/", "", "X-Guest", "identity", "Connection", "x-identity", "X-Identity", "forged")
	if diff := cmp.Diff([]string{"from-the-filter"}, got.Header.Values("Echo-X-Identity")); diff != "" {
		t.Errorf("x-identity (-want +got):\n%s", diff)
	}
}

func TestFilterCannotBreakFraming(t *testing.T) {
	f := start(t, echo, nil)
	got := f.do("POST", "/", "hello", "X-Guest", "framing")
	if got.StatusCode != 200 || got.body != "hello" {
		t.Errorf("got %d %q", got.StatusCode, got.body)
	}
}

func TestEdgeHeaders(t *testing.T) {
	tests := []struct {
		name      string
		edge      bool
		forwarded string
		proto     string
		keepsID   bool
	}{
		{"behind another proxy", false, "9.9.9.9", "https", true},
		{"at the edge", true, "9.9.9.9,127.0.0.1", "http", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, echo, func(c *bootstrap.Config) { c.HTTP.UseRemoteAddress = tt.edge })
			got := f.do("GET", "/", "", "X-Forwarded-For", "9.9.9.9", "X-Forwarded-Proto", "https", "X-Request-Id", "mine").Header
			if v := got.Get("Echo-X-Forwarded-For"); v != tt.forwarded {
				t.Errorf("x-forwarded-for = %q, want %q", v, tt.forwarded)
			}
			if v := got.Get("Echo-X-Forwarded-Proto"); v != tt.proto {
				t.Errorf("x-forwarded-proto = %q, want %q", v, tt.proto)
			}
			if id := got.Get("Echo-X-Request-Id"); id == "" || (id == "mine") != tt.keepsID {
				t.Errorf("x-request-id = %q, want the client's: %v", id, tt.keepsID)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	f := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the upstream was reached") }), nil)
	tests := []struct{ name, request, want string }{
		{"underscore", "GET / HTTP/1.1\r\nHost: a\r\nx_api_key: k\r\n\r\n", "400"},
		{"escaped slash", "GET /a%2Fb HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		{"escaped backslash", "GET /a%5cb HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		{"fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		{"NUL", "GET /a%00 HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		{"broken escape", "GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", "400"},
		{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "400"},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
		{"the same Host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400"},
		{"authority differs from Host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "426"}, // in an HTTP/1.0 answer
		{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "426"},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "426"},
		{"framed twice", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
		{"101 headers", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("x-a: b\r\n", 100) + "\r\n", "431"},
		{"10 tokens in Connection", "GET / HTTP/1.1\r\nHost: a\r\nConnection: a,b,c,d,e\r\nConnection: f, g, h, i, close\r\n\r\n", "400"},
		{"x-forwarded-for nominated", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Forwarded-For\r\n\r\n", "400"},
		{"x-forwarded-host nominated", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-forwarded-host\r\n\r\n", "400"},
		{"x-forwarded-proto nominated", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-forwarded-proto\r\n\r\n", "400"},
		{"pseudo header nominated", "GET / HTTP/1.1\r\nHost: a\r\nConnection: :path\r\n\r\n", "400"},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "404"},
		{"CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "403"},
		{"websocket", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "403"},
		{"header too large", "GET / HTTP/1.1\r\nHost: a\r\nx-a: " + strings.Repeat("a", 80<<10) + "\r\n\r\n", "431"},
		{"malformed", "GET\r\n\r\n", "400"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := f.raw(tt.request); strings.Fields(got)[1] != tt.want {
				t.Errorf("got %q, want %s", got, tt.want)
			}
		})
	}
	if n := f.metric("guest.started"); n != 0 {
		t.Errorf("the filter saw %d of them", n)
	}
}

// What is refused above by its number must pass one below it.
func TestLimitsLetTheirNumberPass(t *testing.T) {
	f := start(t, echo, nil)
	for name, head := range map[string]string{
		"100 headers":          strings.Repeat("x-a: b\r\n", 99),
		"99 headers in chunks": "Transfer-Encoding: chunked\r\n" + strings.Repeat("x-a: b\r\n", 98),
		"9 tokens":             "Connection: a,b,c,d,,e,f,g,h,i\r\n",
	} {
		request := "POST / HTTP/1.1\r\nHost: a\r\n" + head + "\r\n"
		if strings.Contains(head, "chunked") {
			request += "0\r\n\r\n"
		}
		if got := f.raw(request); got != "HTTP/1.1 200 OK" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// Two ways to find a body's end are refused wherever on a connection they come, and nothing after
// them is answered.
func TestFramedTwiceOnAKeptConnection(t *testing.T) {
	f := start(t, echo, nil)
	conn := f.dial()
	fmt.Fprint(conn, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"+
		"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"+
		"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"+
		"GET /d HTTP/1.1\r\nHost: a\r\n\r\n")
	in := bufio.NewReader(conn)
	for _, want := range []int{200, 200, 400} {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != want || resp.Close != (want == 400) {
			t.Errorf("got %d %q, close %t; want %d", resp.StatusCode, body, resp.Close, want)
		}
	}
	if rest, err := io.ReadAll(in); len(rest) > 0 {
		t.Errorf("another answer on the connection: %q, %v", rest, err)
	}
	f.wantLogged("POST /c 400")
}

func TestUnderscoreActions(t *testing.T) {
	tests := []struct {
		name   string
		action bootstrap.UnderscoreAction
		want   []string
	}{
		{"allow", bootstrap.AllowUnderscores, []string{"v"}},
		{"drop", bootstrap.DropHeader, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, echo, func(c *bootstrap.Config) { c.HTTP.Underscores = tt.action })
			if diff := cmp.Diff(tt.want, f.do("GET", "/", "", "x_a", "v").Header.Values("Echo-X_a")); diff != "" {
				t.Errorf("x_a (-want +got):\n%s", diff)
			}
		})
	}
}

func TestH2COfferIsIgnored(t *testing.T) {
	f := start(t, echo, nil)
	got := f.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n")
	if got != "HTTP/1.1 200 OK" {
		t.Errorf("got %q", got)
	}
}

func TestRouting(t *testing.T) {
	f := start(t, echo, func(c *bootstrap.Config) {
		c.Domains = []string{"api.test", "api.test:81"}
		c.Routes = []bootstrap.Route{
			{Path: "/exact", Cluster: "up"},
			{Prefix: "/v1/", Cluster: "up"},
		}
	})
	tests := []struct{ host, path, want string }{
		{"api.test", "/exact", "200"},
		{"API.TEST", "/exact?q", "200"},
		{"api.test:81", "/v1/x", "200"},
		{"api.test", "/exact/", "404"},
		{"api.test", "/v1", "404"},
		{"api.test", "/other", "404"},
		{"api.test:82", "/exact", "404"},
		{"other.test", "/exact", "404"},
	}
	for _, tt := range tests {
		t.Run(tt.host+tt.path, func(t *testing.T) {
			got := f.raw(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", tt.path, tt.host))
			if !strings.HasPrefix(got, "HTTP/1.1 "+tt.want) {
				t.Errorf("got %q, want %s", got, tt.want)
			}
		})
	}
	f.wantLogged("404 NR")
}

func TestRouteIsPickedAfterTheFilter(t *testing.T) {
	f := start(t, echo, func(c *bootstrap.Config) { c.Routes = []bootstrap.Route{{Prefix: "/v1/", Cluster: "up"}} })
	got := f.do("GET", "/v1/x", "", "X-Guest", "reroute")
	if got.StatusCode != 404 || got.Header.Get("X-Response-By") != "guest" {
		t.Errorf("got %d by %q, want 404 through the filter", got.StatusCode, got.Header.Get("X-Response-By"))
	}
	if got := f.do("GET", "/v1/x", "", "X-Guest", "remove-method"); got.StatusCode != 503 {
		t.Errorf("without :method: %d, want 503", got.StatusCode)
	}
}

func TestRoundRobin(t *testing.T) {
	one := serverOf(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "1") }))
	two := serverOf(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "2") }))
	f := start(t, nil, func(c *bootstrap.Config) { c.Clusters = []bootstrap.Cluster{clusterOf("up", one, two)} })
	var got strings.Builder
	for range 4 {
		got.WriteString(f.do("GET", "/", "").body)
	}
	if got.String() != "1212" {
		t.Errorf("endpoints in the order %s, want 1212", got.String())
	}
}

func TestTwoFiltersInOrder(t *testing.T) {
	f := start(t, echo, func(c *bootstrap.Config) {
		second := c.Filters[0]
		second.Name, second.Configuration = "second", []byte("name=second")
		c.Filters = append(c.Filters, second)
	})
	got := f.do("POST", "/", "hello")
	if diff := cmp.Diff([]string{"guest", "second"}, got.Header.Values("Echo-X-By")); diff != "" {
		t.Errorf("request order (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"second", "guest"}, got.Header.Values("X-Response-By")); diff != "" {
		t.Errorf("response order (-want +got):\n%s", diff)
	}
	for by, want := range map[string][]string{"second": {"second", "guest"}, "guest": {"guest"}} {
		denied := f.do("GET", "/", "", "X-Guest", "deny:"+by)
		if diff := cmp.Diff(want, denied.Header.Values("X-Response-By")); denied.StatusCode != 403 || diff != "" {
			t.Errorf("%d by %s passes what saw the request (-want +got):\n%s", denied.StatusCode, by, diff)
		}
	}
}

func TestProperties(t *testing.T) {
	f := start(t, echo, nil)
	got := f.do("GET", "/", "", "X-Guest", "properties").Header
	for name, want := range map[string]string{
		"Echo-X-Source-Address": "127.0.0.1:", "Echo-X-Destination-Address": f.addr,
		"Echo-X-Request-Protocol": "HTTP/1.1", "Echo-X-Xds-Node-Id": "node-1",
		"Echo-X-Xds-Route_name": "all", "Echo-X-Xds-Cluster_name": "up", "Echo-X-Xds-Virtual_host_name": "vh",
	} {
		if v := got.Get(name); !strings.HasPrefix(v, want) {
			t.Errorf("%s = %q, want %q", name, v, want)
		}
	}
}

func TestConnectionIDs(t *testing.T) {
	f := start(t, echo, nil)
	id := func() string {
		return f.do("GET", "/", "", "X-Guest", "properties").Header.Get("Echo-X-Connection-Id")
	}
	first, kept := id(), id()
	f.client.CloseIdleConnections()
	if other := id(); first == "" || kept != first || other == first {
		t.Errorf("ids %q, %q on the same connection, %q on another", first, kept, other)
	}
}

func TestFilterThatRefusesItsConfiguration(t *testing.T) {
	wasm, err := guestWASM()
	if err != nil {
		t.Fatal(err)
	}
	_, err = proxy.New(t.Context(), proxy.Options{
		VMs: 1, Log: slog.New(slog.DiscardHandler), AccessLog: io.Discard,
		Config: &bootstrap.Config{Filters: []bootstrap.WasmFilter{{Plugin: testenv.Plugin{Name: "w", Configuration: []byte("refuse")}, Code: wasm}}},
	})
	if err == nil || !strings.Contains(err.Error(), `start filters: plugin "w"`) || !strings.Contains(err.Error(), `word "refuse"`) {
		t.Errorf("error = %v, want the filter and what it logged", err)
	}
}

func TestCodeThatIsNoModule(t *testing.T) {
	_, err := proxy.New(t.Context(), proxy.Options{
		VMs: 1, Log: slog.New(slog.DiscardHandler), AccessLog: io.Discard,
		Config: &bootstrap.Config{Filters: []bootstrap.WasmFilter{{Code: []byte("text"), Source: "build/w.wasm"}}},
	})
	if err == nil || !strings.Contains(err.Error(), "build/w.wasm") {
		t.Errorf("error = %v, want it to name build/w.wasm", err)
	}
}

func TestFilterEnvironmentAndLog(t *testing.T) {
	f := start(t, echo, func(c *bootstrap.Config) { c.Filters[0].Env = map[string]string{"GUEST_ENV": "set"} })
	if log := f.log.String(); !strings.Contains(log, `level=INFO msg="started with GUEST_ENV=set" vm=1 filter=guest`) {
		t.Errorf("log = %s", log)
	}
}

func TestStats(t *testing.T) {
	f := start(t, echo, nil)
	f.do("GET", "/", "")
	if got, want := f.stats(), "# TYPE guest_started counter\nguest_started 1\n"; !strings.Contains(got, want) {
		t.Errorf("stats = %q, want %q in it", got, want)
	}
}

func TestManyAtOnce(t *testing.T) {
	f := start(t, echo, withSide(t, echo))
	const clients, each = 16, 40
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for j := range each {
				body := strings.Repeat(fmt.Sprintf("%d-%d,", i, j), 200)
				guest := []string{"", "deny", "call:/ask", "buffer"}[j%4]
				got, err := f.try("POST", "/", body, "X-Guest", guest)
				if err != nil {
					t.Error(err)
					return
				}
				want := map[string]string{"": body, "deny": "denied\n", "call:/ask": body, "buffer": strings.ToUpper(body)}[guest]
				if got.body != want {
					t.Errorf("%s: %d with %d bytes, want %d", guest, got.StatusCode, len(got.body), len(want))
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "every stream ends", func() bool { return f.metric("guest.ended") == clients*each })
}
