package testenv

import (
	"context"
	"fmt"
	"net/http"
	"slices"
)

// sideOf returns the direction a callback belongs to.
func (s *Stream) sideOf(cb callback) *side {
	switch cb {
	case onRequestHeaders, onRequestBody, onRequestTrailers:
		return &s.request
	default:
		return &s.response
	}
}

func (s *Stream) headersStep(ctx context.Context, cb callback, headers []Header, endOfStream bool) (StepResult, error) {
	s.vm.mu.Lock()
	defer s.vm.mu.Unlock()
	sd := s.sideOf(cb)
	if over, r, err := s.over(); over {
		return r, err
	}
	if sd.begun {
		return StepResult{}, fmt.Errorf("%w: headers twice", ErrStepOrder)
	}
	s.create()
	sd.begun, sd.ended = true, endOfStream
	sd.headers, sd.headersOpen = newHeaderMap(headers, s.vm.opts.InlineHeaders), true
	if sd == &s.request {
		method, _ := sd.headers.get(":method")
		s.head, s.grpc = method == http.MethodHead, isGRPC(sd.headers)
	}
	action := s.vm.call(cb, s.id, uint64(len(sd.headers.pairs)), flag(endOfStream))
	if action == headersContinue || action == headersContinueEnd {
		return s.pass(ctx, sd, stepHeaders)
	}
	return s.pause(ctx, sd, stepHeaders)
}

func (s *Stream) bodyStep(ctx context.Context, cb callback, chunk []byte, endOfStream bool) (StepResult, error) {
	s.vm.mu.Lock()
	defer s.vm.mu.Unlock()
	sd := s.sideOf(cb)
	if over, r, err := s.over(); over {
		return r, err
	}
	if !sd.begun || sd.ended {
		return StepResult{}, fmt.Errorf("%w: body before headers or after the end", ErrStepOrder)
	}
	sd.ended, sd.bodyOpen = endOfStream, true
	if sd.buffering {
		sd.body = append(sd.body, chunk...)
	} else {
		sd.body = slices.Clone(chunk)
	}
	if sd.buffering && s.overflows(sd) {
		return s.pause(ctx, sd, stepBody)
	}
	action := s.vm.call(cb, s.id, uint64(len(sd.body)), flag(endOfStream))
	sd.buffering = false
	switch action {
	case dataContinue:
		return s.pass(ctx, sd, stepBody)
	case dataStopAndBuffer, dataStopAndWait:
		sd.buffering = true
		if s.overflows(sd) {
			return s.pause(ctx, sd, stepBody)
		}
	default:
		sd.body = nil
	}
	if endOfStream || s.local != nil || s.err != nil {
		return s.pause(ctx, sd, stepBody)
	}
	return StepResult{Body: s.takeCarry(sd)}, nil
}

func (s *Stream) trailersStep(ctx context.Context, cb callback, trailers []Header) (StepResult, error) {
	s.vm.mu.Lock()
	defer s.vm.mu.Unlock()
	sd := s.sideOf(cb)
	if over, r, err := s.over(); over {
		return r, err
	}
	if !sd.begun || sd.ended {
		return StepResult{}, fmt.Errorf("%w: trailers before headers or after the end", ErrStepOrder)
	}
	sd.ended = true
	sd.trailers, sd.trailersOpen = newHeaderMap(trailers, s.vm.opts.InlineHeaders), true
	if action := s.vm.call(cb, s.id, uint64(len(sd.trailers.pairs))); action == headersContinue {
		return s.pass(ctx, sd, stepTrailers)
	}
	return s.pause(ctx, sd, stepTrailers)
}

// over says whether the stream has ended already, and with what.
func (s *Stream) over() (bool, StepResult, error) {
	switch {
	case s.err != nil:
		return true, StepResult{}, s.err
	case s.localTaken:
		return true, StepResult{}, ErrStreamClosed
	case s.local != nil && s.local.finished:
		s.localTaken = true
		return true, StepResult{Local: s.local.response()}, nil
	case s.vm.closed:
		return true, StepResult{}, ErrStreamClosed
	}
	return false, StepResult{}, nil
}

