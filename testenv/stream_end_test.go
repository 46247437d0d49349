package testenv

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/testenv/internal/eventloop"
)

// Whatever a client interrupts, the filter hears of the end once, nothing stays open and nothing is sent any more.
func TestResetAtEveryPhase(t *testing.T) {
	t.Parallel()
	slow := with("x-hold", "a", "x-timeout", "5000")
	slow.Body, slow.ChunkSize, slow.ChunkGap = []byte("abcdef"), 2, time.Second
	// The upload takes 3 s, a callout 1 s, the upstream 2 s, and the response is held for 10 s.
	tests := []struct {
		name     string
		after    time.Duration
		upstream bool // it was reached
		err      error
	}{
		{"not begun", -1, false, ErrStreamClosed},
		{"waiting for a callout", 0, false, ErrStreamClosed},
		{"in the body", 1500 * time.Millisecond, false, ErrStreamClosed},
		{"waiting for the upstream", 3500 * time.Millisecond, true, ErrStreamClosed},
		{"response on its way", 4500 * time.Millisecond, true, ErrStreamClosed},
		{"response held", 6 * time.Second, true, ErrStreamClosed},
		{"ended", 30 * time.Second, true, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			upstream := &Script{Cluster: HandlerCluster(http.HandlerFunc(echo)), Plan: Every(Play{Delay: time.Second, Return: time.Second})}
			h := New(t, Options{Upstream: upstream, Clusters: scripted(Every(Play{Delay: time.Second}))},
				named(t, "tag", "a"), named(t, "gate", "b"))
			x := h.Start(slow)
			if tt.after >= 0 {
				h.Advance(tt.after)
			}
			x.Reset()
			if !x.Ended() {
				t.Fatal("the stream goes on")
			}
			before := len(h.Logs())
			r := x.Wait(t)
			if !errors.Is(r.Err, tt.err) || (r.Upstream != nil) != tt.upstream || (r.Err != nil) != (r.Status == 0) {
				t.Errorf("err %v, status %d, upstream %+v; want %v and the upstream reached: %t", r.Err, r.Status, r.Upstream, tt.err, tt.upstream)
			}
			h.Advance(time.Minute)
			if tt.after >= 0 {
				done := slices.DeleteFunc(messages(r.Logs), func(m string) bool { return !strings.HasPrefix(m, "done") })
				if len(done) != 2 {
					t.Errorf("the filters were done %q", done)
				}
			}
			if got := h.Logs()[before:]; len(got) > 0 {
				t.Errorf("logged after the end: %v", got)
			}
			if late := x.Wait(t); (late.Upstream != nil) != tt.upstream || late.Status != r.Status {
				t.Errorf("the response changed after the end: %+v", late)
			}
		})
	}
}

// A client may be gone before the worker has begun with its request, or just after: the seed decides.
func TestResetRightAfterStart(t *testing.T) {
	t.Parallel()
	h := New(t, Options{}, named(t, "tag", "a"))
	begun := 0
	for range 20 {
		x := h.Start(Request{Body: []byte("abc"), ChunkSize: 1})
		x.Reset()
		r := x.Wait(t)
		Want{Decision: Broken, Err: ErrStreamClosed}.Check(t, r)
		begun += len(r.Logs) / 2
		if n := len(h.workers[1].streams) + h.loop.Pending(); n != 0 {
			t.Fatalf("%d streams and events are left of a stream that ended", n)
		}
	}
	if begun == 0 || begun == 20 {
		t.Errorf("%d of 20 streams began", begun)
	}
}

func TestWhatAStreamMayWaitFor(t *testing.T) {
	t.Parallel()
	tag := named(t, "tag", "a")
	t.Run("a slow upload is no idle stream", func(t *testing.T) {
		t.Parallel()
		h := New(t, Options{StreamIdleTimeout: time.Minute}, tag)
		r := h.Do(t, Request{Body: []byte("abcdef"), ChunkSize: 1, ChunkGap: 50 * time.Second})
		if r.Status != 200 || r.Took != 300*time.Second {
			t.Errorf("status %d after %v: %v", r.Status, r.Took, r.Err)
		}
	})
	t.Run("an idle one is", func(t *testing.T) {
		t.Parallel()
		h := New(t, Options{StreamIdleTimeout: time.Minute}, tag)
		h.Expect(ErrAbandoned)
		r := h.Do(t, Request{Body: []byte("abcdef"), ChunkSize: 1, ChunkGap: 61 * time.Second})
		if !errors.Is(r.Err, ErrAbandoned) || !errors.Is(r.Err, eventloop.ErrLimit) || r.Took != time.Minute {
			t.Errorf("after %v: %v", r.Took, r.Err)
		}
	})
	t.Run("what nothing can move ends at once", func(t *testing.T) {
		t.Parallel()
		h := New(t, Options{}, named(t, "sloppy", "p"))
		h.Expect(ErrAbandoned)
		r := h.Do(t, with("x-do", "abandon"))
		if !errors.Is(r.Err, ErrAbandoned) || !errors.Is(r.Err, eventloop.ErrIdle) || r.Took != 0 || h.Now() != Start {
			t.Errorf("after %v, at %v: %v", r.Took, h.Now(), r.Err)
		}
	})
}

