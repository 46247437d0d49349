package testenv

import "testing"

func TestWhatARequestSaysByItself(t *testing.T) {
	t.Parallel()
	h := New(t, Options{}, named(t, "tag", "a"))
	h.Check(t, Request{Body: []byte("abc"), Headers: []Header{{"Content-Length", "4"}}},
		Want{Upstream: map[string]string{"content-length": "4"}})
	h.Check(t, Request{Method: "HEAD", Body: []byte("abc")}, Want{Status: 200, Headers: map[string]string{"content-length": "3"}})
	if r := h.Do(t, Request{Method: "HEAD", Body: []byte("abc")}); len(r.Body) > 0 {
		t.Errorf("an answer to HEAD has the body %q", r.Body)
	}
	if got := (Request{}).withDefaults().Attributes.Source; got != "127.0.0.1:1" {
		t.Errorf("the client's address is %q", got)
	}
}
