package testenv

import (
	"math"
	"sync"
)

// statusEmpty is what a dequeue from an empty queue answers.
const statusEmpty status = 7

// SharedQueues are the queues of one process. A queue has a vm_id and a name; any VM that knows its token may add to it
// and take from it, and the registration that came last is told of every addition (shared_queue.cc). It is safe for
// concurrent use.
type SharedQueues struct {
	mu        sync.Mutex
	tokens    map[queueKey]uint32
	byToken   map[uint32]*sharedQueue
	lastToken uint32
}

type queueKey struct{ vmID, name string }

type sharedQueue struct {
	values []string
	owner  any // who registered last; nil: nobody who is still there
	ready  func(token uint32)
}

// NewSharedQueues returns a store without queues.
func NewSharedQueues() *SharedQueues {
	return &SharedQueues{tokens: map[queueKey]uint32{}, byToken: map[uint32]*sharedQueue{}}
}

// Len returns how many values wait in a queue; 0 if nobody registered it.
func (q *SharedQueues) Len(vmID, name string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	token, ok := q.tokens[queueKey{vmID, name}]
	if !ok {
		return 0
	}
	return len(q.byToken[token].values)
}

// register returns the queue's token, never 0, and makes ready what each later enqueue calls. Registering again, from
// any VM of vmID, keeps token and values and replaces owner and ready: of several workers that register one queue, only
// the last hears of it. owner is a comparable value that names the registration's VM for serves and forget.
//
// Envoy posts the notification to the thread that registered, to run proxy_on_queue_ready on the plugin's context
// there, or nothing if the VM has gone by then. So ready must post and return: its caller is inside another guest.
func (q *SharedQueues) register(vmID, name string, owner any, ready func(token uint32)) uint32 {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := queueKey{vmID, name}
	token, ok := q.tokens[key]
	if !ok {
		token = q.nextToken()
		q.tokens[key] = token
		q.byToken[token] = &sharedQueue{}
	}
	queue := q.byToken[token]
	queue.owner, queue.ready = owner, ready
	return token
}

// serves says whether any queue announces its values to owner.
func (q *SharedQueues) serves(owner any) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, queue := range q.byToken {
		if queue.owner == owner {
			return true
		}
	}
	return false
}

// forget ends the announcements to owner. The queues stay, with their values, silent until the next registration.
func (q *SharedQueues) forget(owner any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, queue := range q.byToken {
		if queue.owner == owner {
			queue.owner, queue.ready = nil, nil
		}
	}
}

// nextToken returns a token that no live queue has. It panics when all are taken, where Envoy would search for ever.
func (q *SharedQueues) nextToken() uint32 {
	if len(q.byToken) == math.MaxUint32 {
		panic("testenv: no queue token left")
	}
	for {
		q.lastToken++
		if _, taken := q.byToken[q.lastToken]; q.lastToken != 0 && !taken {
			return q.lastToken
		}
	}
}

// resolve returns the token of a registered queue, else NotFound. An empty vmID is for the caller to replace by its own
// (context.cc of cpp-host lookupSharedQueue).
func (q *SharedQueues) resolve(vmID, name string) (uint32, status) {
	q.mu.Lock()
	defer q.mu.Unlock()
	token, ok := q.tokens[queueKey{vmID, name}]
	if !ok {
		return 0, statusNotFound
	}
	return token, statusOK
}

// enqueue appends value and calls the registration's ready, once for each value, whether or not others wait already. A
// token of no queue is NotFound.
func (q *SharedQueues) enqueue(token uint32, value string) status {
	ready, st := q.push(token, value)
	if ready != nil {
		ready(token)
	}
	return st
}

func (q *SharedQueues) push(token uint32, value string) (ready func(uint32), st status) {
	q.mu.Lock()
	defer q.mu.Unlock()
	queue, ok := q.byToken[token]
	if !ok {
		return nil, statusNotFound
	}
	queue.values = append(queue.values, value)
	return queue.ready, statusOK
}

// dequeue takes the oldest value. A queue without values is Empty, a token of no queue NotFound.
func (q *SharedQueues) dequeue(token uint32) (string, status) {
	q.mu.Lock()
	defer q.mu.Unlock()
	queue, ok := q.byToken[token]
	if !ok {
		return "", statusNotFound
	}
	if len(queue.values) == 0 {
		return "", statusEmpty
	}
	value := queue.values[0]
	queue.values[0] = ""
	queue.values = queue.values[1:]
	return value, statusOK
}

// deleteVMID deletes the queues of vmID with their values and tokens (shared_queue.cc deleteByVmId).
func (q *SharedQueues) deleteVMID(vmID string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key, token := range q.tokens {
		if key.vmID == vmID {
			delete(q.byToken, token)
			delete(q.tokens, key)
		}
	}
}
