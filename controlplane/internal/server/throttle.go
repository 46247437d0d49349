package server

import (
	lru "container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// From one address so many attempts may fail at once, and then one each so often. So many addresses are remembered.
const (
	failureBurst  = 30
	failureEvery  = 2 * time.Second
	maxThrottled  = 4096
	ipv6ClientLen = 64
)

// throttle counts the attempts to authenticate that fail, by the address that they come from. An address that is
// remembered no more starts afresh: whoever has more addresses than are remembered is not held up by this, but by the 256
// bits of a token.
type throttle struct {
	now func() time.Time

	mu sync.Mutex
	// clients are the elements of order by their address.
	clients map[netip.Prefix]*lru.Element
	// order has the client that failed last in front.
	order *lru.List
}

type throttledClient struct {
	from    netip.Prefix
	limiter *rate.Limiter
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, clients: map[netip.Prefix]*lru.Element{}, order: lru.New()}
}

// fail counts a failed attempt and returns 0, or, if there were too many, how long it takes until another one counts.
func (t *throttle) fail(remote string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	attempt := t.client(clientOf(remote)).ReserveN(now, 1)
	wait := attempt.DelayFrom(now)
	if wait > 0 {
		attempt.CancelAt(now)
	}
	return wait
}

// client returns the limiter of an address.
func (t *throttle) client(from netip.Prefix) *rate.Limiter {
	if e := t.clients[from]; e != nil {
		t.order.MoveToFront(e)
		return e.Value.(*throttledClient).limiter
	}
	if len(t.clients) >= maxThrottled {
		oldest := t.order.Remove(t.order.Back()).(*throttledClient)
		delete(t.clients, oldest.from)
	}
	c := &throttledClient{from: from, limiter: rate.NewLimiter(rate.Every(failureEvery), failureBurst)}
	t.clients[from] = t.order.PushFront(c)
	return c.limiter
}

// clientOf is the address of a connection: of IPv6 the network that one customer has. Headers that claim another one are
// not believed. Connections without an address are all one client.
func clientOf(remote string) netip.Prefix {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	addr := at.Addr().Unmap().WithZone("")
	length := addr.BitLen()
	if addr.Is6() {
		length = ipv6ClientLen
	}
	// The length fits the address, so there is no error.
	prefix, _ := addr.Prefix(length)
	return prefix
}
