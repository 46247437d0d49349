package eventloop

import (
	"container/heap"
	"time"
)

// NoThread is the thread of events that run on the goroutine that runs the loop.
const NoThread = -1

// Event is something scheduled with At.
type Event struct {
	due    time.Duration
	seq    uint64 // order of scheduling
	thread *thread
	run    func()
	state  state
	index  int // in the loop's future or the thread's ready events
}

type state int

const (
	waiting state = iota // in the loop's future
	ready                // among its thread's ready events
	ended                // begun or cancelled
)

// end marks an event that is in no queue, and lets go of what it would have run.
func (e *Event) end() { e.state, e.run = ended, nil }

// queue is a heap of waiting events by due time, then by order of scheduling. It is a heap.Interface.
type queue []*Event

var _ heap.Interface = (*queue)(nil)

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if q[i].due != q[j].due {
		return q[i].due < q[j].due
	}
	return q[i].seq < q[j].seq
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	e := x.(*Event)
	e.index = len(*q)
	*q = append(*q, e)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return e
}
