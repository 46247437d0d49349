package main

import (
	"fmt"
	"io"
	"net/http"
)

// upstream answers every request with what it was sent, so that a reader sees that no credential got through
// and which identity headers did.
func upstream() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "the body is longer than 1 MiB", http.StatusRequestEntityTooLarge)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintf(w, "the upstream got:\n%s %s\n", r.Method, r.URL.RequestURI())
		_ = r.Header.Write(w)
		_, _ = fmt.Fprintf(w, "and a body of %d bytes\n", size)
	})
}
