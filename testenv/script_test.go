package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ledgerServer counts what reaches it, and answers the number and an echo of the body.
type ledgerServer struct {
	mu   sync.Mutex
	seen []string
}

func (s *ledgerServer) Call(_ context.Context, req *CalloutRequest) (*CalloutResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, string(req.Body))
	body := fmt.Sprintf("%d %s", len(s.seen), req.Body)
	// The request is the server's own: what it does to it must not reach the next copy.
	clear(req.Body)
	req.Headers[0] = Header{"x-spoilt", "1"}
	return &CalloutResponse{
		Headers: []Header{{":status", "200"}, {"content-length", fmt.Sprint(len(body))}, {"x-a", "1"}},
		Body:    []byte(body), Trailers: []Header{{"x-t", "1"}},
	}, nil
}

func settle(body string) *CalloutRequest {
	req := addressed("POST", "/settle?id=1")
	req.Body = []byte(body)
	return req
}

// outcome is what one call came to, for tables.
type outcome struct {
	Took   time.Duration
	Length string // the content-length header
	Body   string
	Err    error // tested with errors.Is
}

// perform plays one call in the time of a synctest bubble.
func perform(t *testing.T, s *Script, timeout time.Duration) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	start := time.Now()
	req := settle("abc")
	resp, err := s.Call(ctx, req)
	o := outcome{Took: time.Since(start), Err: err}
	if resp != nil {
		o.Length, o.Body = firstHeader(resp.Headers, "content-length"), string(resp.Body)
	}
	if diff := cmp.Diff(settle("abc"), req); diff != "" {
		t.Errorf("the caller's request changed (-want +got):\n%s", diff)
	}
	return o
}

func TestScriptPlays(t *testing.T) {
	t.Parallel()
	const s = time.Second
	canned := &CalloutResponse{Headers: []Header{{":status", "418"}}, Body: []byte("canned")}
	expired := context.DeadlineExceeded
	tests := []struct {
		name string
		play Play
		want outcome
		seen int
	}{
		{"delivered", Play{}, outcome{0, "5", "1 abc", nil}, 1},
		{"slow there", Play{Delay: 3 * s}, outcome{3 * s, "5", "1 abc", nil}, 1},
		{"slow both ways", Play{Delay: 3 * s, Return: 4 * s}, outcome{7 * s, "5", "1 abc", nil}, 1},
		{"too slow there", Play{Delay: 11 * s}, outcome{10 * s, "", "", expired}, 0},
		{"too slow back", Play{Delay: 3 * s, Return: 8 * s}, outcome{10 * s, "", "", expired}, 1},
		{"request lost", Play{Lose: LoseRequest}, outcome{10 * s, "", "", expired}, 0},
		{"reply lost", Play{Lose: LoseReply, Delay: s}, outcome{10 * s, "", "", expired}, 1},
		{"reply of repeats lost", Play{Lose: LoseReply, Repeat: 2}, outcome{10 * s, "", "", expired}, 3},
		{"connection fails", Play{Reset: ResetBefore, Delay: s, Return: s}, outcome{2 * s, "", "", errConnectionFailed}, 0},
		{"connection breaks", Play{Reset: ResetAfter, Delay: s, Return: s}, outcome{2 * s, "", "", ErrReset}, 1},
		{"breaks after repeats", Play{Reset: ResetAfter, Repeat: 1}, outcome{0, "", "", ErrReset}, 2},
		{"repeated", Play{Repeat: 3, Return: s}, outcome{s, "5", "1 abc", nil}, 4},
		{"truncated", Play{Body: Truncated(2)}, outcome{0, "5", "1 ", nil}, 1},
		{"truncated to nothing", Play{Body: Truncated(0)}, outcome{0, "5", "", nil}, 1},
		{"too short to truncate", Play{Body: Truncated(5)}, outcome{0, "5", "1 abc", nil}, 1},
		{"oversized", Play{Body: Oversized(7)}, outcome{0, "8", "1 abc   ", nil}, 1},
		{"oversized by its last byte", Play{Body: Oversized(5)}, outcome{0, "6", "1 abc ", nil}, 1},
		{"oversized as it is", Play{Body: Oversized(4)}, outcome{0, "5", "1 abc", nil}, 1},
		{"canned", Play{Answer: canned, Delay: s}, outcome{s, "", "canned", nil}, 0},
		{"canned and truncated", Play{Answer: canned, Body: Truncated(3)}, outcome{0, "", "can", nil}, 0},
		{"canned and oversized", Play{Answer: canned, Body: Oversized(6)}, outcome{0, "", "canned ", nil}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := &ledgerServer{}
				got := perform(t, &Script{Cluster: server, Plan: Every(tt.play)}, 10*time.Second)
				if !errors.Is(got.Err, tt.want.Err) || errors.Is(got.Err, ErrReset) != (tt.want.Err == ErrReset) {
					t.Errorf("error %v, want %v", got.Err, tt.want.Err)
				}
				got.Err, tt.want.Err = nil, nil
				if got != tt.want {
					t.Errorf("outcome %+v, want %+v", got, tt.want)
				}
				if want := slices.Repeat([]string{"abc"}, tt.seen); !slices.Equal(server.seen, want) {
					t.Errorf("the server saw %q, want %q", server.seen, want)
				}
			})
		})
	}
}

