package testenv

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A guest that waits for virtual time inside a callback would poll for ever: time moves between callbacks alone.
func TestSleepInACallbackEndsTheVM(t *testing.T) {
	t.Parallel()
	h := New(t, Options{Profile: Envoy140}, named(t, "crasher", "p"))
	h.Expect(ErrTrap)
	h.Check(t, with("x-crash", "sleep"), failed503)
	err := h.workers[1].Dead()
	if !errors.Is(err, errTimeStands) || !strings.Contains(err.Error(), "waits for time that does not pass inside a callback") {
		t.Errorf("the VM died of %v", err)
	}
}

// endlessRun names, for the process that TestEndlessLoopsEndTheProcess starts, what is to run for ever.
const endlessRun = "TESTENV_ENDLESS"

// The end of a process can only be seen from another one, which runs this test again.
func TestEndlessLoopsEndTheProcess(t *testing.T) {
	t.Parallel()
	if what := os.Getenv(endlessRun); what != "" {
		runForEver(t, what)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for what, texts := range map[string][]string{
		"guest":   {"testenv: p has not returned from proxy_on_request_headers in 200ms", "w1 p#2 > on_request_headers"},
		"handler": {"testenv: cluster upstream has not returned from its handler in 200ms", "w1 p#2 < on_request_headers = 0"},
	} {
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestEndlessLoopsEndTheProcess$")
		cmd.Env = append(os.Environ(), endlessRun+"="+what)
		out, err := cmd.CombinedOutput()
		for _, text := range append(texts, "panic: ", t.Name()+", the last hostcalls (seed 5)") {
			if err == nil || !strings.Contains(string(out), text) {
				t.Errorf("%s: %v, output lacks %q:\n%s", what, err, text, out)
			}
		}
	}
}

func runForEver(t *testing.T, what string) {
	o, request := Options{Seed: 5}, with("x-crash", "spin")
	if what == "handler" {
		o.Upstream, request = HandlerCluster(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { select {} })), Request{}
	}
	h := New(t, o, named(t, "crasher", "p"))
	h.watch.stop()
	impatient := watch(200*time.Millisecond, h.story)
	impatient.handlers = 0
	h.watch, h.workers[1].opts.watch = impatient, impatient
	h.Do(t, request)
}

func TestWatchdogForgivesWhatReturns(t *testing.T) {
	t.Parallel()
	d := watch(time.Hour, func() string { return "story" })
	defer d.stop()
	d.enter("guest", "callback", 0)
	if text := d.stuck(); text != "" {
		t.Errorf("in time: %q", text)
	}
	d.enter("guest", "callback", -2*time.Hour)
	if text := d.stuck(); !strings.Contains(text, "guest has not returned from callback") || !strings.HasSuffix(text, "story") {
		t.Errorf("too long: %q", text)
	}
	d.leave()
	if text := d.stuck(); text != "" {
		t.Errorf("returned: %q", text)
	}
	var none *watchdog
	none.enter("guest", "callback", 0)
	none.leave()
}
