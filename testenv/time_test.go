package testenv

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestGuestSeesTheVirtualClocks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		move       func(h *Host)
		wall, mono time.Duration // that have passed
	}{
		{"nothing", func(*Host) {}, 0, 0},
		{"time passes", func(h *Host) { h.Advance(90 * time.Second) }, 90 * time.Second, 90 * time.Second},
		{"the wall clock is set back", func(h *Host) { h.Clock().StepWall(-24 * time.Hour) }, -24 * time.Hour, 0},
		{"the wall clock is fast", func(h *Host) {
			h.Clock().SetDrift(500)
			h.Advance(1000 * time.Second)
		}, 1000*time.Second + 500*time.Millisecond, 1000 * time.Second},
		{"the machine sleeps", func(h *Host) { h.Clock().Suspend(8 * time.Hour) }, 8 * time.Hour, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := New(t, Options{}, named(t, "watch", "w"))
			tt.move(h)
			wall, mono := Start.Add(tt.wall).Format(time.RFC3339Nano), (time.Hour + tt.mono).String()
			h.Check(t, Request{}, Want{Upstream: map[string]string{"x-wall": wall, "x-proxy": wall, "x-go": wall, "x-mono": mono}})
		})
	}
	start := time.Date(2000, time.February, 29, 0, 0, 0, 1, time.UTC)
	h := New(t, Options{Clock: NewClock(start)}, named(t, "watch", "w"))
	h.Check(t, Request{}, Want{Upstream: map[string]string{"x-wall": "2000-02-29T00:00:00.000000001Z"}})
	if h.Now() != start {
		t.Errorf("the host's own clock says %v", h.Now())
	}
}

// ticksAt are the monotonic times, since the clock's start, at which the guest watch ticked.
func ticksAt(t *testing.T, h *Host) []time.Duration {
	t.Helper()
	var list []time.Duration
	for _, l := range logged(h.Logs(), "tick at") {
		var at string
		if _, err := fmt.Sscanf(l, "1 w tick at %s", &at); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		d, err := time.ParseDuration(at)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, d-time.Hour)
	}
	return list
}

// ms are durations in milliseconds.
func ms(list ...time.Duration) []time.Duration {
	for i := range list {
		list[i] *= time.Millisecond
	}
	return list
}

func TestTicksInVirtualTime(t *testing.T) {
	t.Parallel()
	period := func(ms string) Request { return with("x-period", ms) }
	tests := []struct {
		name string
		run  func(t *testing.T, h *Host)
		want []time.Duration
	}{
		{"none before the period", func(_ *testing.T, h *Host) { h.Advance(99 * time.Millisecond) }, nil},
		{"at the period", func(_ *testing.T, h *Host) { h.Advance(100 * time.Millisecond) }, ms(100)},
		{"in one step", func(_ *testing.T, h *Host) { h.Advance(350 * time.Millisecond) }, ms(100, 200, 300)},
		{"in many steps", func(_ *testing.T, h *Host) {
			for range 35 {
				h.Advance(10 * time.Millisecond)
			}
		}, ms(100, 200, 300)},
		{"without time", func(t *testing.T, h *Host) { h.Do(t, Request{}); h.Settle() }, nil},
		{"the wall clock does not tick", func(_ *testing.T, h *Host) {
			h.Clock().StepWall(time.Hour)
			h.Clock().Suspend(time.Hour)
			h.Clock().SetDrift(wholePPM)
			h.Advance(150 * time.Millisecond)
		}, ms(100)},
		{"a new period counts from now", func(t *testing.T, h *Host) {
			h.Advance(150 * time.Millisecond)
			h.Do(t, period("200"))
			h.Advance(450 * time.Millisecond)
		}, ms(100, 350, 550)},
		{"the same period counts from now", func(t *testing.T, h *Host) {
			h.Advance(150 * time.Millisecond)
			h.Do(t, period("100"))
			h.Do(t, period("100"))
			h.Advance(200 * time.Millisecond)
		}, ms(100, 250, 350)},
		{"no period, no ticks", func(t *testing.T, h *Host) {
			h.Advance(150 * time.Millisecond)
			h.Do(t, period("0"))
			h.Advance(time.Hour)
		}, ms(100)},
		{"while a stream waits", func(t *testing.T, h *Host) { h.Do(t, with("x-slow", "1")) }, ms(100, 200)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			watch := named(t, "watch", "w")
			watch.Configuration = []byte("100")
			slow := func(c Call) Play {
				if firstHeader(c.Request.Headers, "x-slow") == "" {
					return Play{}
				}
				return Play{Delay: 250 * time.Millisecond}
			}
			h := New(t, Options{Upstream: &Script{Cluster: answering(200, ""), Plan: slow}}, watch)
			tt.run(t, h)
			if got := ticksAt(t, h); !slices.Equal(got, tt.want) {
				t.Errorf("ticks at %v, want %v", got, tt.want)
			}
		})
	}
}

// Time moves as far as a stream needs, and no further.
func TestDoMovesTimeAsLittleAsItCan(t *testing.T) {
	t.Parallel()
	script := &Script{Cluster: answering(200, "ok"), Plan: Every(Play{Delay: 3 * time.Millisecond})}
	h := New(t, Options{Clusters: map[string]Cluster{"control": script}}, named(t, "gate", "g"))
	other := h.Start(with("x-calls", "0"))
	r := h.Do(t, Request{Body: []byte("ab"), ChunkSize: 1, ChunkGap: time.Millisecond})
	if r.Took != 3*time.Millisecond || h.Now() != Start.Add(3*time.Millisecond) {
		t.Errorf("took %v, it is %v", r.Took, h.Now())
	}
	if !other.Ended() || other.Wait(t).Took != 0 {
		t.Errorf("the other stream ended: %t", other.Ended())
	}
	if n := h.loop.Pending(); n != 0 {
		t.Errorf("%d events are left over, which timeouts to come would keep", n)
	}
	if h.Do(t, with("x-calls", "0")); h.Now() != Start.Add(3*time.Millisecond) {
		t.Errorf("nothing to wait for, and it is %v", h.Now())
	}
	h.Settle()
	if h.Now() != Start.Add(3*time.Millisecond) {
		t.Errorf("Settle moved time to %v", h.Now())
	}
}