// What a play changes is a copy: neither the server's answer nor the script's own may show it.
func TestPlayAnswerLeavesItsInputs(t *testing.T) {
	t.Parallel()
	said := func() *CalloutResponse {
		return &CalloutResponse{
			Headers: []Header{{":status", "200"}, {"Content-Length", "3"}}, Body: append(make([]byte, 0, 64), "abc"...), Trailers: []Header{{"x-t", "1"}},
		}
	}
	for _, body := range []BodyFault{{}, Truncated(1), Oversized(9)} {
		given := said()
		got, err := Play{Body: body}.answer(given, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body == Oversized(9) && got.Headers[1] != (Header{"Content-Length", "10"}) {
			t.Errorf("headers %q of 10 bytes", got.Headers)
		}
		if !slices.Equal(got.Trailers, given.Trailers) {
			t.Errorf("trailers %q", got.Trailers)
		}
		_ = append(got.Body, "spoilt"...)
		if diff := cmp.Diff(said(), given); diff != "" || !bytes.Equal(given.Body[:3], []byte("abc")) {
			t.Errorf("%+v changed the server's answer (-want +got):\n%s", body, diff)
		}
	}
	canned := Play{Answer: said()}
	for range 2 {
		got, err := canned.answer(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(said(), got); diff != "" {
			t.Errorf("canned answer (-want +got):\n%s", diff)
		}
		clear(got.Body)
		clear(got.Headers)
		clear(got.Trailers)
	}
}

// What the server failed with passes through, whatever the play adds.
func TestPlayAnswerKeepsTheServersErrors(t *testing.T) {
	t.Parallel()
	for _, p := range []Play{{}, {Body: Oversized(1)}, {Reset: ResetAfter}, {Repeat: 1}} {
		if resp, err := p.answer(nil, io.ErrUnexpectedEOF); resp != nil || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%+v: %v, %v", p, resp, err)
		}
	}
	if resp, err := (Play{Body: Oversized(1)}).answer(nil, nil); resp != nil || err != nil {
		t.Errorf("no answer became %v, %v", resp, err)
	}
}

func TestLostCallsWithoutTimeoutStayLost(t *testing.T) {
	t.Parallel()
	for _, loss := range []Loss{LoseRequest, LoseReply} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			s := &Script{Cluster: &ledgerServer{}, Plan: Every(Play{Lose: loss})}
			go func() {
				_, err := s.Call(ctx, settle("abc"))
				ended <- err
			}()
			time.Sleep(24 * 365 * time.Hour) // of the bubble
			if len(ended) != 0 {
				t.Errorf("loss %d ended with %v", loss, <-ended)
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("loss %d: %v", loss, err)
			}
		})
	}
}

// Requests overtake each other by Delay, answers by Return.
func TestScriptReorders(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                string
		first, second       Play
		arrivals, callbacks []string
	}{
		{"in order", Play{Delay: time.Second}, Play{Delay: 2 * time.Second}, []string{"a", "b"}, []string{"a", "b"}},
		{"requests", Play{Delay: 2 * time.Second}, Play{Delay: time.Second, Return: 5 * time.Second}, []string{"b", "a"}, []string{"a", "b"}},
		{"answers", Play{Return: 2 * time.Second}, Play{Delay: time.Second}, []string{"a", "b"}, []string{"b", "a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := &ledgerServer{}
				s := &Script{Cluster: server, Plan: Plays(tt.first, tt.second)}
				answered := make(chan string, 2)
				for _, body := range []string{"a", "b"} {
					go func() {
						if _, err := s.Call(t.Context(), settle(body)); err != nil {
							t.Error(err)
						}
						answered <- body
					}()
					synctest.Wait() // the call is planned
				}
				if got := []string{<-answered, <-answered}; !slices.Equal(got, tt.callbacks) {
					t.Errorf("callbacks %q, want %q", got, tt.callbacks)
				}
				if !slices.Equal(server.seen, tt.arrivals) {
					t.Errorf("arrivals %q, want %q", server.seen, tt.arrivals)
				}
			})
		})
	}
}

// A repeat is not sent for a callout that has ended meanwhile.
func TestScriptRepeatsEndWithTheCallout(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	handler := HandlerCluster(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked++
		cancel()
	}))
	s := &Script{Cluster: handler, Plan: Every(Play{Repeat: 5})}
	if _, err := s.Call(ctx, settle("abc")); !errors.Is(err, context.Canceled) || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

// A script stands before any cluster: here one that a real server answers.
func TestScriptOverARealServer(t *testing.T) {
	t.Parallel()
	acted := make(chan string, 8)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		acted <- string(body)
		_, _ = io.WriteString(w, "settled")
	}))
	t.Cleanup(srv.Close)
	s := &Script{
		Cluster: AddressCluster(srv.Listener.Addr().String()),
		Plan:    OnPath("/settle", Plays(Play{Lose: LoseReply}, Play{Body: Truncated(3), Repeat: 1}), nil),
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-acted; cancel() }() // the callout ends once the server has acted
	if _, err := s.Call(ctx, settle("one")); !errors.Is(err, context.Canceled) {
		t.Errorf("lost reply: %v", err)
	}
	resp, err := s.Call(t.Context(), settle("two"))
	if err != nil {
		t.Fatal(err)
	}
	if string(resp.Body) != "set" || firstHeader(resp.Headers, "content-length") != "7" {
		t.Errorf("truncated answer %q %q", resp.Headers, resp.Body)
	}
	if got := []string{<-acted, <-acted}; !slices.Equal(got, []string{"two", "two"}) {
		t.Errorf("the server acted on %q", got)
	}
}