func TestUpstreamThatFails(t *testing.T) {
	t.Parallel()
	ok := HandlerCluster(http.HandlerFunc(echo))
	tests := []struct {
		name   string
		play   Play
		status int
		took   time.Duration
	}{
		{"slow", Play{Delay: 4 * time.Second, Return: 5 * time.Second}, 200, 9 * time.Second},
		{"too slow", Play{Delay: 20 * time.Second}, 504, 15 * time.Second},
		{"lost", Play{Lose: LoseReply}, 504, 15 * time.Second},
		{"unreachable", Play{Reset: ResetBefore}, 503, 0},
		{"broken", Play{Reset: ResetAfter, Return: time.Second}, 503, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := New(t, Options{Upstream: &Script{Cluster: ok, Plan: Every(tt.play)}}, named(t, "tag", "a"))
			r := h.Do(t, Request{})
			if r.Status != tt.status || r.Took != tt.took || r.Header("x-back") != "a" || r.Local {
				t.Errorf("%d after %v, headers %v, local %t; want %d after %v through the filter", r.Status, r.Took, r.Headers, r.Local, tt.status, tt.took)
			}
		})
	}
}

// The router has one answer to give: what the upstream says after the timeout is nothing.
func TestLateUpstreamMeetsTheTimeoutHeldByAFilter(t *testing.T) {
	t.Parallel()
	upstream := &Script{Cluster: answering(200, "late"), Plan: Every(Play{Delay: 20 * time.Second})}
	var transcript strings.Builder
	h := New(t, Options{Upstream: upstream, Transcript: &transcript}, named(t, "tag", "a"))
	r := h.Do(t, with("x-hold", "a"))
	Want{Status: 504, Body: "upstream request timeout", Headers: map[string]string{"x-back": "a"}}.Check(t, r)
	if r.Took != 25*time.Second {
		t.Errorf("took %v: the filter held the response from 15 s to 25 s", r.Took)
	}
	if n := strings.Count(transcript.String(), "> on_response_headers"); n != 1 {
		t.Errorf("the filter saw the headers of %d responses", n)
	}
}

// A local response takes the upstream's place. What the upstream says while a filter holds it is nothing.
func TestUpstreamMeetsALocalResponseHeldByAFilter(t *testing.T) {
	t.Parallel()
	after := func(d time.Duration, body string) Cluster {
		return &Script{Cluster: answering(200, body), Plan: Every(Play{Return: d})}
	}
	var transcript strings.Builder
	o := Options{Transcript: &transcript, Upstream: after(5*time.Second, "of the upstream"), Clusters: map[string]Cluster{"control": after(time.Second, "")}}
	h := New(t, o, named(t, "tag", "a"), named(t, "gate", "b"))
	r := h.Check(t, with("x-late", "1"), Want{Status: 451, Body: "revoked", Headers: map[string]string{"x-back": "a"}})
	if r.Took != time.Second || !r.Local || r.Upstream == nil {
		t.Errorf("took %v, local %t, upstream %v", r.Took, r.Local, r.Upstream)
	}
	r = h.Check(t, with("x-late", "1", "x-hold", "a"), Want{Status: 451, Body: "revoked", Headers: map[string]string{"x-back": "a"}})
	if r.Took != 11*time.Second || !r.Local {
		t.Errorf("held until %v, local %t", r.Took, r.Local)
	}
	h.Advance(time.Minute)
	if n := strings.Count(transcript.String(), "> on_response_headers"); n != 4 {
		t.Errorf("two filters saw the headers of %d responses to two requests", n)
	}
}
