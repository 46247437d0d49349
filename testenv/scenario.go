package testenv

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// Scenario is one request and what has to come of it.
type Scenario struct {
	Name    string
	Request Request
	Want    Want
}

// Decision is what the filters do with a request.
type Decision int

const (
	// AnyDecision is not looked at.
	AnyDecision Decision = iota
	// Forwarded requests leave the filter chain, and the client gets the upstream's response, or the router's own where the
	// upstream was then not reached.
	Forwarded
	// Replaced requests leave the filter chain, and the client gets a local response.
	Replaced
	// Answered requests get a local response and do not leave the filter chain whole.
	Answered
	// Broken streams end without a response.
	Broken
)

// String names the decision.
func (d Decision) String() string {
	names := [...]string{"anything", "forwarded", "replaced", "answered", "broken"}
	if d < 0 || int(d) >= len(names) {
		return fmt.Sprintf("Decision(%d)", int(d))
	}
	return names[d]
}

// Want is what has to come of a request. What is left zero is not looked at.
type Want struct {
	Decision Decision
	Status   int
	// Headers are the response's by lower-case name: all values joined with ", "; "" for a header that must not be there. A
	// name with a capital letter fails: no header has it.
	Headers map[string]string
	// Body is the whole body, BodyHas are parts of it.
	Body    string
	BodyHas []string
	// Details are those of a local response.
	Details string
	// Upstream are the headers with which the request leaves the filter chain, as in Headers, and UpstreamBody is its body.
	Upstream     map[string]string
	UpstreamBody string
	// Callouts are what the filters send for this stream, in order, each as "cluster method path status", with status 0
	// for no answer. An empty list that is not nil wants none.
	Callouts []string
	// Logs are parts of messages that are logged for this stream, LogsNot of messages that are not.
	Logs, LogsNot []string
	FilterState   map[string]string
	// Metrics are by how much counters and gauges move and how many values histograms take. To want a metric moved that
	// nobody has defined fails, to want 0 of it does not.
	Metrics map[string]int64
	// SharedData is what is shared afterwards, by "vm_id/key"; "" for a key that must not be there.
	SharedData map[string]string
	// Err is a sentinel that Response.Err wraps.
	Err error
}

// Run runs scenarios one after the other, each as a test of its own, on one Host.
func (h *Host) Run(t *testing.T, scenarios ...Scenario) {
	t.Helper()
	for _, s := range scenarios {
		t.Run(s.Name, func(t *testing.T) {
			t.Helper()
			h.Check(t, s.Request, s.Want)
		})
	}
}

// Check sends a request and fails t unless all that w wants comes of it.
func (h *Host) Check(t testing.TB, r Request, w Want) Response {
	t.Helper()
	before := map[string]int64{}
	for name := range w.Metrics {
		before[name] = h.Metric(name)
	}
	got := h.Do(t, r)
	p := &differences{list: w.problems(got)}
	p.metrics(h.metrics, before, w.Metrics)
	p.sharedData(h.shared, w.SharedData)
	report(t, got, p.list)
	return got
}

func (d *differences) metrics(m *Metrics, before, want map[string]int64) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		now, defined := m.Value(name)
		switch moved := now - before[name]; {
		case moved == want[name]:
		case !defined:
			d.add("metric %s is not defined, want it moved by %d", name, want[name])
		default:
			d.add("metric %s moved by %d, want %d", name, moved, want[name])
		}
	}
}

func (d *differences) sharedData(s *SharedData, want map[string]string) {
	for _, path := range slices.Sorted(maps.Keys(want)) {
		vmID, key, ok := strings.Cut(path, "/")
		if !ok {
			d.add("Want.SharedData has %q, which is no vm_id/key", path)
			continue
		}
		value, there := s.Value(vmID, key)
		d.entry("shared data "+path, value, there, want[path])
	}
}

// Check fails t unless the response is what w wants. A response does not tell of metrics and shared data: to want them here
// fails too, Host.Check looks at them.
func (w Want) Check(t testing.TB, got Response) {
	t.Helper()
	p := &differences{list: w.problems(got)}
	if w.Metrics != nil || w.SharedData != nil {
		p.add("Want.Check cannot look at Metrics and SharedData: use Host.Check")
	}
	report(t, got, p.list)
}

