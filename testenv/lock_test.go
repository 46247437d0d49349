package testenv

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// What the Host runs must not use the Host: that would wait for itself for ever.
func TestUseOfTheHostFromInside(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 2} {
		for _, from := range []string{"handler", "plan", "log"} {
			s := stand(t, func(s *standIn) {
				var h *Host
				called := false
				use := func() {
					if called = !called; h != nil && called {
						h.Logs()
					}
				}
				server := HandlerCluster(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { use() }))
				o := Options{Workers: workers}
				switch from {
				case "handler":
					o.Upstream = server
				case "plan":
					o.Upstream = &Script{Cluster: answering(200, ""), Plan: func(Call) Play { use(); return Play{} }}
				case "log":
					o.Log = func(LogRecord) { use() }
				}
				h = New(s, o, named(t, "tag", "a"))
				called = false
				h.Do(s, Request{})
			})
			if told := s.told() + fmt.Sprint(s.panicked); !strings.Contains(told, "used the Host that runs it") {
				t.Errorf("%d workers, from a %s: %s", workers, from, told)
			}
		}
	}
}

// Several goroutines may use a Host, also while its handlers run.
func TestHostFromSeveralGoroutines(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 100)
	h := New(t, Options{Upstream: HandlerCluster(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered <- struct{}{} }))},
		named(t, "tag", "a"))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5 {
				h.Check(t, Request{}, Want{Status: 200})
				<-entered
				h.Logs()
			}
		})
	}
	all.Wait()
}

// A Script counts the calls of one Host.
func TestScriptInASecondHost(t *testing.T) {
	t.Parallel()
	script := &Script{Cluster: answering(200, "ok")}
	h := New(t, Options{Upstream: script})
	h.Check(t, Request{}, Want{Status: 200})
	h.Check(t, Request{}, Want{Status: 200})
	s := stand(t, func(s *standIn) { New(s, Options{Upstream: script}).Do(s, Request{}) })
	if told := fmt.Sprint(s.panicked); !strings.Contains(told, "a Script in a second Host, for calls to upstream") {
		t.Errorf("panicked with %s", told)
	}
}
