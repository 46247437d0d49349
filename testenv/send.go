package testenv

import (
	"context"
	"time"

	"github.com/tollgate/tollgate/testenv/internal/eventloop"
)

// patience is how long a guest or a handler may take in real time. One that waits for virtual time to pass waits for ever.
const patience = 30 * time.Second

// send starts a filter's callout in virtual time.
func (h *Host) send(c *callout, target Cluster) {
	vm := c.plugin.vm
	thread := vm.w.opts.thread
	deliver := func(resp *CalloutResponse, err error) {
		vm.deliver(c, reported(resp, err, vm.w.opts.MaxCalloutBytes))
	}
	if thread == CanaryThread {
		return // the canary ends before anything can be sent
	}
	cancelled := false
	var timeout *eventloop.Event
	c.cancel = func() {
		cancelled = true
		h.loop.Cancel(timeout)
	}
	if c.request.Timeout > 0 {
		timeout = h.at(c.request.Timeout, thread, func() {
			deliver(nil, context.DeadlineExceeded)
		})
	}
	h.play(target, c.request, func(resp *CalloutResponse, err error, after time.Duration) {
		h.at(after, thread, func() {
			if !cancelled {
				h.loop.Cancel(timeout)
				deliver(resp, err)
			}
		})
	})
}

// play lets a call go as its script says and reports what reaches the proxy, if anything does, and how long after.
func (h *Host) play(target Cluster, req *CalloutRequest, report func(*CalloutResponse, error, time.Duration)) {
	var p Play
	server := target
	if s, ok := target.(*Script); ok {
		p, server = h.plan(s, req), s.Cluster
	}
	h.loop.At(h.clock.Monotonic()+p.Delay, eventloop.NoThread, func() {
		resp, err := h.ask(server, req, p.asks())
		if p.replies() {
			resp, err = p.answer(resp, err)
			report(resp, err, p.Return)
		}
	})
}

// plan asks a Script how a call goes. A guest may be waiting in its hostcall, and a panic there would be the guest's
// trap: it waits until the loop is out of the guest.
func (h *Host) plan(s *Script, req *CalloutRequest) Play {
	defer func() {
		if v := recover(); v != nil {
			h.loop.At(h.clock.Monotonic(), eventloop.NoThread, func() { panic(v) })
		}
	}()
	return s.planIn(h, req)
}

// ask lets a server act as many times as the script says; the first answer counts. It gives up on a server that does not
// answer in real time.
func (h *Host) ask(server Cluster, req *CalloutRequest, times int) (*CalloutResponse, error) {
	if _, nested := server.(*Script); nested {
		panic("testenv: a Script behind a Script, for calls to " + req.Cluster + ": only one of them can go by virtual time")
	}
	return repeat(times, server, req, h.call)
}

func (h *Host) call(server Cluster, req *CalloutRequest) (resp *CalloutResponse, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h.watch.enter("cluster "+req.Cluster, "its handler", h.watch.handlers)
	defer h.watch.leave()
	resp, err = server.Call(ctx, req)
	if ctx.Err() != nil {
		h.test().Errorf("testenv: cluster %s took %v of real time: let a Script's Delay or Lose make it slow", req.Cluster, patience)
	}
	return resp, err
}