func report(t testing.TB, got Response, problems []string) {
	t.Helper()
	if len(problems) > 0 {
		t.Errorf("%s %s:\n\t%s", got.method, got.path, strings.Join(problems, "\n\t"))
	}
}

func (w Want) problems(got Response) []string {
	p := &differences{}
	if d := got.decision(); w.Decision != AnyDecision && d != w.Decision {
		p.add("the request was %v, want it %v", d, w.Decision)
	}
	if w.Status != 0 && got.Status != w.Status {
		p.add("status %d, want %d", got.Status, w.Status)
	}
	p.headers("response", got.Headers, w.Headers)
	p.text("body", string(got.Body), w.Body)
	p.parts("body", string(got.Body), w.BodyHas)
	p.text("details", got.Details, w.Details)
	p.upstream(got.Upstream, w)
	p.callouts(got.Callouts, w.Callouts)
	p.logs(got.Logs, w)
	for _, name := range slices.Sorted(maps.Keys(w.FilterState)) {
		if got.FilterState[name] != w.FilterState[name] {
			p.add("filter state %s: %q, want %q", name, got.FilterState[name], w.FilterState[name])
		}
	}
	switch {
	case w.Err != nil && !errors.Is(got.Err, w.Err):
		p.add("error %v, want %v", got.Err, w.Err)
	case w.Err == nil && w.Decision != Broken && got.Err != nil:
		p.add("error %v", got.Err)
	}
	return p.list
}

func (r Response) decision() Decision {
	switch {
	case r.Err != nil || r.Status == 0:
		return Broken
	case r.Local && r.Upstream == nil:
		return Answered
	case r.Local:
		return Replaced
	default:
		return Forwarded
	}
}

// differences collects what is not as wanted.
type differences struct{ list []string }

func (d *differences) add(format string, args ...any) {
	d.list = append(d.list, fmt.Sprintf(format, args...))
}

func (d *differences) text(what, got, want string) {
	if want != "" && got != want {
		d.add("%s %q, want %q", what, got, want)
	}
}

func (d *differences) parts(what, got string, want []string) {
	for _, part := range want {
		if !strings.Contains(got, part) {
			d.add("%s %q has no %q", what, got, part)
		}
	}
}

func (d *differences) headers(whose string, got []Header, want map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if lower(name) != name {
			d.add("the wanted %s header %q has capital letters, which no header has", whose, name)
			continue
		}
		value, there := joined(got, name)
		d.entry(whose+" header "+name, value, there, want[name])
	}
}

// entry compares what is kept under a name; want "" is for a name that must not be there, even with nothing under it.
func (d *differences) entry(what, got string, there bool, want string) {
	switch {
	case got != want:
		d.add("%s: %q, want %q", what, got, want)
	case there && want == "":
		d.add("%s is there, empty", what)
	}
}

// joined returns all values of a header, and whether there are any.
func joined(headers []Header, name string) (string, bool) {
	var values []string
	for _, h := range headers {
		if h[0] == name {
			values = append(values, h[1])
		}
	}
	return strings.Join(values, ", "), len(values) > 0
}

func (d *differences) upstream(got *UpstreamRequest, w Want) {
	if len(w.Upstream) == 0 && w.UpstreamBody == "" {
		return
	}
	if got == nil {
		d.add("the request did not leave the filter chain")
		return
	}
	d.headers("upstream", got.Headers, w.Upstream)
	d.text("upstream body", string(got.Body), w.UpstreamBody)
}

func (d *differences) callouts(got []CalloutRecord, want []string) {
	if want == nil {
		return
	}
	var list []string
	for _, c := range got {
		list = append(list, c.String())
	}
	if !slices.Equal(list, want) {
		d.add("callouts %q, want %q", list, want)
	}
}

func (d *differences) logs(got []LogRecord, w Want) {
	has := func(part string) bool {
		return slices.ContainsFunc(got, func(l LogRecord) bool { return strings.Contains(l.Message, part) })
	}
	for _, part := range w.Logs {
		if !has(part) {
			d.add("nothing logged with %q in %v", part, got)
		}
	}
	for _, part := range w.LogsNot {
		if has(part) {
			d.add("logged with %q: %v", part, got)
		}
	}
}
