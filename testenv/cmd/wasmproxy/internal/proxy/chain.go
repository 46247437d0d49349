package proxy

import (
	"context"
	"maps"

	"github.com/tollgate/tollgate/testenv"
)

// chain is one request's streams, in the order a request meets the filters. A response meets them
// in reverse.
type chain []*testenv.Stream

// done ends every stream and returns the filter state that they left behind.
func (c chain) done() map[string][]byte {
	state := map[string][]byte{}
	for _, s := range c {
		// The error is the VM's death, which the pool notices and reports.
		_ = s.Done(context.Background())
		maps.Copy(state, s.FilterState())
	}
	return state
}

func (c chain) requestHeaders(ctx context.Context, headers []testenv.Header, end bool) (testenv.StepResult, error) {
	res := testenv.StepResult{Headers: headers}
	for i, s := range c {
		next, err := s.RequestHeaders(ctx, res.Headers, end)
		if err != nil || next.Local != nil {
			return c.localAt(ctx, i, next, err)
		}
		res = next
	}
	return res, nil
}

func (c chain) requestBody(ctx context.Context, data []byte, end bool) (testenv.StepResult, error) {
	res := testenv.StepResult{Body: data}
	for i, s := range c {
		if len(res.Body) == 0 && !end {
			return res, nil
		}
		next, err := s.RequestBody(ctx, res.Body, end)
		if err != nil || next.Local != nil {
			return c.localAt(ctx, i, next, err)
		}
		res = next
	}
	return res, nil
}

// requestTrailers also returns what filters had buffered of the body.
func (c chain) requestTrailers(ctx context.Context, trailers []testenv.Header) (testenv.StepResult, error) {
	res := testenv.StepResult{Headers: trailers}
	for i, s := range c {
		released := res.Body
		if len(released) > 0 {
			next, err := s.RequestBody(ctx, released, false)
			if err != nil || next.Local != nil {
				return c.localAt(ctx, i, next, err)
			}
			released = next.Body
		}
		next, err := s.RequestTrailers(ctx, res.Headers)
		if err != nil || next.Local != nil {
			return c.localAt(ctx, i, next, err)
		}
		next.Body = append(released, next.Body...)
		res = next
	}
	return res, nil
}

// localAt completes an answer that filter i gave: it has been through that filter's response path,
// and now goes through the others'.
func (c chain) localAt(ctx context.Context, i int, res testenv.StepResult, err error) (testenv.StepResult, error) {
	if err != nil || len(c) == 1 {
		return res, err
	}
	others := make(chain, 0, len(c)-1)
	others = append(append(others, c[:i]...), c[i+1:]...)
	return others.local(ctx, res.Local)
}

// local passes an answer that no upstream gave through the response path of every filter. The
// result's Local is never nil without an error.
func (c chain) local(ctx context.Context, l *testenv.LocalResponse) (testenv.StepResult, error) {
	out := *l
	res, err := c.responseHeaders(ctx, out.Headers, len(out.Body) == 0)
	if err != nil || res.Local != nil {
		return res, err
	}
	out.Headers = res.Headers
	if len(out.Body) > 0 {
		if res, err = c.responseBody(ctx, out.Body, true); err != nil || res.Local != nil {
			return res, err
		}
		out.Body = res.Body
	}
	return testenv.StepResult{Local: &out}, nil
}

func (c chain) responseHeaders(ctx context.Context, headers []testenv.Header, end bool) (testenv.StepResult, error) {
	res := testenv.StepResult{Headers: headers}
	for i := len(c) - 1; i >= 0; i-- {
		next, err := c[i].ResponseHeaders(ctx, res.Headers, end)
		if err != nil || next.Local != nil {
			return next, err
		}
		res = next
	}
	return res, nil
}

func (c chain) responseBody(ctx context.Context, data []byte, end bool) (testenv.StepResult, error) {
	res := testenv.StepResult{Body: data}
	for i := len(c) - 1; i >= 0; i-- {
		if len(res.Body) == 0 && !end {
			return res, nil
		}
		next, err := c[i].ResponseBody(ctx, res.Body, end)
		if err != nil || next.Local != nil {
			return next, err
		}
		res = next
	}
	return res, nil
}

// responseTrailers also returns what filters had buffered of the body.
func (c chain) responseTrailers(ctx context.Context, trailers []testenv.Header) (testenv.StepResult, error) {
	res := testenv.StepResult{Headers: trailers}
	for i := len(c) - 1; i >= 0; i-- {
		released := res.Body
		if len(released) > 0 {
			next, err := c[i].ResponseBody(ctx, released, false)
			if err != nil || next.Local != nil {
				return next, err
			}
			released = next.Body
		}
		next, err := c[i].ResponseTrailers(ctx, res.Headers)
		if err != nil || next.Local != nil {
			return next, err
		}
		next.Body = append(released, next.Body...)
		res = next
	}
	return res, nil
}
