package accesslog

import (
	"fmt"
	"io"
	"sync"
)

// Sink writes records in one format to one writer, a line at a time. It is safe for concurrent use
// and does not own the writer.
type Sink struct {
	format *Format
	mu     sync.Mutex
	w      io.Writer
	line   []byte
}

// NewSink returns a sink over w.
func NewSink(w io.Writer, format *Format) *Sink {
	return &Sink{format: format, w: w}
}

// Write renders and writes r in a single call to the writer.
func (s *Sink) Write(r *Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line = s.format.Append(s.line[:0], r)
	if _, err := s.w.Write(s.line); err != nil {
		return fmt.Errorf("write access log: %w", err)
	}
	return nil
}
