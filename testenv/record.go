package testenv

import (
	"slices"
	"strconv"
	"sync"
)

// CalloutRecord is one callout that the filter sent. Status is what its callback saw: 0 while
// the answer is outstanding and for a reset.
type CalloutRecord struct {
	Cluster string
	Headers []Header
	Body    []byte
	Status  int
}

// Header returns the first value of a request header, "" when there is none. The name is to be
// lower case.
func (c CalloutRecord) Header(name string) string { return firstHeader(c.Headers, name) }

// LogRecord is one message the filter logged.
type LogRecord struct {
	Level   Level
	Message string
}

// recorder keeps what a Host shows to tests. A nil recorder, that of a VM made without a Host,
// keeps nothing.
type recorder struct {
	mu       sync.Mutex
	callouts []*CalloutRecord
	logs     []LogRecord
}

// trace is the part of a record that belongs to one stream, guarded by the recorder's lock.
type trace struct {
	callouts []*CalloutRecord
	logs     []LogRecord
}

func (r *recorder) calloutStarted(s *Stream, req *CalloutRequest) *CalloutRecord {
	if r == nil {
		return nil
	}
	record := &CalloutRecord{
		Cluster: req.Cluster, Headers: slices.Clone(req.Headers), Body: slices.Clone(req.Body),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.callouts = append(r.callouts, record)
	if s != nil && s.trace != nil {
		s.trace.callouts = append(s.trace.callouts, record)
	}
	return record
}

func (r *recorder) calloutEnded(record *CalloutRecord, resp *CalloutResponse) {
	if r == nil || resp == nil {
		return
	}
	code, _ := strconv.Atoi(firstHeader(resp.Headers, ":status")) // an answer without one reads as 0
	r.mu.Lock()
	defer r.mu.Unlock()
	record.Status = code
}

func (r *recorder) logged(s *Stream, level Level, message string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, LogRecord{level, message})
	if s != nil && s.trace != nil {
		s.trace.logs = append(s.trace.logs, LogRecord{level, message})
	}
}

func (r *recorder) allCallouts() []CalloutRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return copyCallouts(r.callouts)
}

func (r *recorder) allLogs() []LogRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.logs)
}

func (r *recorder) of(t *trace) ([]CalloutRecord, []LogRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return copyCallouts(t.callouts), slices.Clone(t.logs)
}

func copyCallouts(records []*CalloutRecord) []CalloutRecord {
	list := make([]CalloutRecord, len(records))
	for i, record := range records {
		list[i] = *record
	}
	return list
}

func firstHeader(headers []Header, name string) string {
	if i := slices.IndexFunc(headers, func(h Header) bool { return h[0] == name }); i >= 0 {
		return headers[i][1]
	}
	return ""
}
