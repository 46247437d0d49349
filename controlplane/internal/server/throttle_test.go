package server

import (
	"fmt"
	"testing"
	"time"
)

func TestThrottle(t *testing.T) {
	now := time.Unix(1000, 0)
	th := newThrottle(func() time.Time { return now })
	const client = "192.0.2.1:1111"
	for i := range failureBurst {
		if wait := th.fail(client); wait != 0 {
			t.Fatalf("failure %d has to wait %v", i+1, wait)
		}
	}
	for range 3 {
		// Nobody pays for attempts that are answered with a wait.
		if wait := th.fail("192.0.2.1:2222"); wait != failureEvery {
			t.Errorf("one too many: %v, want %v", wait, failureEvery)
		}
	}
	if wait := th.fail("192.0.2.2:1111"); wait != 0 {
		t.Errorf("another address has to wait %v", wait)
	}
	now = now.Add(failureEvery / 2)
	if wait := th.fail(client); wait != failureEvery/2 {
		t.Errorf("half the time later: %v", wait)
	}
	now = now.Add(failureEvery / 2)
	if wait := th.fail(client); wait != 0 {
		t.Errorf("when the time is over: %v", wait)
	}
	if wait := th.fail(client); wait == 0 {
		t.Error("one attempt each time, not more")
	}
	now = now.Add(failureEvery * failureBurst)
	for i := range failureBurst {
		if wait := th.fail(client); wait != 0 {
			t.Fatalf("long after: failure %d has to wait %v", i+1, wait)
		}
	}
}

// However many addresses fail, so many are remembered, and those that failed last.
func TestThrottleIsBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	th := newThrottle(func() time.Time { return now })
	address := func(i int) string { return fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255) }
	busy := address(0)
	for range failureBurst {
		th.fail(busy)
	}
	for i := 1; i < 3*maxThrottled; i++ {
		th.fail(address(i))
		if i%1000 == 0 && th.fail(busy) == 0 {
			t.Fatalf("whoever goes on failing was forgotten after %d others", i)
		}
	}
	if len(th.clients) != maxThrottled || th.order.Len() != maxThrottled {
		t.Errorf("%d and %d clients, want %d", len(th.clients), th.order.Len(), maxThrottled)
	}
}

func TestClientOf(t *testing.T) {
	same := func(want bool, a, b string) {
		t.Helper()
		if got := clientOf(a) == clientOf(b); got != want {
			t.Errorf("%s and %s: one client %v, want %v", a, b, got, want)
		}
	}
	same(true, "192.0.2.1:1", "192.0.2.1:2")
	same(true, "192.0.2.1:1", "[::ffff:192.0.2.1]:1")
	same(true, "[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::2]:1")
	same(true, "[fe80::1%eth0]:1", "[fe80::1%eth1]:1")
	same(true, "@", "")
	same(false, "192.0.2.1:1", "192.0.2.2:1")
	same(false, "[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1")
	same(false, "", "[::1]:1")
}
