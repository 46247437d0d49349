package testenv

import (
	"testing"
	"time"
)

// What was recorded goes, responses keep what is theirs, and what comes later is recorded again.
func TestDropRecords(t *testing.T) {
	t.Parallel()
	h := newGuest(t, "callouts", "", Options{Clusters: map[string]Cluster{"control": answering(200, "yes")}})
	ask := Request{Path: "/ask", Headers: []Header{{"x-cluster", "control"}}}
	first := h.Do(t, ask)
	if len(h.Callouts()) != 1 || len(h.Logs()) == 0 || len(first.Callouts) != 1 || len(first.Logs) == 0 {
		t.Fatalf("recorded %v and %v, in the response %v and %v; want a callout and logs", h.Callouts(), h.Logs(), first.Callouts, first.Logs)
	}
	h.DropRecords()
	if len(h.Callouts()) != 0 || len(h.Logs()) != 0 {
		t.Errorf("still recorded: %v and %v", h.Callouts(), h.Logs())
	}
	if second := h.Do(t, ask); second.Status != 200 || len(second.Callouts) != 1 {
		t.Errorf("the next request: status %d, callouts %v", second.Status, second.Callouts)
	}
	if len(h.Callouts()) != 1 || len(h.Logs()) == 0 || len(first.Callouts) != 1 || len(first.Logs) == 0 {
		t.Errorf("recorded %v and %v later, the first response has %v and %v", h.Callouts(), h.Logs(), first.Callouts, first.Logs)
	}
}

// A callout may be answered after its record was dropped: its stream's response still tells.
func TestDropRecordsOfCalloutInFlight(t *testing.T) {
	t.Parallel()
	slow := &Script{Cluster: answering(200, "yes"), Plan: func(Call) Play { return Play{Delay: time.Second} }}
	h := newGuest(t, "callouts", "", Options{Clusters: map[string]Cluster{"control": slow}})
	x := h.Start(Request{Path: "/ask", Headers: []Header{{"x-cluster", "control"}}})
	h.Settle()
	if len(h.Callouts()) != 1 || h.Callouts()[0].Answered {
		t.Fatalf("callouts %v, want one in flight", h.Callouts())
	}
	h.DropRecords()
	got := x.Wait(t)
	if got.Status != 200 || len(got.Callouts) != 1 || !got.Callouts[0].Answered || got.Callouts[0].Status != 200 {
		t.Errorf("status %d, callouts %+v; want one answered", got.Status, got.Callouts)
	}
	if len(h.Callouts()) != 0 {
		t.Errorf("the record came back: %v", h.Callouts())
	}
}