// overflows says whether the filter buffers more than the limit, and then ends the stream.
// A request gets the 413 of Envoy's connection manager; response headers have left by then, so a response is reset.
func (s *Stream) overflows(sd *side) bool {
	if len(sd.body) <= s.opts.MaxBufferBytes {
		return false
	}
	if sd == &s.response {
		s.end(fmt.Errorf("%w: response body over %d bytes", ErrStreamReset, s.opts.MaxBufferBytes))
		return true
	}
	s.sendLocal(&LocalResponse{
		Status: 413, Body: []byte("Payload Too Large"), Details: "request_payload_too_large", GRPCStatus: -1,
	})
	return true
}

// pass lets a step through. What ended the stream meanwhile wins.
func (s *Stream) pass(ctx context.Context, sd *side, kind stepKind) (StepResult, error) {
	if s.local != nil && !s.local.finished {
		return s.pause(ctx, sd, kind)
	}
	return s.result(sd, kind)
}

func (s *Stream) result(sd *side, kind stepKind) (StepResult, error) {
	if over, r, err := s.over(); over {
		return r, err
	}
	switch kind {
	case stepHeaders:
		sd.headersOpen = false
		return StepResult{Headers: slices.Clone(sd.headers.pairs)}, nil
	case stepTrailers:
		sd.trailersOpen = false
		return StepResult{Headers: slices.Clone(sd.trailers.pairs), Body: s.takeBody(sd)}, nil
	default:
		return StepResult{Body: s.takeBody(sd)}, nil
	}
}

// takeBody hands out what was released or passed.
func (s *Stream) takeBody(sd *side) []byte {
	body := sd.body
	if len(sd.carry) > 0 {
		body = append(sd.carry, sd.body...)
	}
	sd.body, sd.carry, sd.bodyOpen, sd.buffering = nil, nil, false, false
	return body
}

func (s *Stream) takeCarry(sd *side) []byte {
	body := sd.carry
	sd.carry = nil
	return body
}

// pause waits, without the lock, until the step can pass or the stream ends.
func (s *Stream) pause(ctx context.Context, sd *side, kind stepKind) (StepResult, error) {
	if over, r, err := s.over(); over {
		return r, err
	}
	if s.local == nil {
		sd.paused = kind
	}
	wake := make(chan struct{})
	sd.wake = wake
	s.vm.waiting[s] = struct{}{}
	s.vm.abandonIfStuck()
	s.vm.mu.Unlock()
	var ctxErr error
	select {
	case <-wake:
	case <-ctx.Done():
		ctxErr = ctx.Err()
	}
	s.vm.mu.Lock()
	if sd.wake == wake {
		sd.wake = nil
		s.forgetIfIdle()
		return StepResult{}, fmt.Errorf("wait for the filter to resume: %w", ctxErr)
	}
	return s.result(sd, kind)
}

// resume is what continue_stream amounts to once the guest has returned: it is nothing for a
// direction that is not stopped.
func (s *Stream) resume(sd *side) {
	if s.done || s.err != nil {
		return
	}
	if sd == &s.response && s.local != nil && !s.local.finished {
		s.continueLocal()
		return
	}
	switch {
	case s.local != nil:
	case sd.paused != stepNone:
		sd.paused = stepNone
		if sd.wake != nil {
			close(sd.wake)
			sd.wake = nil
		}
		s.forgetIfIdle()
	case sd.buffering:
		sd.carry = append(sd.carry, sd.body...)
		sd.body, sd.buffering, sd.bodyOpen = nil, false, false
	}
}

// forgetIfIdle takes the stream off the VM's waiting list once no step of it waits.
func (s *Stream) forgetIfIdle() {
	if s.request.wake == nil && s.response.wake == nil {
		delete(s.vm.waiting, s)
	}
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
