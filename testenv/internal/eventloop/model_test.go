package eventloop

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// record is what the model knows of one event.
type record struct {
	event   *Event
	due     time.Duration
	thread  int
	pending bool
}

// model drives a loop with random calls, from outside and inside its events, keeps its own account
// of every event in the plainest way, and holds the loop's promises against it. It is the loop's
// clock, to see each move of time.
type model struct {
	t       *testing.T
	loop    *Loop
	random  *rand.Rand
	threads int
	now     time.Duration
	records []*record
	open    map[int]int // events begun and not ended, by thread
	done    bool        // RunUntil was told so: nothing may begin
}

func (m *model) Monotonic() time.Duration { return m.now }

// Advance is called by the loop alone: only when nothing can run, and never past what is due.
func (m *model) Advance(d time.Duration) {
	if d <= 0 {
		m.t.Fatalf("time moves by %v", d)
	}
	m.wantQuiet("time moves")
	m.now += d
	for _, r := range m.records {
		if r.pending && r.due < m.now {
			m.t.Fatalf("time moves to %v past an event due at %v", m.now, r.due)
		}
	}
}

// wantQuiet fails the test if an event is ready or a thread suspended.
func (m *model) wantQuiet(what string) {
	m.t.Helper()
	for thread, n := range m.open {
		if n > 0 {
			m.t.Fatalf("%s with %d events open on thread %d", what, n, thread)
		}
	}
	for _, r := range m.records {
		if r.pending && r.due <= m.now {
			m.t.Fatalf("%s at %v with an event ready since %v", what, m.now, r.due)
		}
	}
}

func (m *model) pending() int {
	n := 0
	for _, r := range m.records {
		if r.pending {
			n++
		}
	}
	return n
}

func (m *model) schedule() {
	due := m.now + time.Duration(m.random.IntN(20)-4)
	r := &record{due: due, thread: m.random.IntN(m.threads+1) - 1, pending: true}
	r.event = m.loop.At(due, r.thread, func() { m.body(r) })
	m.records = append(m.records, r)
}

func (m *model) cancel() {
	if len(m.records) > 0 {
		r := m.records[m.random.IntN(len(m.records))]
		m.loop.Cancel(r.event)
		r.pending = false
	}
}

// body is one event: it checks that it may begin, and does random things.
func (m *model) body(r *record) {
	switch {
	case !r.pending:
		m.t.Fatal("an event runs that has run or was cancelled")
	case m.now < r.due:
		m.t.Fatalf("an event due at %v runs at %v", r.due, m.now)
	case m.done:
		m.t.Fatal("an event begins after RunUntil is done")
	case r.thread != NoThread && m.open[r.thread] > 0:
		m.t.Fatalf("two events at once on thread %d", r.thread)
	}
	r.pending = false
	m.open[r.thread]++
	defer func() { m.open[r.thread]-- }()
	for m.random.IntN(3) > 0 {
		switch n := m.random.IntN(40); {
		case n < 8:
			m.schedule()
		case n < 14:
			m.cancel()
		case n < 34:
			m.loop.Yield()
		case n < 37:
			m.now += time.Duration(m.random.IntN(3))
		case n < 38:
			panic(errBoom)
		}
	}
}

// call makes one random call from outside.
func (m *model) call() {
	switch m.random.IntN(8) {
	case 0, 1, 2:
		m.schedule()
	case 3:
		m.cancel()
	case 4:
		m.loop.RunReady()
		m.wantQuiet("RunReady returned")
	case 5:
		to := m.now + time.Duration(m.random.IntN(12)-2)
		m.loop.AdvanceTo(to)
		m.wantQuiet("AdvanceTo returned")
		if m.now < to {
			m.t.Fatalf("AdvanceTo %v ended at %v", to, m.now)
		}
	default:
		m.runUntil(m.random.IntN(30), m.now+time.Duration(m.random.IntN(12)-2))
	}
}

// runUntil runs until done was asked a number of times.
func (m *model) runUntil(asked int, limit time.Duration) {
	defer func() { m.done = false }()
	err := m.loop.RunUntil(func() bool {
		asked--
		m.done = asked < 0
		return m.done
	}, limit)
	switch {
	case err == nil && !m.done, err != nil && m.done:
		m.t.Fatalf("done %v, got %v", m.done, err)
	case err == nil:
		for thread, n := range m.open {
			if n > 0 {
				m.t.Fatalf("RunUntil returned with %d events open on thread %d", n, thread)
			}
		}
		return
	case errors.Is(err, ErrIdle) && m.pending() > 0:
		m.t.Fatalf("%v with %d pending", err, m.pending())
	case errors.Is(err, ErrLimit) && (m.now < limit || m.pending() == 0):
		m.t.Fatalf("%v at %v, limit %v, %d pending", err, m.now, limit, m.pending())
	}
	m.wantQuiet(err.Error())
}

func TestLoopAgainstModel(t *testing.T) {
	t.Parallel()
	panics := 0
	for seed := range uint64(600) {
		m := &model{t: t, random: rand.New(rand.NewPCG(seed, 7)), threads: 1 + int(seed%4), now: start, open: map[int]int{}}
		m.loop = New(m, seed, m.threads)
		for range 60 {
			if v := caught(m.call); v != nil {
				if p, ok := v.(*Panic); !ok || p.Value != errBoom {
					t.Fatalf("seed %d: %v", seed, v)
				}
				panics++
			}
			if got, want := m.loop.Pending(), m.pending(); got != want {
				t.Fatalf("seed %d: pending: %d, want %d", seed, got, want)
			}
		}
		m.loop.Close()
		for thread, n := range m.open {
			if n != 0 {
				t.Fatalf("seed %d: %d events open on thread %d after Close", seed, n, thread)
			}
		}
	}
	if panics == 0 {
		t.Error("no event ever panicked")
	}
}
